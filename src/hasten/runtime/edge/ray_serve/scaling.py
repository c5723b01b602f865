"""How many replicas an edge wants, by the backlog that it predicts."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from hasten.core.errors import InputError
from hasten.runtime.wire.load import MAX_WORKERS

HORIZON_MS = 3000.0
"""A replica is there in about so long; what waits is to be gone by then."""
BUSY = 0.7
"""Replicas are to be so busy: above, tasks wait for long, and devices keep what they could send."""
KEPT_MS = 60_000.0
"""Replicas that were wanted within so long are kept."""


@dataclass(frozen=True)
class ReplicaRange:
    """The fewest and the most replicas that there are to be."""

    fewest: int
    most: int


def replica_range(text: str) -> ReplicaRange:
    """Read ``MIN`` or ``MIN:MAX``.

    Raises:
        InputError: that is no range.
    """
    words = text.split(":")
    numbers = [int(word) for word in words if word.isdecimal()]
    if len(words) != len(numbers) or len(words) > 2 or not 1 <= numbers[0] <= numbers[-1] <= MAX_WORKERS:
        raise InputError("edge", "replicas", text, f"MIN or MIN:MAX with 1 <= MIN <= MAX <= {MAX_WORKERS}")
    return ReplicaRange(numbers[0], numbers[-1])


class ReplicaTarget:
    """The replicas that are wanted within a range.

    Without more of them the backlog grows by what is offered and shrinks by what they work. So many are wanted that it
    would be gone within :data:`HORIZON_MS`, and that they are not busier than :data:`BUSY`. What was turned away for
    want of time counts as offered: an edge that refuses what is late never has a long backlog.
    """

    def __init__(self, allowed: ReplicaRange) -> None:
        self._range = allowed
        self._wanted: deque[tuple[float, int]] = deque()
        self._seen: deque[tuple[float, float]] = deque()

    def wanted(self, now_ms: float, offered_ms: float, backlog_ms: float) -> int:
        """How many are wanted now.

        Args:
            now_ms: the time.
            offered_ms: work of all tasks that have come until now.
            backlog_ms: of what has been taken, the work that is left.
        """
        self._seen.append((now_ms, offered_ms))
        while len(self._seen) > 2 and self._seen[1][0] <= now_ms - HORIZON_MS:
            self._seen.popleft()
        since_ms, before_ms = self._seen[0]
        load = (offered_ms - before_ms) / max(now_ms - since_ms, HORIZON_MS)
        least = math.ceil((load + backlog_ms / HORIZON_MS) / BUSY)
        self._wanted.append((now_ms, min(max(least, self._range.fewest), self._range.most)))
        while self._wanted[0][0] < now_ms - KEPT_MS:
            self._wanted.popleft()
        return max(count for _, count in self._wanted)
