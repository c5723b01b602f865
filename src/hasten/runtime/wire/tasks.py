"""Tasks on their way to the edge and what became of them: SUBMIT and ANSWER frames.

======  ====================================================================================================
SUBMIT  cut u16, exit u16, flags u8 (1: outputs are wanted, 2: it may stop at an earlier exit), latest f64 (edge clock,
        ms), the payload's head, payload
ANSWER  status u8, exit u16, class u32, confidence f32, queue, compute and decode time u32 us each, edge clock f64
        ms when it was sent, load report; where outputs were wanted, their head and payload
======  ====================================================================================================

A payload's head is the codec's name (its size u8, then ASCII) and the types of the tensors, a cut's or an exit's: count
u8, then for each dtype u8, axes u8 and each axis u32. Class and confidence are 0 where the exit gives no logits.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hasten.runtime.wire.frames import (
    HEADER,
    MAGIC,
    VERSION,
    Code,
    Kind,
    WireError,
    frame_bytes,
    require_clock,
    require_size,
)
from hasten.runtime.wire.handshake import MAX_REFUSE_BYTES, WELCOME_BYTES
from hasten.runtime.wire.load import (
    MAX_PONG_BYTES,
    MAX_PROBE_BYTES,
    MAX_REPORT_BYTES,
    LoadReport,
    parse_report,
    report_bytes,
)
from hasten.split.manifest import Cut, TensorSpec

_SUBMIT = struct.Struct("<HHBd")
_ANSWER = struct.Struct("<BHIfIIId")
WANTS_OUTPUTS, MAY_STOP = 1, 2
"""Flags of a SUBMIT frame."""
_DTYPES = {"float32": 1, "uint8": 2, "int32": 3, "int64": 4, "bool": 5}


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


@dataclass(slots=True)
class Submit:
    """A task for the edge: run from ``cut`` to ``exit``; worthless unless it leaves the edge by ``latest_ms``."""

    cut: int
    exit: int
    latest_ms: float
    codec: str
    """Name of what coded the payload."""
    rest: memoryview
    """Tensor types and payload."""
    wants_outputs: bool = False
    """Whether the answer is to carry what the exit gives, beyond class and confidence."""
    may_stop: bool = False
    """Whether an earlier exit may answer if it is sure enough."""


@dataclass(slots=True)
class EdgeAnswer:
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
    outputs: bytes | memoryview = b""
    """What the exit gave, as :class:`~hasten.runtime.wire.outputs.OutputPayloads` codes it; empty if not wanted."""
    retry_ms: float = 0.0
    """Of a LATE one: in how many ms a task with as much time may be in time; 0: nothing is said."""

    @property
    def edge_total_ms(self) -> float:
        """All of the time at the edge."""
        return (self.queue_us + self.compute_us + self.decode_us) / 1000.0

    @property
    def service_ms(self) -> float:
        """Time at work on it, without waiting."""
        return (self.compute_us + self.decode_us) / 1000.0


_STATUSES = {int(status): status for status in Status}

DEVICE_LIMITS: Mapping[int, int] = {
    Kind.WELCOME: WELCOME_BYTES,
    Kind.ANSWER: _ANSWER.size + MAX_REPORT_BYTES,
    Kind.REFUSE: MAX_REFUSE_BYTES,
    Kind.PONG: MAX_PONG_BYTES,
}
"""What a device that wants no outputs accepts from the edge."""


def device_limits(max_outputs_bytes: int) -> dict[int, int]:
    """What a device accepts from the edge when answers carry up to so many bytes of outputs."""
    return {**DEVICE_LIMITS, Kind.ANSWER: DEVICE_LIMITS[Kind.ANSWER] + max_outputs_bytes}


def edge_limits(max_payload_bytes: int) -> dict[int, int]:
    """What an edge accepts from a welcomed device: payloads, heads included, up to what its package can need."""
    return {Kind.SUBMIT: _SUBMIT.size + max_payload_bytes, Kind.PING: MAX_PROBE_BYTES}


def payload_head(cut: Cut) -> bytes:
    """What stands before every payload of a cut: the codec's name and the types of the tensors."""
    return coded_head(cut.codec, cut.tensors)


def coded_head(codec: str, specs: Sequence[TensorSpec]) -> bytes:
    """What stands before a payload: the codec's name and the types of the tensors."""
    name = codec.encode()
    return bytes([len(name)]) + name + types_bytes(specs)


def types_bytes(specs: Sequence[TensorSpec]) -> bytes:
    """Types of tensors as they travel."""
    parts = [bytes([len(specs)])]
    parts += [
        struct.pack(f"<BB{len(spec.shape)}I", _DTYPES[spec.dtype], len(spec.shape), *spec.shape) for spec in specs
    ]
    return b"".join(parts)


def submit_overhead_bytes(cut: Cut) -> int:
    """Bytes of a SUBMIT frame beyond its payload."""
    return HEADER.size + _SUBMIT.size + len(payload_head(cut))


def submit_head(
    task: int,
    cut: int,
    exit_: int,
    latest_ms: float,
    head: bytes,
    payload_bytes: int,
    wants_outputs: bool = False,
    may_stop: bool = False,
) -> bytes:
    """All of a SUBMIT frame before its payload; ``head`` is the cut's :func:`payload_head`."""
    size = _SUBMIT.size + len(head) + payload_bytes
    fixed = _SUBMIT.pack(cut, exit_, WANTS_OUTPUTS * wants_outputs | MAY_STOP * may_stop, latest_ms)
    return HEADER.pack(MAGIC, VERSION, Kind.SUBMIT, 0, task, size, 0) + fixed + head


def parse_submit(body: memoryview) -> Submit:
    """Read a SUBMIT body as far as it can be read without knowing the package."""
    require_size(body, _SUBMIT.size + 1, Kind.SUBMIT)
    cut, exit_, flags, latest_ms = _SUBMIT.unpack_from(body)
    if flags > WANTS_OUTPUTS | MAY_STOP:
        raise WireError(Code.MALFORMED, f"SUBMIT: got flags {flags}, expected 0 to {WANTS_OUTPUTS | MAY_STOP}")
    if latest_ms != latest_ms:
        raise WireError(Code.MALFORMED, "SUBMIT: got NaN as latest time, expected a number")
    name_end = _SUBMIT.size + 1 + body[_SUBMIT.size]
    require_size(body, name_end, Kind.SUBMIT)
    codec = bytes(body[_SUBMIT.size + 1 : name_end]).decode("ascii", "replace")
    return Submit(cut, exit_, latest_ms, codec, body[name_end:], bool(flags & WANTS_OUTPUTS), bool(flags & MAY_STOP))


def answer_frame(task: int, answer: EdgeAnswer) -> bytes:
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
    body = b"".join((head, report_bytes(answer.report), answer.outputs))
    return frame_bytes(Kind.ANSWER, task, body, answer.retry_ms)


def parse_answer(body: memoryview, retry_ms: int = 0) -> EdgeAnswer:
    """Read an ANSWER body; ``retry_ms`` is its header's."""
    require_size(body, _ANSWER.size, Kind.ANSWER)
    number, exit_, class_index, confidence, queue_us, compute_us, decode_us, clock_ms = _ANSWER.unpack_from(body)
    require_clock(clock_ms, Kind.ANSWER)
    status = _STATUSES.get(number, Status.UNKNOWN)
    report, end = parse_report(body, _ANSWER.size)
    times_us = queue_us, compute_us, decode_us
    return EdgeAnswer(status, exit_, class_index, confidence, *times_us, report, clock_ms, body[end:], retry_ms)
