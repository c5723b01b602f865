"""Checkpoints: named arrays and a line of JSON in one .npz file, written at once, read without pickle."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError

Arrays = dict[str, NDArray[Any]]

SCHEMA = "hasten.checkpoint/1"


def save_checkpoint(path: Path, facts: dict[str, Any], arrays: Arrays) -> None:
    """Write; whoever is killed meanwhile leaves the old file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    text = np.array(json.dumps({"schema": SCHEMA} | facts))
    try:
        np.savez(temporary, allow_pickle=False, facts=text, **arrays)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(path, "file", str(path), f"a file that can be written ({error.strerror})") from None


def load_checkpoint(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        InputError: not a checkpoint, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        facts = json.loads(str(arrays.pop("facts")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(path, "file", path.name, f"a checkpoint of `hasten train` ({error})") from None
    if not isinstance(facts, dict) or facts.pop("schema", None) != SCHEMA:
        raise InputError(path, "schema", facts, SCHEMA)
    return facts, arrays


def part(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with ``prefix.``, without it."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under names that begin with ``prefix.``."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}
