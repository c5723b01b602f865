"""How many of some durations were how long: counts between fixed bounds, for who watches."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

BOUNDS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


class LatencySummary(NamedTuple):
    """What a :class:`LatencyCounts` held at one moment."""

    upto: tuple[int, ...]
    """For each of :data:`BOUNDS_MS` how many were not above it, and last how many there were."""
    sum_ms: float


class LatencyCounts:
    """Counts durations. Whoever owns it sees to it that one thread at a time uses it."""

    __slots__ = ("_counts", "_sum_ms")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one more."""
        self._counts[bisect_left(BOUNDS_MS, duration_ms)] += 1
        self._sum_ms += duration_ms

    def summary(self) -> LatencySummary:
        """All so far."""
        return LatencySummary(tuple(accumulate(self._counts)), self._sum_ms)
