"""Frames between device and edge: a fixed header, then a body whose size was checked before it was received.

All numbers are little-endian. Header (20 bytes): magic ``HSTN``, version u8, kind u8, reserved u16, task u64, body
size u32. Bodies:

=======  ====================================================================================================
HELLO    package digest (32 bytes), token size u8, token, then the device's name
WELCOME  edge clock f64 ms, slow-down f32, workers u16
SUBMIT   cut u16, exit u16, latest f64 (edge clock, ms), tensor types (see :func:`types_bytes`), codec payload
ANSWER   status u8, exit u16, class u32, confidence f32, queue, compute and decode time u32 us each, edge clock f64
         ms when it was sent, load report
REFUSE   code u8, then text
PING     padding of any allowed size: a probe of the link
PONG     edge clock f64 ms, load report
=======  ====================================================================================================

A load report is a sequence number u32, the number of waiting tasks u32, the number of workers u16 and each worker's
predicted backlog f32 ms. Clocks are monotonic clocks; a device maps its own to the edge's by its fastest pings.

The parser does no I/O. Frames larger than its staging buffer are received straight into their own memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from hasten.core.errors import HastenError
from hasten.split.manifest import TensorSpec

MAGIC = b"HSTN"
VERSION = 2
HEADER = struct.Struct("<4sBBHQI")
MAX_WORKERS = 64
"""An edge node has at most so many workers, so that load reports stay small."""
MAX_PROBE_BYTES = 64 * 1024
MAX_TEXT_BYTES = 512

_STAGING_BYTES = 64 * 1024
_DIGEST_BYTES = 32
_WELCOME = struct.Struct("<dfH")
_SUBMIT = struct.Struct("<HHd")
_ANSWER = struct.Struct("<BHIfIIId")
_REPORT = struct.Struct("<IIH")
_CLOCK = struct.Struct("<d")
_DTYPES = {"float32": 1, "uint8": 2, "int32": 3, "int64": 4}
_MAX_REPORT_BYTES = _REPORT.size + 4 * MAX_WORKERS


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


class Status(IntEnum):
    """What an answer says."""

    DONE = 0
    """The exit answered."""
    LATE = 1
    """The task could not have been answered in time and was not run."""
    INVALID = 2
    """The network's output is not finite: there is no class to tell."""
    UNKNOWN = 255
    """Stands for any number that this version does not know; never sent."""


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


@dataclass(frozen=True, slots=True)
class Hello:
    """A device introduces itself and names the package it runs."""

    digest: bytes
    token: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """The edge accepts a device."""

    clock_ms: float
    slowdown: float
    workers: int


@dataclass(slots=True)
class LoadReport:
    """The edge's load when it was sent: predicted backlog of each worker, ascending."""

    sequence: int
    waiting: int
    backlog_ms: tuple[float, ...]


@dataclass(slots=True)
class Submit:
    """A task for the edge: run from ``cut`` to ``exit``; worthless unless it leaves the edge by ``latest_ms``."""

    cut: int
    exit: int
    latest_ms: float
    rest: memoryview
    """Tensor types and payload."""


@dataclass(slots=True)
class Answer:
    """What became of a task at the edge; whoever receives it checks that exit, class and confidence can be true."""

    status: Status
    exit: int
    class_index: int
    confidence: float
    queue_us: int
    compute_us: int
    decode_us: int
    report: LoadReport
    clock_ms: float = 0.0
    """The edge's clock when the answer was sent."""

    @property
    def edge_total_ms(self) -> float:
        """All of the time at the edge."""
        return (self.queue_us + self.compute_us + self.decode_us) / 1000.0

    @property
    def service_ms(self) -> float:
        """Time at work on it, without waiting."""
        return (self.compute_us + self.decode_us) / 1000.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """The edge did not do what was asked."""

    code: int
    text: str


_STATUSES = {int(status): status for status in Status}

EDGE_BEFORE_HELLO: Mapping[int, int] = {Kind.HELLO: _DIGEST_BYTES + 1 + 255 + MAX_TEXT_BYTES}
"""What an edge accepts from a stranger: kinds and their largest bodies."""

DEVICE_LIMITS: Mapping[int, int] = {
    Kind.WELCOME: _WELCOME.size,
    Kind.ANSWER: _ANSWER.size + _MAX_REPORT_BYTES,
    Kind.REFUSE: 1 + MAX_TEXT_BYTES,
    Kind.PONG: _CLOCK.size + _MAX_REPORT_BYTES,
}
"""What a device accepts from the edge."""


