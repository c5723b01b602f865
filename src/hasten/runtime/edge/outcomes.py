"""What a device is told of its task."""

from __future__ import annotations

from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.served import Computed
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status


def late(ticket: Ticket, now: float, report: LoadReport, retry_ms: float) -> EdgeAnswer:
    """It could not have been in time, and was not run; one with as much time may be in ``retry_ms``."""
    waited_us = _us(now - ticket.arrived_ms)
    return EdgeAnswer(Status.LATE, ticket.request.exit, 0, 0.0, waited_us, 0, 0, report, retry_ms=retry_ms)


def answered(ticket: Ticket, computed: Computed, now: float, size: int, report: LoadReport) -> EdgeAnswer:
    """It was run in a batch of this size: its times are those that it takes alone, the rest is waiting."""
    began_ms = now - computed.decode_ms - computed.compute_ms if size > 1 else ticket.started_ms
    return EdgeAnswer(
        computed.status,
        computed.stopped or ticket.request.exit,
        computed.class_index,
        computed.confidence,
        _us(began_ms - ticket.arrived_ms),
        _us(computed.compute_ms),
        _us(computed.decode_ms),
        report,
        outputs=computed.outputs,
    )


def _us(milliseconds: float) -> int:
    return min(max(int(milliseconds * 1000.0), 0), 0xFFFFFFFF)
