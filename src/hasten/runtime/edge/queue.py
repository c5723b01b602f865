"""Tasks that wait at the edge, in the order in which they will be served, and the work they are."""

from __future__ import annotations

import heapq
import itertools
import math
import weakref
from bisect import bisect_left, bisect_right, insort_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from hasten.core.edge_order import ServiceOrder
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.served import Refusal, Request
from hasten.runtime.wire.tasks import EdgeAnswer

Reply = Callable[["Ticket", EdgeAnswer | Refusal], None]
"""Is told what became of a task."""

EXACTLY = 64
"""So many waiting tasks are laid out over the workers one by one in a forecast, the work behind them evenly."""
FORGOTTEN_FROM = 256
"""So many last moments to start are kept besides twice those of tasks that wait."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Ticket:
    """A task at the edge. Times are the edge's clock in ms."""

    request: Request
    reply: Reply
    device: CarriedWork
    """What the device that sent it has had of the edge."""
    arrived_ms: float
    profiled_ms: float
    """Time at work on it by the profile."""
    predicted_ms: float
    """The same as measured lately, when it came."""
    sizes: tuple[int, ...] = (1,)
    """The measured numbers of tasks like it that may be run at once."""
    started_ms: float = math.inf

    @property
    def together(self) -> int:
        """With how many, itself included, it may be run at once."""
        return self.sizes[-1]

    def factor(self, count: int) -> float:
        """How many times as long as it alone so many tasks like it take at once."""
        request = self.request
        return request.served.batch_factor(request.cut, request.exit, count) if count > 1 else 1.0

    def share(self, count: int) -> float:
        """The part of its time alone that each of so many takes of the worker's."""
        return self.factor(count) / count

    @property
    def least_ms(self) -> float:
        """What of a worker's time it takes at least: its part of as many as may be run at once."""
        return self.predicted_ms * self.share(self.together)

    @property
    def last_start_ms(self) -> float:
        """Started later, it could not be in time."""
        return self.request.latest_ms - self.predicted_ms


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait at an edge."""

    tasks: int = 512
    size_bytes: int = 64 << 20


class TaskQueue:
    """Tasks that wait.

    Args:
        order: of service (``core.edge_order``); equal ones are served as they came.

    Attributes:
        size_bytes: what they hold in memory.
        work_ms: what they will take, one by one.
        batchable: how many of them may be run with others at once.
    """

    def __init__(self, order: ServiceOrder) -> None:
        self.size_bytes = self.batchable = 0
        self._by_times = order
        self._tickets: list[Ticket] = []
        self._waiting: set[Ticket] = set()
        self.work_ms = 0.0

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._waiting

    def add(self, ticket: Ticket) -> None:
        """Take one in."""
        insort_right(self._tickets, ticket, key=self._order)
        self._waiting.add(ticket)
        self.size_bytes += ticket.request.size_bytes
        self.batchable += ticket.together > 1
        self.work_ms += ticket.predicted_ms
        ticket.device.waiting_ms += ticket.predicted_ms
        ticket.device.waiting += 1

    def take(self) -> Ticket:
        """The one whose turn it is; there must be one."""
        ticket = self._tickets.pop(0)
        self._gone(ticket)
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take one out of turn; return whether it was still there."""
        if ticket not in self._waiting:
            return False
        first = bisect_left(self._tickets, self._order(ticket), key=self._order)
        del self._tickets[self._tickets.index(ticket, first)]
        self._gone(ticket)
        return True

    def forecast(self, backlog_ms: Sequence[float], now_ms: float, within_ms: float = math.inf) -> list[float]:
        """Each worker's work before a task that came now, with so much time, would start.

        (workers,), ascending, of what runs to (workers,) with those that wait and would be served before it. A worker
        that is free takes the next task. With one worker, or up to ``EXACTLY`` tasks, that is exact; what waits behind
        is shared out evenly, so that the cost does not grow with the queue.
        """
        last = self._by_times(now_ms, now_ms + within_ms)
        ahead = bisect_right(self._tickets, last, key=self._order)
        work_ms = self.work_ms
        if ahead < len(self._tickets):
            work_ms = sum(ticket.predicted_ms for ticket in islice(self._tickets, ahead))
        if len(backlog_ms) == 1:
            return [backlog_ms[0] + work_ms]
        busy_ms = list(backlog_ms)
        heapq.heapify(busy_ms)
        for ticket in islice(self._tickets, min(ahead, EXACTLY)):
            heapq.heapreplace(busy_ms, busy_ms[0] + ticket.predicted_ms)
            work_ms -= ticket.predicted_ms
        busy_ms.sort()
        return levelled(busy_ms, work_ms) if ahead > EXACTLY else busy_ms

    def first(self, count: int) -> list[Ticket]:
        """So many, the next in turn."""
        return self._tickets[:count]

    def with_one(self, new: Ticket, without: Collection[Ticket] = ()) -> list[Ticket]:
        """All that would wait, in order of service, if ``new`` came and ``without`` left."""
        turn = bisect_right(self._tickets, self._order(new), key=self._order)
        return [ticket for ticket in (*self._tickets[:turn], new, *self._tickets[turn:]) if ticket not in without]

    def hindered(self, new: Ticket, busy_ms: Sequence[float], without: Collection[Ticket] = ()) -> list[Ticket] | None:
        """Who stands in the way of being in time, if ``new`` came and ``without`` left; None if nothing does.

        That is all that wait, in order of service, up to the first that would be late with ``new`` and is not as things
        are: ``new`` itself, or one that it overtakes. ``busy_ms`` (workers,) is what runs, of each worker.
        """
        turn = bisect_right(self._tickets, self._order(new), key=self._order)
        if turn == len(self._tickets) and not without:
            in_time = new.arrived_ms + self.forecast(busy_ms, new.arrived_ms)[0] <= new.last_start_ms
            return None if in_time else list(self._tickets)
        before, after = Starts(new.arrived_ms, busy_ms), Starts(new.arrived_ms, busy_ms)
        for position, ticket in enumerate(self._tickets):
            if position == turn and after.next(new) > new.last_start_ms:
                return self._up_to(position, without)
            was_in_time = before.next(ticket) <= ticket.last_start_ms
            if ticket not in without and after.next(ticket) > ticket.last_start_ms and was_in_time and position >= turn:
                return self._up_to(position + 1, without)
        if turn == len(self._tickets) and after.next(new) > new.last_start_ms:
            return self._up_to(turn, without)
        return None

    def waiting(self, without: Collection[Ticket] = ()) -> list[Ticket]:
        """All that wait, in order of service."""
        return self._up_to(len(self._tickets), without)

    def _order(self, ticket: Ticket) -> float:
        return self._by_times(ticket.arrived_ms, ticket.request.latest_ms)

    def _up_to(self, position: int, without: Collection[Ticket]) -> list[Ticket]:
        return [ticket for ticket in self._tickets[:position] if ticket not in without]

    def _gone(self, ticket: Ticket) -> None:
        self._waiting.discard(ticket)
        self.size_bytes -= ticket.request.size_bytes
        self.batchable -= ticket.together > 1
        self.work_ms = max(self.work_ms - ticket.predicted_ms, 0.0) if self._tickets else 0.0
        ticket.device.waiting_ms = max(ticket.device.waiting_ms - ticket.predicted_ms, 0.0)
        ticket.device.waiting -= 1


