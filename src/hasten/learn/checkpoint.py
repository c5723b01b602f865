"""Checkpoints: named arrays and a line of JSON in one .npz file, written at once, read without pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.output import replacement

Arrays = dict[str, NDArray[Any]]

SCHEMA = "hasten.checkpoint/1"


def save_checkpoint(path: Path, facts: dict[str, Any], arrays: Arrays) -> None:
    """Write, whole or not at all.

    Raises:
        InputError: it could not be written; an older one is still there.
    """
    text = np.array(json.dumps({"schema": SCHEMA} | facts))
    with replacement(path, "checkpoint") as file:
        np.savez(file, allow_pickle=False, facts=text, **arrays)


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
    for name, array in arrays.items():
        if not name.startswith("replay.") and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(path, name, "NaN or infinity", "finite numbers")
    return facts, arrays


def part(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with ``prefix.``, without it."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
    """The arrays under names that begin with ``prefix.``."""
    return {f"{prefix}.{name}": array for name, array in arrays.items()}
