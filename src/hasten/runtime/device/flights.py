"""Frames on their way: numbered for the life of an agent, sent, waited for, and what their answers teach.

A frame that was handed to the link cannot be taken back. A task whose time is over ends without it, but the frame is
remembered for a while: its answer still tells how long the edge took, and until then the edge is at work on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hasten.core.rescue import GRACE_MS
from hasten.runtime.clock import Clock
from hasten.runtime.device.backlog_estimate import Transfer
from hasten.runtime.device.beliefs import Beliefs
from hasten.runtime.device.rescue import Punctuality
from hasten.runtime.device.tasks import Task
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.service_times import Segment
from hasten.runtime.wire.frames import MOST_TASK
from hasten.runtime.wire.tasks import EdgeAnswer, Status, payload_head, submit_head
from hasten.split.manifest import Cut

MOST_FLIGHTS = 512
"""So many frames without an answer are remembered."""
FORGOTTEN_MS = 60_000.0


@dataclass(eq=False, slots=True)
class Flight:
    """A frame that has been sent: for a task, or (None) to learn of the edge."""

    number: int
    task: Task | None
    transfer: Transfer
    segment: Segment
    profiled_ms: float
    overtaken: int = 0
    """How many frames that were sent later have been answered."""


class Flights:
    """All frames to one edge without an answer, oldest first."""

    def __init__(
        self,
        clock: Clock,
        beliefs: Beliefs,
        punctuality: Punctuality,
        cuts: Sequence[Cut],
        wants: tuple[bool, bool],
        on_overdue: Callable[[Task], None],
    ) -> None:
        """``on_overdue`` is told of a task whose answer is not waited for any longer.

        ``wants``: whether answers to tasks are to carry outputs, and whether tasks may stop early.
        """
        self.workers = 1
        self._wants_outputs, self._may_stop = wants
        self._on_overdue = on_overdue
        self._clock, self._link, self._times, self._backlogs = clock, beliefs.link, beliefs.edge, beliefs.backlogs
        self._punctuality, self._offload = punctuality, beliefs.offload
        self._heads = [payload_head(cut) for cut in cuts]
        self._waiting: dict[int, Flight] = {}
        self._number = 0

    def send(
        self,
        uplink: Uplink,
        payload: bytes,
        cut: int,
        exit_: int,
        limit_ms: float,
        transfer: Transfer,
        profiled_ms: float,
        task: Task | None,
    ) -> int:
        """Hand a frame to the link; worthless after ``limit_ms`` (this device's clock). Returns its size in bytes."""
        now = self._clock.now_ms()
        self._number = self._number % MOST_TASK + 1  # 0 stands for the connection itself
        wanted = self._wants_outputs and task is not None
        latest_ms = self._latest_ms(limit_ms, now)
        cut_head, size = self._heads[cut], len(payload)
        head = submit_head(self._number, cut, exit_, latest_ms, cut_head, size, wanted, self._may_stop)
        uplink.send(head, payload)
        size += len(head)
        self._backlogs.transfer_sent(transfer, 8.0 * size, now)
        flight = self._waiting[self._number] = Flight(self._number, task, transfer, (cut, exit_), profiled_ms)
        if len(self._waiting) > MOST_FLIGHTS:
            self._forget(next(iter(self._waiting.values())))
        if task is not None:
            task.sent_ms, task.wire_bytes = now, size
            if not math.isinf(task.predicted_ms):
                self._punctuality.sent(self._number, task.arrived_ms + task.predicted_ms)
            self._clock.call_at(task.limit_ms + GRACE_MS, lambda: self._overdue(flight))
        return size

    def _latest_ms(self, limit_ms: float, now: float) -> float:
        """On the edge's clock, when an answer must leave; a clock that may be wrong is given the benefit of doubt."""
        if not self._link.knows_clock:
            return math.inf
        return self._link.edge_clock(limit_ms) - 0.5 * self._link.rtt_ms + self._link.clock_doubt_ms(now)

    def answered(
        self, number: int, answer: EdgeAnswer, stopped_ms: Callable[[Segment, int], float | None]
    ) -> Flight | None:
        """Learn from an answer; None if nothing is known of its frame.

        ``stopped_ms`` tells what a segment's part up to an earlier exit takes as profiled, None if it is none.
        """
        now = self._clock.now_ms()
        flight = self._waiting.pop(number, None)
        if flight is None:
            return None
        self._link.heard(now, answer.clock_ms)
        beside_ms = answer.edge_total_ms + self._offload.profiled_ms  # handling is no part of the transfer
        self._backlogs.transfer_answered(flight.transfer, now, beside_ms)
        self._backlogs.edge_reported(answer.report, now)
        self.workers = max(self.workers, len(answer.report.backlog_ms))  # an edge may get more while it serves
        if answer.status is Status.DONE:
            part_ms = stopped_ms(flight.segment, answer.exit)
            if part_ms is None:
                self._times.answered(flight.segment, flight.profiled_ms, answer)
            else:
                self._times.answered((flight.segment[0], answer.exit), part_ms, answer)
        task = flight.task
        if task is not None and not math.isinf(task.predicted_ms):
            late = answer.status is Status.LATE
            self._punctuality.came(number, math.inf if late else now - task.arrived_ms - task.predicted_ms)
        for earlier in list(self._waiting.values()):
            if earlier.number < number:
                earlier.overtaken += 1
                if earlier.overtaken >= self.workers:  # served in order: its answer has been lost
                    self._backlogs.transfer_gone(earlier.transfer)
        return flight

    def refused(self, number: int) -> Flight | None:
        """The edge will not do it."""
        flight = self._waiting.get(number)
        if flight is not None:
            self._forget(flight)
        return flight

    def lost(self) -> list[Flight]:
        """The connection is gone, and all that was under way; the tasks' own reckoning is left to the caller."""
        flights, self._waiting = list(self._waiting.values()), {}
        for flight in flights:
            self._punctuality.gone(flight.number)
            self._backlogs.transfer_gone(flight.transfer)
        return flights

    def expire(self, now: float) -> None:
        """Forget frames that are not answered for very long."""
        for flight in list(self._waiting.values()):
            if now - flight.transfer.ready_ms <= FORGOTTEN_MS:
                break
            self._forget(flight)

    @property
    def any(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._waiting)

    def _overdue(self, flight: Flight) -> None:
        if flight.number in self._waiting and flight.task is not None:
            self._punctuality.came(flight.number, math.inf)
            self._on_overdue(flight.task)

    def _forget(self, flight: Flight) -> None:
        self._waiting.pop(flight.number, None)
        self._punctuality.gone(flight.number)
        self._backlogs.transfer_gone(flight.transfer)
