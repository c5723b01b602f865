"""A stream's tasks with running sums, so that any window of any time is read off in no time."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter

from hasten.web.tasks import ShownTask

SUMMED = (
    "worth",
    "judged",
    "measured",
    "on_time",
    "late",
    "dropped",
    "fallback",
    "rate_mbps",
    "device_wait_ms",
    "uplink_wait_ms",
    "edge_wait_ms",
)


class Track:
    """Tasks in the order in which the page heard of them; index i is a count of tasks.

    Attributes:
        tasks: all of them.
        exits: the deepest exit that any had.
    """

    def __init__(self) -> None:
        self.tasks: list[ShownTask] = []
        self.exits = 0
        self._at_ms = array("d")
        self._sums = {name: array("d", [0.0]) for name in SUMMED}

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def last_ms(self) -> float:
        """When the last task ended; 0 without any."""
        return self._at_ms[-1] if self._at_ms else 0.0

    def add(self, task: ShownTask) -> None:
        """One more task. It is shown from its end on, or from that of the one before where that is later."""
        self.tasks.append(task)
        self.exits = max(self.exits, task.exit)
        self._at_ms.append(max(task.ended_ms, self.last_ms))
        values = (
            task.worth or 0.0,
            task.worth is not None,
            task.measured,
            task.outcome == "on_time",
            task.outcome == "late",
            task.outcome in ("dropped", "invalid"),
            task.fallback is not None,
            task.rate_mbps,
            task.device_wait_ms,
            task.uplink_wait_ms,
            task.edge_wait_ms,
        )
        for name, value in zip(SUMMED, values, strict=True):
            sums = self._sums[name]
            sums.append(sums[-1] + value)

    def count(self, at_ms: float) -> int:
        """How many tasks had ended at a time."""
        return bisect_right(self._at_ms, at_ms)

    def total(self, name: str, first: int, last: int) -> float:
        """Sum of a column over the tasks ``first`` to ``last - 1``."""
        sums = self._sums[name]
        return sums[last] - sums[first]

    def mean(self, name: str, first: int, last: int) -> float | None:
        """Mean of a column over those tasks, None without any."""
        return self.total(name, first, last) / (last - first) if last > first else None

    def accuracy(self, first: int, last: int) -> float | None:
        """On-time accuracy of those tasks; None where that of any is not known, or without any."""
        if last <= first or self.total("judged", first, last) < last - first:
            return None
        return self.total("worth", first, last) / (last - first)

    def measured(self, first: int, last: int) -> bool:
        """Whether the labels of all those tasks are known."""
        return self.total("measured", first, last) >= last - first

    def latencies_ms(self, first: int, last: int) -> list[float]:
        """Latencies of those that were answered, ascending."""
        return sorted(task.latency_ms for task in self.tasks[first:last] if task.latency_ms is not None)

    def usual_choice(self, first: int, last: int) -> tuple[int, int, str, float] | None:
        """The (exit, partition, place) that most of those tasks had, and its share; exit 0: dropped. None of none."""
        counts = Counter((t.exit, t.partition, t.place) for t in self.tasks[first:last])
        if not counts:
            return None
        (exit_, partition, place), count = counts.most_common(1)[0]
        return exit_, partition, place, count / (last - first)


def quantile(ascending: list[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None without values."""
    if not ascending:
        return None
    place = int(share * len(ascending))
    return ascending[min(place, len(ascending) - 1)]