def edge_limits(max_submit_bytes: int) -> dict[int, int]:
    """What an edge accepts from a welcomed device: SUBMIT bodies up to what its package can need."""
    return {Kind.SUBMIT: max_submit_bytes, Kind.PING: MAX_PROBE_BYTES}


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
        self._large_head = (Kind.PING, 0)

    def buffer(self) -> memoryview:
        """Where the next received bytes go; never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        return self._staging[self._filled :]

    def received(self, count: int) -> Iterator[Frame]:
        """Yield the frames completed by the ``count`` bytes just written to ``buffer()``."""
        if self._large is not None:
            self._large_filled += count
            if self._large_filled == len(self._large):
                kind, task = self._large_head
                frame = Frame(kind, task, self._large)
                self._large = None
                yield frame
            return
        self._filled += count
        start = 0
        try:
            while self._filled - start >= HEADER.size:
                magic, version, number, _, task, size = HEADER.unpack_from(self._staging, start)
                limit = self.limits.get(number)
                if magic != MAGIC or version != VERSION or limit is None or size > limit:
                    raise self._damage(magic, version, number, size, limit)
                kind = _KINDS[number]
                body_start = start + HEADER.size
                end = body_start + size
                if end <= self._filled:
                    start = end
                    yield Frame(kind, task, memoryview(bytes(self._staging[body_start:end])))
                elif HEADER.size + size > _STAGING_BYTES:
                    self._begin_large(kind, task, size, start)
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
            return WireError(Code.VERSION, f"frame: got protocol version {version}, expected {VERSION}")
        if limit is None:
            accepted = ", ".join(_KINDS[known].name for known in self.limits)
            return WireError(Code.MALFORMED, f"frame: got kind {kind}, expected one of {accepted}")
        return WireError(Code.TOO_LARGE, f"frame: got a {_KINDS[kind].name} of {size} bytes, expected at most {limit}")

    def _begin_large(self, kind: Kind, task: int, size: int, start: int) -> None:
        body = memoryview(bytearray(size))
        have = self._filled - start - HEADER.size
        body[:have] = self._staging[start + HEADER.size : self._filled]
        self._large, self._large_filled, self._large_head = body, have, (kind, task)


def frame_bytes(kind: Kind, task: int, body: bytes) -> bytes:
    """A whole frame."""
    return HEADER.pack(MAGIC, VERSION, kind, 0, task, len(body)) + body


def types_bytes(specs: Sequence[TensorSpec]) -> bytes:
    """Types of a cut's tensors as they travel: count u8, then for each dtype u8, axes u8 and each axis u32."""
    parts = [bytes([len(specs)])]
    parts += [
        struct.pack(f"<BB{len(spec.shape)}I", _DTYPES[spec.dtype], len(spec.shape), *spec.shape) for spec in specs
    ]
    return b"".join(parts)


def submit_overhead_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of a SUBMIT frame besides its payload."""
    return HEADER.size + submit_body_bytes(specs, 0)


def submit_body_bytes(specs: Sequence[TensorSpec], payload_bytes: int) -> int:
    """Size of a SUBMIT body with a payload of this size."""
    return _SUBMIT.size + len(types_bytes(specs)) + payload_bytes


def submit_head(task: int, cut: int, exit_: int, latest_ms: float, types: bytes, payload_bytes: int) -> bytes:
    """All of a SUBMIT frame before its payload."""
    size = _SUBMIT.size + len(types) + payload_bytes
    return HEADER.pack(MAGIC, VERSION, Kind.SUBMIT, 0, task, size) + _SUBMIT.pack(cut, exit_, latest_ms) + types


def parse_submit(body: memoryview) -> Submit:
    """Read a SUBMIT body as far as it can be read without knowing the package."""
    _require_size(body, _SUBMIT.size, Kind.SUBMIT)
    cut, exit_, latest_ms = _SUBMIT.unpack_from(body)
    if latest_ms != latest_ms:
        raise WireError(Code.MALFORMED, "SUBMIT: got NaN as latest time, expected a number")
    return Submit(cut, exit_, latest_ms, body[_SUBMIT.size :])


def hello_frame(hello: Hello) -> bytes:
    """A HELLO frame."""
    name = hello.name.encode()[:MAX_TEXT_BYTES]
    return frame_bytes(Kind.HELLO, 0, hello.digest + bytes([len(hello.token)]) + hello.token + name)


def parse_hello(body: memoryview) -> Hello:
    """Read a HELLO body."""
    _require_size(body, _DIGEST_BYTES + 1, Kind.HELLO)
    token_end = _DIGEST_BYTES + 1 + body[_DIGEST_BYTES]
    _require_size(body, token_end, Kind.HELLO)
    token = bytes(body[_DIGEST_BYTES + 1 : token_end])
    return Hello(bytes(body[:_DIGEST_BYTES]), token, _text(body[token_end:]))


def welcome_frame(welcome: Welcome) -> bytes:
    """A WELCOME frame."""
    return frame_bytes(Kind.WELCOME, 0, _WELCOME.pack(welcome.clock_ms, welcome.slowdown, welcome.workers))


def parse_welcome(body: memoryview) -> Welcome:
    """Read a WELCOME body."""
    if len(body) != _WELCOME.size:
        raise WireError(Code.MALFORMED, f"WELCOME: got {len(body)} bytes, expected {_WELCOME.size}")
    welcome = Welcome(*_WELCOME.unpack(body))
    if not (0 < welcome.slowdown < 1e6 and 1 <= welcome.workers <= MAX_WORKERS and abs(welcome.clock_ms) < 1e15):
        raise WireError(Code.MALFORMED, f"WELCOME: got {welcome}, expected a positive slow-down and 1..{MAX_WORKERS}")
    return welcome


def answer_frame(task: int, answer: Answer) -> bytes:
    """An ANSWER frame."""
    head = _ANSWER.pack(
        answer.status,
        answer.exit,
        answer.class_index,
        answer.confidence,
        answer.queue_us,
        answer.compute_us,
        answer.decode_us,
        answer.clock_ms,
    )
    return frame_bytes(Kind.ANSWER, task, head + _report_bytes(answer.report))


def parse_answer(body: memoryview) -> Answer:
    """Read an ANSWER body."""
    _require_size(body, _ANSWER.size, Kind.ANSWER)
    number, exit_, class_index, confidence, queue_us, compute_us, decode_us, clock_ms = _ANSWER.unpack_from(body)
    _require_clock(clock_ms, Kind.ANSWER)
    status = _STATUSES.get(number, Status.UNKNOWN)
    report = _parse_report(body, _ANSWER.size)
    return Answer(status, exit_, class_index, confidence, queue_us, compute_us, decode_us, report, clock_ms)


def refuse_frame(task: int, code: Code, text: str) -> bytes:
    """A REFUSE frame."""
    return frame_bytes(Kind.REFUSE, task, bytes([code]) + text.encode()[:MAX_TEXT_BYTES])


def parse_refuse(body: memoryview) -> Refuse:
    """Read a REFUSE body."""
    _require_size(body, 1, Kind.REFUSE)
    return Refuse(body[0], _text(body[1:]))


def ping_frame(sequence: int, padding_bytes: int) -> bytes:
    """A PING frame; padding makes it a probe of the link's rate."""
    return frame_bytes(Kind.PING, sequence, bytes(padding_bytes))


