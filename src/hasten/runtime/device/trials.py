"""When to leave an edge alone, and when to send a frame for no task's sake: whether it is worth it again.

A task that is kept on the device because the edge is not trusted is no risk: a copy of its input goes to the edge, and
the times in the answer are all that is used of it. Trials come the more seldom the more often they were in vain.
"""

from __future__ import annotations

FIRST_MS, DEADLINES, MOST_MS = 500.0, 2.0, 30_000.0
"""A first trial comes after so long (at least so many deadlines), the next ones after twice as long each."""


class Trials:
    """The schedule of trials."""

    def __init__(self, deadline_ms: float) -> None:
        self._first_ms = max(FIRST_MS, DEADLINES * deadline_ms)
        self._pause_ms = self._first_ms
        self._next_ms: float | None = None

    def due(self, now: float) -> bool:
        """Whether one should be sent; asked at every task that a trusted edge might have had."""
        if self._next_ms is None:  # distrust has just begun
            self._next_ms = now + self._pause_ms
        return now >= self._next_ms

    def sent(self, now: float) -> None:
        """One was sent."""
        self._pause_ms = min(2.0 * self._pause_ms, MOST_MS)
        self._next_ms = now + self._pause_ms

    def promising(self) -> None:
        """One did well: look again soon."""
        self._pause_ms = self._first_ms
        self._next_ms = None

    def trusted(self) -> None:
        """The edge is trusted."""
        if self._next_ms is not None:
            self.promising()


class Avoidance:
    """For how long an edge is left alone after connections to it broke while it had work: twice as long each time.

    An answer ends it.
    """

    _FIRST_MS, _MOST_MS = 250.0, 30_000.0

    def __init__(self) -> None:
        self._pause_ms = self._FIRST_MS
        self._until_ms = -1.0

    def failed(self, now: float) -> None:
        """It has failed again."""
        self._until_ms = now + self._pause_ms
        self._pause_ms = min(2.0 * self._pause_ms, self._MOST_MS)

    def answered(self) -> None:
        """It works."""
        self._pause_ms = self._FIRST_MS

    def avoids(self, now: float) -> bool:
        """Whether nothing should be sent."""
        return now < self._until_ms


class Retry:
    """Until when an edge that was too busy has asked to be left alone, by tasks with no more time than it refused."""

    def __init__(self) -> None:
        self._until_ms = self._deadline_ms = -1.0

    def refused(self, until_ms: float, deadline_ms: float) -> None:
        """A task with this deadline was; what the edge says last counts."""
        self._until_ms, self._deadline_ms = until_ms, deadline_ms

    def holds(self, now: float, deadline_ms: float) -> bool:
        """Whether a task with this deadline would come too early."""
        return now < self._until_ms and deadline_ms <= self._deadline_ms
