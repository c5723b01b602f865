"""Tasks that wait at the edge, in the order in which they will be served, and the work they are.

The order is this object's alone. First come, first served is the one there is; another takes its place by keeping the
same few methods.
"""

from __future__ import annotations

import heapq
import itertools
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

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
    started_ms: float = math.inf

    @property
    def last_start_ms(self) -> float:
        """Started later, it could not be in time."""
        return self.request.latest_ms - self.predicted_ms


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait at an edge."""

    tasks: int = 512
    size_bytes: int = 64 << 20


class TaskQueue(Protocol):
    """Tasks that wait.

    Attributes:
        size_bytes: what they hold in memory.
    """

    size_bytes: int

    def __len__(self) -> int:
        """How many wait."""

    def __contains__(self, ticket: object) -> bool:
        """Whether it waits."""

    def add(self, ticket: Ticket) -> None:
        """Take one in."""

    def take(self) -> Ticket:
        """The one whose turn it is; there must be one."""

    def remove(self, ticket: Ticket) -> bool:
        """Take one out of turn; return whether it was still there."""

    def forecast(self, backlog_ms: Sequence[float]) -> list[float]:
        """Each worker's work, ascending, when those that wait are added to what runs: (workers,) to (workers,)."""


class FirstComeFirstServed:
    """Tasks are served in the order in which they came."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._tickets: OrderedDict[Ticket, None] = OrderedDict()
        self._work_ms = 0.0

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._tickets

    def add(self, ticket: Ticket) -> None:
        """Take one in."""
        self._tickets[ticket] = None
        self.size_bytes += ticket.request.size_bytes
        self._work_ms += ticket.predicted_ms

    def take(self) -> Ticket:
        """The one that has waited longest."""
        ticket, _ = self._tickets.popitem(last=False)
        self._gone(ticket)
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take one out of turn; return whether it was still there."""
        if ticket not in self._tickets:
            return False
        del self._tickets[ticket]
        self._gone(ticket)
        return True

    def forecast(self, backlog_ms: Sequence[float]) -> list[float]:
        """Each worker's work, ascending, when a worker that is free takes the task that waits longest.

        With one worker, or up to ``EXACTLY`` tasks, that is exact; what waits behind is shared out evenly, so that the
        cost does not grow with the queue.
        """
        if len(backlog_ms) == 1:
            return [backlog_ms[0] + self._work_ms]
        busy_ms = list(backlog_ms)
        heapq.heapify(busy_ms)
        left_ms = self._work_ms
        for ticket in islice(self._tickets, EXACTLY):
            heapq.heapreplace(busy_ms, busy_ms[0] + ticket.predicted_ms)
            left_ms -= ticket.predicted_ms
        busy_ms.sort()
        return levelled(busy_ms, left_ms) if len(self._tickets) > EXACTLY else busy_ms

    def _gone(self, ticket: Ticket) -> None:
        self.size_bytes -= ticket.request.size_bytes
        self._work_ms = max(self._work_ms - ticket.predicted_ms, 0.0) if self._tickets else 0.0


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