def pong_frame(sequence: int, clock_ms: float, report: LoadReport) -> bytes:
    """A PONG frame."""
    return frame_bytes(Kind.PONG, sequence, _CLOCK.pack(clock_ms) + _report_bytes(report))


def pong_bytes(workers: int) -> int:
    """Size of a PONG frame of an edge with so many workers."""
    return HEADER.size + _CLOCK.size + _REPORT.size + 4 * workers


def parse_pong(body: memoryview) -> tuple[float, LoadReport]:
    """Read a PONG body: the edge's clock and its load."""
    _require_size(body, _CLOCK.size, Kind.PONG)
    clock_ms = _CLOCK.unpack_from(body)[0]
    _require_clock(clock_ms, Kind.PONG)
    return clock_ms, _parse_report(body, _CLOCK.size)


def _report_bytes(report: LoadReport) -> bytes:
    backlog_ms = report.backlog_ms
    head = _REPORT.pack(report.sequence & 0xFFFFFFFF, report.waiting, len(backlog_ms))
    return head + _backlogs(len(backlog_ms)).pack(*backlog_ms)


def _parse_report(body: memoryview, start: int) -> LoadReport:
    size = len(body) - start
    if size < _REPORT.size:
        raise WireError(Code.MALFORMED, f"load report: got {size} bytes, expected at least {_REPORT.size}")
    sequence, waiting, workers = _REPORT.unpack_from(body, start)
    if not 1 <= workers <= MAX_WORKERS or size != _REPORT.size + 4 * workers:
        raise WireError(Code.MALFORMED, f"load report: got {workers} workers in {size} bytes")
    backlog_ms = _backlogs(workers).unpack_from(body, start + _REPORT.size)
    for backlog in backlog_ms:
        if not 0 <= backlog < 1e9:
            raise WireError(Code.MALFORMED, f"load report: got {backlog_ms}, expected milliseconds")
    return LoadReport(sequence, waiting, backlog_ms)


@cache
def _backlogs(workers: int) -> struct.Struct:
    return struct.Struct(f"<{workers}f")


def _require_size(body: memoryview, least: int, kind: Kind) -> None:
    if len(body) < least:
        raise WireError(Code.MALFORMED, f"{kind.name}: got {len(body)} bytes, expected at least {least}")


def _require_clock(clock_ms: float, kind: Kind) -> None:
    if not abs(clock_ms) < 1e15:
        raise WireError(Code.MALFORMED, f"{kind.name}: got clock {clock_ms}, expected milliseconds")


def _text(data: memoryview) -> str:
    return "".join(c if c.isprintable() else "?" for c in bytes(data).decode(errors="replace"))
