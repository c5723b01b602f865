"""What a scenario's results follow from besides its own text: the files that it names, by their contents.

A study keeps results under keys; a recording or profile that has changed since makes other keys, so its old results are
left unused. Files are hashed once for each state on disk (size and time of change) in a process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hasten.core.errors import HastenError
from hasten.core.files import data_folder, locate
from hasten.core.profile_names import SCISSION_PREFIX, builtin_profiles, load_profile
from hasten.core.scission import scission_profile

ARCHIVE = ".zip/"
"""Behind it in a recording's name comes the member of an archive."""


def inputs_of(scenario: dict[str, Any]) -> dict[str, str]:
    """Digests of the recordings and profiles that a scenario (the data of its file) names, by name.

    Raises:
        InputError: a file is not there.
    """
    return {name: _digest(name) for name in sorted(set(_named(scenario)))}


def require_unchanged(scenario: dict[str, Any], inputs: dict[str, str]) -> None:
    """Refuse results whose files are not those of the plan (``inputs``): changed meanwhile, or on another machine."""
    now = inputs_of(scenario)
    changed = [name for name, digest in inputs.items() if now[name] != digest]
    if changed:
        raise HastenError(f"study: {changed[0]} is not what it was when the study began; run the same command again")


def file_digest(path: Path) -> str:
    """Digest of a file's contents; read again only when size or time of change are others."""
    state = path.stat()
    return _contents(path.resolve(), state.st_size, state.st_mtime_ns)


def _named(part: Any) -> Iterator[str]:
    """The values of ``profile`` and ``file`` anywhere in plain data."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("profile", "file") and isinstance(value, str):
                yield value
            else:
                yield from _named(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _named(value)


def _digest(name: str) -> str:
    if name in builtin_profiles():
        return _builtin(name)
    if name.startswith(SCISSION_PREFIX):
        return _text(scission_profile(name.removeprefix(SCISSION_PREFIX), data_folder()).to_json())
    archive, inside, _ = name.partition(ARCHIVE)
    return file_digest(locate(f"{archive}.zip" if inside else name, None))


@cache
def _builtin(name: str) -> str:
    return _text(load_profile(name).to_json())


@lru_cache(maxsize=64)
def _contents(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
