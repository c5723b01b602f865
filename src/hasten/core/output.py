"""Writing files that people keep: checked before the work that fills them, and whole or not at all.

A file is written beside its place under another name, forced to disk, and renamed over the old one: a full disk, a
kill or a power loss leaves the old file or the new one, never half of one. What is no ordinary file (a device, a
pipe, ``/dev/stdout``) cannot be replaced and is written straight.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EISDIR
from itertools import count
from pathlib import Path
from typing import BinaryIO

from hasten.core.errors import InputError

PROBE_BYTES = 4096
"""How much the check of a file writes, so that a disk without any space is found too."""

SPECIAL = (("/", "dev"), ("/", "proc"))

_numbers = count()


def check_file(path: str | Path, field: str = "output") -> None:
    """Make the folder of ``path`` and try to write there; what ``path`` holds already stays as it is.

    Raises:
        InputError: ``path`` cannot be written; names ``field``.
    """
    with _refusals(Path(path), field, "a writable file"):
        if _is_special(Path(path)):
            if not os.access(path, os.W_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
            return
        place = _place(Path(path))
        if place.is_file():
            place.open("ab").close()  # a file that is made read-only is not replaced
        _probe(place.parent)


def check_folder(path: str | Path, field: str = "output") -> None:
    """Make the folder ``path`` and try to write into it.

    Raises:
        InputError: nothing can be written there; names ``field``.
    """
    with _refusals(Path(path), field, "a writable folder"):
        Path(path).mkdir(parents=True, exist_ok=True)
        _probe(Path(path))


def write_text(path: str | Path, text: str, field: str = "output") -> None:
    """Write ``text`` as UTF-8, whole or not at all; otherwise like :func:`write_bytes`."""
    write_bytes(path, text.encode(), field)


def write_bytes(path: str | Path, data: bytes, field: str = "output") -> None:
    """Write ``data``, whole or not at all; the folder is made.

    Raises:
        InputError: it could not be written (an older file is still there); names ``field``.
    """
    with replacement(path, field) as file:
        file.write(data)


@contextmanager
def replacement(path: str | Path, field: str = "output") -> Iterator[BinaryIO]:
    """A file to write and read, which takes the place of ``path`` when the block ends without an error.

    Raises:
        InputError: it could not be written (an older file is still there); names ``field``.
    """
    with _refusals(Path(path), field, "a writable file"):
        if _is_special(Path(path)):
            with Path(path).open("wb") as device:
                yield device
            return
        place = _place(Path(path))
        temporary, file = _beside(place.parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                temporary.chmod(place.stat().st_mode)
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _refusals(path: Path, field: str, expected: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(path, field, str(path), f"{expected} ({reason})") from None


def _place(path: Path) -> Path:
    """Where ``path`` leads, through links; its folder exists afterwards."""
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _is_special(path: Path) -> bool:
    """Whether ``path`` is a pipe, a device, or a name of an open file such as ``/dev/stdout``."""
    return path.exists() and not path.is_dir() and (not path.is_file() or path.parts[:2] in SPECIAL)


def _beside(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file in ``folder`` with the mode that new files have."""
    while True:
        temporary = folder / f".hasten-{os.getpid()}-{next(_numbers)}.tmp"
        with suppress(FileExistsError):
            return temporary, temporary.open("x+b")


def _probe(folder: Path) -> None:
    temporary, file = _beside(folder)
    try:
        with file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    finally:
        temporary.unlink(missing_ok=True)
