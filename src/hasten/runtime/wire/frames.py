"""Frames between device and edge: a fixed header, then a body whose size was checked before it was received.

All numbers are little-endian. Header (20 bytes): magic ``HSTN``, version u8, kind u8, retry u16, task u32, body
size u32, checksum u32. What is in the bodies: ``handshake`` (HELLO, WELCOME, REFUSE), ``tasks`` (SUBMIT, ANSWER) and
``load`` (PING, PONG).

``retry`` says of a task that was not taken (REFUSE, or ANSWER with LATE) in how many ms one like it may be, if nothing
else comes; 0 says nothing, as with every other frame.

The checksum is the low half of the frame's XXH3-64, taken with a checksum of 0; 0 stands for none, as where TLS sees to
it. It finds accidents as a CRC-32 does, in a fourteenth of the time; nothing here finds malice.

The parser does no I/O. Frames larger than its staging buffer are received straight into their own memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from xxhash import xxh3_64, xxh3_64_intdigest

from hasten.core.errors import HastenError

MAGIC = b"HSTN"
VERSION = 6
OTHER_VERSION = "device and edge need the same version of hasten"
HEADER = struct.Struct("<4sBBHIII")
MOST_TASK = 0xFFFFFFFF
"""The largest task number."""
MOST_RETRY_MS = 0xFFFF
"""The longest that an edge can ask to wait."""

_CHECKSUM = struct.Struct("<I")
_CHECKSUM_AT = HEADER.size - _CHECKSUM.size

_STAGING_BYTES = 64 * 1024


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    WELCOME = 2
    SUBMIT = 3
    ANSWER = 4
    REFUSE = 5
    PING = 6
    PONG = 7


_KINDS = {int(kind): kind for kind in Kind}


class Code(IntEnum):
    """Why something was refused."""

    MALFORMED = 1
    TOO_LARGE = 2
    VERSION = 3
    TOKEN = 4
    PACKAGE = 5
    CUT = 6
    PAYLOAD = 7
    FAILED = 8
    BUSY = 9
    """More than the edge takes: connections, or tasks and bytes that wait."""
    CLOSING = 10
    """The edge is about to end."""
    IDLE = 11
    """Nothing came on the connection for too long."""
    CODEC = 12
    """A payload of a codec that the edge does not know."""
    DAMAGED = 13
    """A frame is not as it was sent."""
    QUOTA = 14
    """More than this device may have under way."""


class WireError(HastenError):
    """Bytes that are not the frames they should be."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Frame:
    """One received frame."""

    kind: Kind
    task: int
    body: memoryview
    retry_ms: int = 0


