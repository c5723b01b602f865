"""Which tasks an edge takes: those that can be in time without making others late, and fair shares when not all can.

Where a task does not fit, one that waits gives way to it if its device has asked for much more of the edge than the
one that sends: so the edge's time is shared out as by longest queue drop, which comes near max-min fairness (Suter et
al., "Design considerations for supporting TCP with per-flow queueing", 1998), whatever a single device sends.

An edge that serves by deadline keeps room besides, in overload, by :mod:`hasten.core.edge_admission`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from hasten.core.edge_admission import UNFAIR, may_give_way
from hasten.core.edge_batches import WINDOW
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.offers import Offers
from hasten.runtime.edge.queue import QueueLimits, TaskQueue, Ticket
from hasten.runtime.edge.served import Refusal
from hasten.runtime.edge.together import all_in_time
from hasten.runtime.wire.frames import Code


@dataclass(frozen=True)
class Admitted:
    """What becomes of a task that comes.

    Attributes:
        taken: whether it may wait or start; if not, it is late unless ``refusal`` says otherwise.
        refusal: why it is not taken, for another reason than time.
        gave_way: tasks that leave the queue for it.
    """

    taken: bool
    refusal: Refusal | None = None
    gave_way: list[Ticket] = field(default_factory=list)


class Admission:
    """Decides who may wait.

    Args:
        queue: where they wait.
        limits: the queue's.
        carried: work that has begun lately, of all devices.
        keeps_room: whether tasks are served by deadline, so that those to come find room in overload.
    """

    def __init__(self, queue: TaskQueue, limits: QueueLimits, carried: CarriedWork, keeps_room: bool) -> None:
        self._queue = queue
        self._limits = limits
        self._carried = carried
        self._offers = Offers() if keeps_room else None

    def judge(self, new: Ticket, busy_ms: Sequence[float]) -> Admitted:
        """Whether to take a task; ``busy_ms`` (workers,) is what is left, of each worker, of what runs.

        The queue is not changed: those that give way are for the caller to remove.
        """
        if self._offers is not None:
            self._offers.came(new)
            if self._wait_ms(new, busy_ms, new.arrived_ms) > self._room_ms(new, len(busy_ms), new.arrived_ms):
                return Admitted(False)
        gone: list[Ticket] = []
        while (hindrance := self._hindrance(new, busy_ms, gone)) is not None:
            refusal, in_the_way = hindrance
            victim = _victim(new, in_the_way, gone)
            if victim is None:
                return Admitted(False, refusal)
            gone.append(victim)
        return Admitted(True, None, gone)

    def retry_ms(self, ticket: Ticket, busy_ms: Sequence[float], now: float) -> float:
        """In how long a task like one that cannot be in time would be, if nothing else came.

        The wait before it grows shorter as time passes. Where it would be in time and others late for it, that is when
        a worker gets free; 0 if a task with so little time would be late at an idle edge, too.
        """
        if ticket.last_start_ms < ticket.arrived_ms:
            return 0.0
        slack_ms, wait_ms = ticket.last_start_ms - ticket.arrived_ms, self._wait_ms(ticket, busy_ms, now)
        beyond_ms = wait_ms - min(self._room_ms(ticket, len(busy_ms), now), slack_ms)
        return beyond_ms if beyond_ms > 0.0 else min(busy_ms)

    def _wait_ms(self, ticket: Ticket, busy_ms: Sequence[float], now: float) -> float:
        """The work before a task that came now with as much time as this one had."""
        return self._queue.forecast(busy_ms, now, ticket.request.latest_ms - ticket.arrived_ms)[0]

    def _room_ms(self, ticket: Ticket, workers: int, now: float) -> float:
        """How much of that there may be; infinity where it need not leave room. One may always wait."""
        if self._offers is None or not len(self._queue):
            return math.inf
        asked_ms = self._carried.asked_ms(now) + self._queue.work_ms
        share = self._offers.room(ticket, asked_ms, workers, now)
        return share * (ticket.last_start_ms - ticket.arrived_ms) if share < 1.0 else math.inf

    def _hindrance(
        self, new: Ticket, busy_ms: Sequence[float], gone: list[Ticket]
    ) -> tuple[Refusal | None, list[Ticket]] | None:
        """Why it cannot be taken, if it cannot (None: for time), and who of those that wait is in its way."""
        if min(busy_ms) == 0.0 and not len(self._queue):
            return None if new.arrived_ms <= new.last_start_ms else (None, [])
        queue, limits = self._queue, self._limits
        if len(queue) - len(gone) >= limits.tasks:
            text = f"{len(queue)} tasks wait, which is all that may"
            return Refusal(Code.BUSY, text, min(busy_ms)), queue.waiting(gone)
        size_bytes, more_bytes = queue.size_bytes - sum(it.request.size_bytes for it in gone), new.request.size_bytes
        if size_bytes + more_bytes > limits.size_bytes:
            text = f"{queue.size_bytes} bytes wait and {more_bytes} came, expected {limits.size_bytes} at most"
            return Refusal(Code.BUSY, text, min(busy_ms)), queue.waiting(gone)
        in_the_way = queue.hindered(new, busy_ms, gone)
        if in_the_way is None or self._fit_together(new, busy_ms, gone):
            return None
        return None, in_the_way

    def _fit_together(self, new: Ticket, busy_ms: Sequence[float], gone: list[Ticket]) -> bool:
        """Whether all could be in time when alike ones are run at once, though not one by one."""
        if new.together < 2 or not self._queue.batchable or len(self._queue) >= WINDOW:
            return False
        return all_in_time(self._queue.with_one(new, gone), busy_ms, new.arrived_ms)


def _victim(new: Ticket, in_the_way: list[Ticket], gone: list[Ticket]) -> Ticket | None:
    """The last task, told early enough, of the device that has asked for most, if that is unfair to the new one."""
    now_ms = new.arrived_ms
    fair_ms = UNFAIR * (new.device.asked_ms(now_ms) + new.predicted_ms)
    most_ms, victim = fair_ms, None
    for ticket in in_the_way:
        if ticket.device is new.device or not may_give_way(ticket.arrived_ms, ticket.request.latest_ms, now_ms):
            continue
        given_up_ms = sum(it.predicted_ms for it in gone if it.device is ticket.device)
        left_ms = ticket.device.asked_ms(now_ms) - given_up_ms - ticket.predicted_ms
        if left_ms >= most_ms:
            most_ms, victim = left_ms, ticket
    return victim
