"""The workers of an edge: how many there are, which are free, and what is left of what the others run.

Their number may change while they work: one that is too many goes when it has finished its task.
"""

from __future__ import annotations

from hasten.core.errors import InputError
from hasten.runtime.edge.queue import Ticket


class WorkerSlots:
    """Workers by number, ``limit`` at most; to be used by one thread at a time.

    Attributes:
        count: how many there are to be.
    """

    def __init__(self, limit: int) -> None:
        self.count = self._limit = limit
        self._free = list(range(limit))
        self._running: dict[int, Ticket] = {}
        """A worker, and what stands for what it runs."""

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def overdue_ms(self, now_ms: float) -> list[float]:
        """How much longer than predicted what runs has taken yet; negative while there is time left."""
        return [now_ms - ticket.started_ms - ticket.predicted_ms for ticket in self._running.values()]

    def resize(self, count: int) -> list[int]:
        """There are to be so many; return those that have come, which are neither free nor run anything yet.

        Raises:
            InputError: there cannot be.
        """
        if not 1 <= count <= self._limit:
            raise InputError("edge", "workers", count, f"1..{self._limit}")
        self.count = count
        more = count - len(self._free) - len(self._running)
        if more < 0:
            del self._free[more:]
        known = {*self._free, *self._running}
        return [worker for worker in range(self._limit) if worker not in known][: max(more, 0)]

    def take(self) -> int | None:
        """A free one, which then is to begin; None if there is none."""
        return self._free.pop() if self._free else None

    def begins(self, worker: int, ticket: Ticket) -> None:
        """It runs this, or others for which this stands."""
        self._running[worker] = ticket

    def waits(self, worker: int) -> None:
        """It has nothing to do; if it is too many it goes."""
        self._running.pop(worker, None)
        if len(self._free) + len(self._running) < self.count:
            self._free.append(worker)

    def stays(self, worker: int) -> bool:
        """Whether one that has finished, or has come, may do something else."""
        busy = len(self._running) - (worker in self._running)
        return len(self._free) + busy < self.count

    def left_ms(self, now_ms: float, besides: int = -1) -> list[float]:
        """Of what runs, ascending, ``besides`` one worker's. What is overdue is expected to take as long again."""
        running = [ticket for worker, ticket in self._running.items() if worker != besides]
        left = sorted(abs(ticket.started_ms + ticket.predicted_ms - now_ms) for ticket in running)
        return [0.0] * len(self._free) + left
