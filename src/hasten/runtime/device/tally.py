"""What a stream has come to, counted task by task in constant memory, however long it runs.

The summary is an entry of ``hasten.result/1`` like that of :class:`hasten.core.results.Result`. Quantiles are exact for
the first ten thousand values, and then within half a percent.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.runtime.device.tasks import Outcome, Reason, Task

EXACT = 10_000
STEP = math.log(1.005)


class Spread:
    """Mean and quantiles of values above 0."""

    def __init__(self) -> None:
        self._count, self._sum = 0, 0.0
        self._exact: array[float] | None = array("d")
        self._bins: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Take one more value."""
        self._count += 1
        self._sum += value
        if self._exact is None:
            self._bins[_bin(value)] += 1
            return
        self._exact.append(value)
        if len(self._exact) > EXACT:
            self._bins.update(_bin(known) for known in self._exact)
            self._exact = None

    @property
    def mean(self) -> float | None:
        """The mean, None without values."""
        return self._sum / self._count if self._count else None

    def quantile(self, percent: float) -> float | None:
        """The value below which so many percent lie, None without values."""
        if not self._count:
            return None
        if self._exact is not None:
            return float(np.percentile(np.frombuffer(self._exact), percent))
        wanted, seen = percent / 100.0 * self._count, 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if seen >= wanted:
                break
        return math.exp((number + 0.5) * STEP)


class _Costs:
    """What a version of the network is worth and costs."""

    def __init__(self, profile: Profile, slowdown: float) -> None:
        self.profile = profile
        table = option_table([StreamCosts(profile, slowdown)])
        pairs = zip(table.exit[0].tolist(), table.partition[0].tolist(), strict=True)
        self.energy_mj = dict(zip(pairs, table.energy_mj[0].tolist(), strict=True))
        """By exit and partition: the same at every edge."""


class Tally:
    """Counts the tasks of one stream under one scheduler.

    Attributes:
        tasks: how many have ended.
        uplink_bytes: what all frames of tasks came to.
        failure: what the scheduler did wrong, if it did.
    """

    def __init__(self, scheduler: str, seed: int, profile: Profile, slowdown: float = 1.0) -> None:
        self.tasks = self.uplink_bytes = 0
        self.failure: str | None = None
        self._scheduler, self._seed, self._slowdown = scheduler, seed, slowdown
        self._costs = _Costs(profile, slowdown)
        self._on_time = self._dropped = self._unlabelled = 0
        self._right_on_time = 0.0
        self._worth = self._spent_mj = 0.0
        self._latency_ms, self._decision_us = Spread(), Spread()
        self._exits: Counter[int] = Counter()
        self._partitions: Counter[int] = Counter()
        self._notes: Counter[str] = Counter()

    def of(self, profile: Profile) -> Callable[[Task], None]:
        """What counts ended tasks of another version of the network."""
        costs = _Costs(profile, self._slowdown)
        return lambda task: self._add(task, costs)

    def add(self, task: Task) -> None:
        """Count a task that has ended."""
        self._add(task, self._costs)

    def _add(self, task: Task, costs: _Costs) -> None:
        self.tasks += 1
        on_time = task.outcome is Outcome.ON_TIME
        if on_time:
            self._on_time += 1
            decided, answered = (task.exit, task.partition), (task.answered_exit, task.answered_partition)
            self._worth += costs.profile.answered_accuracy(decided, answered)
        if task.answered:
            self._latency_ms.add(task.latency_ms)
        label = task.arrival.label
        if task.score is not None:
            self._right_on_time += task.score * on_time
        elif label is None:
            self._unlabelled += 1
        elif task.class_index == label:
            self._right_on_time += on_time
        self._decision_us.add(task.decision_us)
        self._exits[task.answered_exit] += 1
        if task.exit:
            self._partitions[task.partition] += 1
            if task.decided is not None:
                self._spent_mj += costs.energy_mj[task.decided.exit, task.decided.partition]
        else:
            self._dropped += 1
        self.uplink_bytes += task.wire_bytes
        if task.reason is not None and task.reason is not Reason.ANSWERED:
            self._notes[task.reason.value] += 1
        if task.fallback:
            self._notes[f"fallback_{task.fallback.value}"] += 1
        if task.note:
            self._notes[task.note] += 1

    def summary(self) -> dict[str, Any]:
        """One entry of the ``results`` of ``hasten.result/1``."""
        entry: dict[str, Any] = {
            "scheduler": self._scheduler,
            "seed": self._seed,
            "tasks": self.tasks,
            "on_time_accuracy": _share(self._worth, self.tasks),
            "on_time_rate": _share(self._on_time, self.tasks),
            "accuracy_when_on_time": _share(self._worth, self._on_time),
            "gain": _share(self._worth, self.tasks),
            "latency_ms": {"mean": self._latency_ms.mean, **_quantiles(self._latency_ms, (50, 95, 99))},
            "dropped": self._dropped,
            "late": self.tasks - self._on_time - self._dropped,
            "exit_share": _shares(self._exits),
            "partition_share": _shares(self._partitions),
            "uplink_bytes": float(self.uplink_bytes),
            "decision_us": _quantiles(self._decision_us, (50, 99)),
        }
        if self.tasks and not self._unlabelled:
            entry["measured_on_time_accuracy"] = _share(self._right_on_time, self.tasks)
            entry["measured_accuracy_when_on_time"] = _share(self._right_on_time, self._on_time)
        first_mj = next(iter(self._costs.energy_mj.values()))
        if self.tasks and not math.isnan(first_mj + self._spent_mj):
            entry["device_energy_mj_per_task"] = _share(self._spent_mj, self.tasks)
        if self._notes:
            entry["notes"] = dict(sorted(self._notes.items()))
        return entry


def _bin(value: float) -> int:
    return math.floor(math.log(max(value, 1e-6)) / STEP)


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _shares(counts: Counter[int]) -> dict[str, float]:
    total = sum(counts.values())
    return {str(number): counts[number] / total for number in sorted(counts)}


def _quantiles(spread: Spread, percents: tuple[int, ...]) -> dict[str, float | None]:
    return {f"p{percent}": spread.quantile(percent) for percent in percents}