class FrameParser:
    """Cuts received bytes into frames.

    Use: fill (part of) ``buffer()``, then iterate ``received(count)``. A :class:`WireError` means that framing is
    lost; frames before the damage have been yielded by then.

    Attributes:
        limits: accepted kinds and the largest body of each; may be replaced between frames.
    """

    def __init__(self, limits: Mapping[int, int]) -> None:
        self.limits = limits
        self._staging = memoryview(bytearray(_STAGING_BYTES))
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0
        self._large_head = (Kind.PING, 0, 0)
        self._large_checksum = 0
        self._large_sum = xxh3_64()

    def buffer(self) -> memoryview:
        """Where the next received bytes go; never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        return self._staging[self._filled :]

    def received(self, count: int) -> Iterator[Frame]:
        """Yield the frames completed by the ``count`` bytes just written to ``buffer()``."""
        if self._large is not None:
            came, self._large_filled = self._large_filled, self._large_filled + count
            if self._large_checksum:  # of each part as it comes, while the next one travels
                self._large_sum.update(self._large[came : self._large_filled])
            if self._large_filled == len(self._large):
                kind, task, retry_ms = self._large_head
                frame = Frame(kind, task, self._large, retry_ms)
                self._large = None
                if self._large_checksum:
                    _require_sound(self._large_checksum, self._large_sum.intdigest(), kind)
                yield frame
            return
        self._filled += count
        start = 0
        try:
            while self._filled - start >= HEADER.size:
                magic, version, number, retry_ms, task, size, checksum = HEADER.unpack_from(self._staging, start)
                limit = self.limits.get(number)
                if magic != MAGIC or version != VERSION or limit is None or size > limit:
                    raise self._damage(magic, version, number, size, limit)
                kind = _KINDS[number]
                end = start + HEADER.size + size
                if end <= self._filled:
                    if checksum:
                        _CHECKSUM.pack_into(self._staging, start + _CHECKSUM_AT, 0)
                    whole = bytes(self._staging[start:end])
                    if checksum:
                        _require_sound(checksum, xxh3_64_intdigest(whole), kind)
                    start = end
                    yield Frame(kind, task, memoryview(whole)[HEADER.size :], retry_ms)
                elif HEADER.size + size > _STAGING_BYTES:
                    self._begin_large((kind, task, retry_ms), size, checksum, start)
                    start = self._filled
                    break
                else:
                    break
        finally:
            rest = self._filled - start
            if start and rest:
                self._staging[:rest] = bytes(self._staging[start : self._filled])
            self._filled = rest

    def _damage(self, magic: bytes, version: int, kind: int, size: int, limit: int | None) -> WireError:
        """What is wrong with a header."""
        if magic != MAGIC:
            return WireError(Code.MALFORMED, f"frame: got magic {magic!r}, expected {MAGIC!r}")
        if version != VERSION:
            return WireError(
                Code.VERSION, f"frame: got protocol version {version}, expected {VERSION}: {OTHER_VERSION}"
            )
        if limit is None:
            accepted = ", ".join(_KINDS[known].name for known in self.limits)
            return WireError(Code.MALFORMED, f"frame: got kind {kind}, expected one of {accepted}")
        return WireError(Code.TOO_LARGE, f"frame: got a {_KINDS[kind].name} of {size} bytes, expected at most {limit}")

    def _begin_large(self, head: tuple[Kind, int, int], size: int, checksum: int, start: int) -> None:
        body = memoryview(bytearray(size))
        have = self._filled - start - HEADER.size
        body[:have] = self._staging[start + HEADER.size : self._filled]
        self._large, self._large_filled, self._large_head, self._large_checksum = body, have, head, checksum
        if checksum:
            _CHECKSUM.pack_into(self._staging, start + _CHECKSUM_AT, 0)
            self._large_sum = xxh3_64(self._staging[start : self._filled])


def frame_bytes(kind: Kind, task: int, body: bytes, retry_ms: float = 0.0) -> bytes:
    """A whole frame, without a checksum. ``retry_ms`` is rounded up: who waits for so long does not come early."""
    retry = min(math.ceil(retry_ms), MOST_RETRY_MS)
    return HEADER.pack(MAGIC, VERSION, kind, retry, task, len(body), 0) + body


def sealed(begin: bytes, rest: bytes = b"") -> bytes:
    """The begin of a frame without a checksum, at least its header, with that of it and ``rest``, which follows."""
    whole = xxh3_64(begin)
    whole.update(rest)
    return begin[:_CHECKSUM_AT] + _CHECKSUM.pack(_low(whole.intdigest())) + begin[HEADER.size :]


def _low(digest: int) -> int:
    """The checksum by the digest of a frame without one."""
    return digest & 0xFFFFFFFF or 1


def _require_sound(checksum: int, digest: int, kind: Kind) -> None:
    """:class:`WireError` unless a frame with a checksum is as it was sent."""
    if _low(digest) != checksum:
        text = f"frame: got a {kind.name} that does not match its checksum, expected it as it was sent"
        raise WireError(Code.DAMAGED, text)


def require_size(body: memoryview, least: int, kind: Kind) -> None:
    """:class:`WireError` unless a body has at least so many bytes."""
    if len(body) < least:
        raise WireError(Code.MALFORMED, f"{kind.name}: got {len(body)} bytes, expected at least {least}")


def require_clock(clock_ms: float, kind: Kind) -> None:
    """:class:`WireError` unless a clock is one."""
    if not abs(clock_ms) < 1e15:
        raise WireError(Code.MALFORMED, f"{kind.name}: got clock {clock_ms}, expected milliseconds")
