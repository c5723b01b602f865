"""What an edge tells of its load, alone or with every answer: PING and PONG frames, and the load report.

=====  ======================================================
PING   padding of any allowed size: a probe of the link
PONG   edge clock f64 ms, load report
=====  ======================================================

A load report is a sequence number u32, the number of waiting tasks u32, the number of workers u16, a forecast of what
the other devices bring (load f32 ms per ms, residual f32 ms) and each worker's predicted backlog f32 ms. Clocks are
monotonic clocks; a device maps its own to the edge's by its fastest pings.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from hasten.runtime.wire.frames import HEADER, Code, Kind, WireError, frame_bytes, require_clock, require_size

MAX_WORKERS = 64
"""An edge node has at most so many workers, so that load reports stay small."""
MAX_PROBE_BYTES = 64 * 1024

_REPORT = struct.Struct("<IIHff")
_CLOCK = struct.Struct("<d")
MAX_REPORT_BYTES = _REPORT.size + 4 * MAX_WORKERS
MAX_PONG_BYTES = _CLOCK.size + MAX_REPORT_BYTES
"""The largest body of a PONG."""


@dataclass(slots=True)
class LoadReport:
    """The edge's load when it was sent: predicted backlog of each worker, ascending."""

    sequence: int
    waiting: int
    backlog_ms: tuple[float, ...]
    others_load: float = 0.0
    """Work of all other devices that lately begins per time, ms per ms."""
    others_residual_ms: float = 0.0
    """What is left of their work at a random moment, on average: half its second moment per time."""


def ping_frame(sequence: int, padding_bytes: int) -> bytes:
    """A PING frame; padding makes it a probe of the link's rate."""
    return frame_bytes(Kind.PING, sequence, bytes(padding_bytes))


def pong_frame(sequence: int, clock_ms: float, report: LoadReport) -> bytes:
    """A PONG frame."""
    return frame_bytes(Kind.PONG, sequence, _CLOCK.pack(clock_ms) + report_bytes(report))


def pong_bytes(workers: int) -> int:
    """Size of a PONG frame of an edge with so many workers."""
    return HEADER.size + _CLOCK.size + _REPORT.size + 4 * workers


def parse_pong(body: memoryview) -> tuple[float, LoadReport]:
    """Read a PONG body: the edge's clock and its load."""
    require_size(body, _CLOCK.size, Kind.PONG)
    clock_ms = _CLOCK.unpack_from(body)[0]
    require_clock(clock_ms, Kind.PONG)
    report, end = parse_report(body, _CLOCK.size)
    if end != len(body):
        raise WireError(Code.MALFORMED, f"PONG: got {len(body) - end} bytes after the load report, expected none")
    return clock_ms, report


def report_bytes(report: LoadReport) -> bytes:
    """A load report as it travels."""
    backlog_ms = report.backlog_ms
    head = _REPORT.pack(
        report.sequence & 0xFFFFFFFF, report.waiting, len(backlog_ms), report.others_load, report.others_residual_ms
    )
    return head + _backlogs(len(backlog_ms)).pack(*backlog_ms)


def parse_report(body: memoryview, start: int) -> tuple[LoadReport, int]:
    """Read the load report that begins at ``start``; return it and where it ends."""
    size = len(body) - start
    if size < _REPORT.size:
        raise WireError(Code.MALFORMED, f"load report: got {size} bytes, expected at least {_REPORT.size}")
    sequence, waiting, workers, load, residual_ms = _REPORT.unpack_from(body, start)
    if not 1 <= workers <= MAX_WORKERS or size < _REPORT.size + 4 * workers:
        raise WireError(Code.MALFORMED, f"load report: got {workers} workers in {size} bytes")
    backlog_ms = _backlogs(workers).unpack_from(body, start + _REPORT.size)
    for backlog in backlog_ms:
        if not 0 <= backlog < 1e9:
            raise WireError(Code.MALFORMED, f"load report: got {backlog_ms}, expected milliseconds")
    if not (0 <= load < 1e3 and 0 <= residual_ms < 1e9):
        raise WireError(
            Code.MALFORMED, f"load report: got others' load {load} and {residual_ms} ms of it left, expected a forecast"
        )
    return LoadReport(sequence, waiting, backlog_ms, load, residual_ms), start + _REPORT.size + 4 * workers


@cache
def _backlogs(workers: int) -> struct.Struct:
    return struct.Struct(f"<{workers}f")
