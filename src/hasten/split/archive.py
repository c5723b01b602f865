"""The members of a package file, lent from the file instead of copied: weights are in memory only while they are read.

The file is a zip of stored members, so each of them is a range of it. A file is mapped: what was read may be dropped by
the system and read again, so a large package costs its runtime no memory of its own. A mapped file may change under
us when someone writes over it in place; :meth:`Archive.require_unchanged` finds that before anything is read again.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
import weakref
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from hasten.core.errors import InputError

MAX_PACKAGE_BYTES = 4 << 30
MAX_MEMBERS = 32_768

_END_RECORD_BYTES = 22
_LOCAL_HEADER = struct.Struct("<26xHH")
INTACT = "an intact .hasten package"

_ZIP_QUIRKS = (ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError, MemoryError)
"""What :mod:`zipfile` is known to raise besides its own errors when headers are damaged."""


class Archive:
    """All members of a package by name, as views, and the digest of the whole.

    Attributes:
        members: name -> content.
        digest: SHA-256 of the whole file, in hex.
    """

    def __init__(self, path: Path, whole: bytes | mmap.mmap, file: BinaryIO) -> None:
        self.path = path
        self._whole = whole
        self._descriptor = os.dup(file.fileno()) if isinstance(whole, mmap.mmap) else None
        if self._descriptor is not None:
            weakref.finalize(self, os.close, self._descriptor)
        self._stamp = self._found_stamp()
        view = memoryview(whole)
        self.members = {name: view[start:end] for name, (start, end) in self._ranges(view, file).items()}
        file.seek(0)
        self.digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # all have readinto

    def require_unchanged(self) -> None:
        """Refuse to go on with a file that was written over since it was opened; one that was replaced does no harm."""
        if self._found_stamp() != self._stamp:
            raise InputError(self.path, "file", "other bytes than when it was opened", "a package that stays as it is")

    def let_go(self) -> None:
        """Take back from the process what was read of a mapped file; it is read again when it is needed again."""
        if isinstance(self._whole, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._whole.madvise(mmap.MADV_DONTNEED)

    def _found_stamp(self) -> tuple[int, int] | None:
        if self._descriptor is None:
            return None
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _ranges(self, whole: memoryview, file: BinaryIO) -> dict[str, tuple[int, int]]:
        """Where each member lies. Only stored ones, each as large as the file says, none overlapping, are accepted."""
        path = self.path
        try:
            with zipfile.ZipFile(file) as archive:
                listed = archive.infolist()
                if not listed or bytes(whole[-_END_RECORD_BYTES:][:4]) != b"PK\x05\x06" or listed[0].header_offset != 0:
                    raise zipfile.BadZipFile("something before or after the archive")
                if len(listed) > MAX_MEMBERS:
                    raise InputError(path, "members", len(listed), f"at most {MAX_MEMBERS} members")
                for info in listed:
                    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                        raise InputError(f"{path}[{info.filename}]", "compression", info.compress_type, "none (stored)")
                total = sum(info.file_size for info in listed)
                if total > len(whole):
                    raise InputError(path, "size", total, f"members that fit into the file's {len(whole)} bytes")
                ranges = [self._range(archive, info, whole) for info in listed]
        except InputError:
            raise
        except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, OSError, *_ZIP_QUIRKS) as error:
            reason = str(error) or type(error).__name__
            raise InputError(path, "file", path.name, f"{INTACT} ({reason[:120]})") from None
        if any(end > start for (_, end), (start, _) in pairwise(sorted(ranges))):
            raise InputError(path, "file", path.name, f"{INTACT} (members overlap)")
        found = dict(zip((info.filename for info in listed), ranges, strict=True))
        if len(found) != len(listed):
            raise InputError(path, "members", len(listed), f"{len(found)} members, each once")
        return found

    def _range(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, whole: memoryview) -> tuple[int, int]:
        """Where a member begins and ends, once its own header and checksum agree with the directory."""
        archive.open(info).close()  # compares its header with the directory
        header_end = info.header_offset + _LOCAL_HEADER.size
        start = header_end + sum(_LOCAL_HEADER.unpack(whole[info.header_offset : header_end]))
        end = start + info.file_size
        if end > len(whole) or zlib.crc32(whole[start:end]) != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
        self.let_go()
        return start, end


def open_archive(path: Path) -> Archive:
    """Map the file at ``path``; an :class:`InputError` says why it cannot be a package."""
    try:
        with path.open("rb") as file:
            return archive_in(file, path)
    except OSError as error:
        raise InputError(path, "file", str(path), f"a readable .hasten package ({error.strerror})") from None


def archive_in(file: BinaryIO, path: Path) -> Archive:
    """Map an open file; ``path`` is only named in errors."""
    size = os.fstat(file.fileno()).st_size
    if size > MAX_PACKAGE_BYTES:
        raise InputError(path, "size", size, f"at most {MAX_PACKAGE_BYTES} bytes")
    if size == 0:
        raise InputError(path, "file", path.name, f"{INTACT} (it is empty)")
    return Archive(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), file)


def archive_of(data: bytes, path: Path) -> Archive:
    """The members of a package that is in memory; ``path`` is only named in errors."""
    return Archive(path, data, io.BytesIO(data))
