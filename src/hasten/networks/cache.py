"""What is kept of the default networks between runs: trained weights and finished packages, named by their recipe.

A recipe is everything that the result depends on: settings, the code that makes it, the version of torch. Its hash is
in the file's name, so a file is either what would be made now or is never looked at.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from hasten.core.errors import InputError
from hasten.core.output import write_bytes
from hasten.split.package import Package, open_package

HASH_DIGITS = 16


def cache_folder() -> Path:
    """Where results are kept: ``hasten`` in ``XDG_CACHE_HOME``, or in ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "hasten"


def recipe_hash(recipe: Mapping[str, object], code: Sequence[ModuleType]) -> str:
    """Hash ``recipe`` (plain data), every source file of the packages in ``code``, and torch's version."""
    digest = hashlib.sha256(json.dumps({**recipe, "torch": torch.__version__}, sort_keys=True).encode())
    for package in code:
        for source in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:HASH_DIGITS]


def file_hash(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_DIGITS]


def cached_package(path: Path) -> Package | None:
    """The package at ``path``, or None if it has to be built: it is absent or damaged."""
    try:
        return open_package(path) if path.is_file() else None
    except InputError:
        return None


def cached_weights(path: Path) -> dict[str, Tensor] | None:
    """The weights kept at ``path``, or None if they have to be trained: they are absent or damaged."""
    if not path.is_file():
        return None
    try:
        weights: dict[str, Tensor] = torch.load(path, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    return weights


def keep_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write ``weights`` to ``path``, whole or not at all."""
    data = io.BytesIO()
    torch.save(dict(weights), data)
    write_bytes(path, data.getvalue())