class Starts:
    """When tasks start that are served one after the other by the worker that is free first."""

    def __init__(self, now_ms: float, busy_ms: Sequence[float]) -> None:
        self._free_ms = [now_ms + busy for busy in busy_ms]
        heapq.heapify(self._free_ms)

    def next(self, ticket: Ticket) -> float:
        """When the next one starts."""
        return self.take(ticket.predicted_ms)

    def take(self, work_ms: float) -> float:
        """When so much work starts."""
        start_ms = self._free_ms[0]
        heapq.heapreplace(self._free_ms, start_ms + work_ms)
        return start_ms


class LastStarts:
    """The last moments to start of tasks that wait, soonest first; it keeps no task alive that has left."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, weakref.ref[Ticket]]] = []
        self._order = itertools.count()

    @property
    def next_ms(self) -> float:
        """The soonest; infinity when there is none."""
        return self._entries[0][0] if self._entries else math.inf

    def add(self, ticket: Ticket, queue: TaskQueue) -> None:
        """Note a task of ``queue``; those that have left it are forgotten now and then."""
        if len(self._entries) > 2 * len(queue) + FORGOTTEN_FROM:
            self._entries = [entry for entry in self._entries if entry[2]() in queue]
            heapq.heapify(self._entries)
        heapq.heappush(self._entries, (ticket.last_start_ms, next(self._order), weakref.ref(ticket)))

    def passed(self, now: float) -> list[Ticket]:
        """Take out those whose last moment was not after ``now``."""
        tickets = []
        while self._entries and self._entries[0][0] <= now:
            ticket = heapq.heappop(self._entries)[2]()
            if ticket is not None:
                tickets.append(ticket)
        return tickets


def levelled(busy_ms: Sequence[float], work_ms: float) -> list[float]:
    """Pour ``work_ms`` over workers (ascending) as water over steps: the least busy get it until they are level."""
    total_ms = work_ms
    for count, busy in enumerate(busy_ms, start=1):
        total_ms += busy
        level_ms = total_ms / count
        if count == len(busy_ms) or level_ms <= busy_ms[count]:
            return [level_ms] * count + list(busy_ms[count:])
    return []
