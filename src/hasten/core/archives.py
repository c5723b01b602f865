"""Recordings as bytes: a plain file, a compressed one, or a member of an archive; bounded, so a bomb is refused.

``links.zip/walk.csv`` names a member. An archive that holds one file may be named alone. Archives are ``.zip`` and
``.tar``, also compressed (``.tar.gz``, ``.tgz``, ``.tar.bz2``, ``.tbz2``); files and members ending in ``.gz`` are
unpacked.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hasten.core.errors import InputError
from hasten.core.files import locate

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""A recording is refused beyond this size. Tables are read row by row, and take little more memory than their bytes."""

_ARCHIVE = re.compile(r"\.(?:zip|tar|tgz|tbz2|tar\.gz|tar\.bz2)$", re.IGNORECASE)
_MEMBER = re.compile(r"^(.+?\.(?:zip|tar|tgz|tbz2|tar\.gz|tar\.bz2))/(.+)$", re.IGNORECASE)
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.)")
"""Members that macOS adds on its own, and hidden ones."""
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,  # zipfile: encrypted, or a compression that it does not know
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class Recording:
    """Where a recording lies, and the state of its file: another state is another recording."""

    name: str
    """As the scenario says it."""
    path: Path
    member: str
    """Empty for a plain file, and for the only member of an archive."""
    state: tuple[int, int, int]
    """Size, time of the last change in ns, and inode of the file."""


def find_recording(name: str, beside: Path | None) -> Recording:
    """Find the file of ``name``; raises :class:`InputError` where there is none."""
    archive = _MEMBER.match(name)
    path = locate(archive.group(1) if archive else name, beside)
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(name, "file", str(path), f"a readable file ({error.strerror})") from None
    state = status.st_size, status.st_mtime_ns, status.st_ino
    return Recording(name, path.absolute(), archive.group(2) if archive else "", state)


def read_recording(recording: Recording) -> bytes:
    """The bytes of a recording, unpacked."""
    name, path, member = recording.name, recording.path, recording.member
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
                chosen = _chosen(name, member, sizes)
                with archive.open(chosen) as stream:
                    data = _bounded(name, stream)
        elif _ARCHIVE.search(path.name):
            with tarfile.open(path) as tar:
                chosen = _chosen(name, member, dict(_files(name, tar)))
                stream_or_none = tar.extractfile(chosen)
                data = _bounded(name, stream_or_none) if stream_or_none is not None else b""
        else:
            chosen = path.name
            with path.open("rb") as plain:
                data = _bounded(name, plain)
        if chosen.lower().endswith(".gz"):
            with gzip.open(io.BytesIO(data)) as stream:
                data = _bounded(name, stream)
    except InputError:
        raise
    except _DAMAGE as error:
        what, value = ("member", member) if member else ("file", path.name)
        raise InputError(name, what, value, f"a readable recording ({error or type(error).__name__})") from None
    return data


def _files(name: str, tar: tarfile.TarFile) -> Iterator[tuple[str, int]]:
    total = 0
    for item in tar:
        total += item.size
        if total > MAX_UNPACKED_BYTES:
            raise InputError(name, "size", f"over {MAX_UNPACKED_BYTES}", f"at most {MAX_UNPACKED_BYTES} bytes unpacked")
        if item.isfile():
            yield item.name, item.size


def _chosen(name: str, member: str, sizes: dict[str, int]) -> str:
    """The member that is meant; refused where it is absent, or where several could be."""
    known = [file for file in sizes if not _LITTER.search(file)]
    shown = f"{', '.join(known[:5])}{', ...' if len(known) > 5 else ''}" or "none"
    if member:
        if member not in sizes:
            raise InputError(name, "member", member, f"a file in the archive, which holds {shown}")
        return member
    if len(known) != 1:
        raise InputError(name, "member", f"{len(known)} files", f"ARCHIVE/MEMBER with one of its members ({shown})")
    return known[0]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _bounded(name: str, stream: _Readable) -> bytes:
    data = stream.read(MAX_UNPACKED_BYTES + 1)
    if len(data) > MAX_UNPACKED_BYTES:
        raise InputError(name, "size", f"over {MAX_UNPACKED_BYTES}", f"at most {MAX_UNPACKED_BYTES} bytes unpacked")
    return data
