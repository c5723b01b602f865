"""Results of a run, simulated or real: what happened to each task, and the summary users read.

The summary is one entry of ``hasten.result/1``. Every task ends in exactly one outcome: on time, late or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hasten.core.result_table import flat_summary, pandas_for, task_columns
from hasten.core.timing import is_on_time

if TYPE_CHECKING:
    from pandas import DataFrame

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Failure(NamedTuple):
    """A run of one scheduler on one realization that gave no result."""

    scheduler: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Result:
    """What one scheduler did on one realization; arrays are (N,), in order of arrival."""

    scheduler: str
    seed: int
    arrival_ms: FloatArray
    stream: IntArray
    decisions: IntArray
    """(N, 2): (exit, partition) as decided; (0, 0) is a dropped task."""
    finish_ms: FloatArray
    """When the answer was with the device; infinity for a task without an answer."""
    deadline_ms: FloatArray
    """Relative to arrival."""
    accuracy: FloatArray
    """Profiled accuracy of the (exit, partition) that answered, codec included (0 without an answer)."""
    gain: FloatArray
    """Gain of each task under the scenario's gain function."""
    uplink_bytes: float
    decision_us: FloatArray = field(default_factory=lambda: np.zeros(0))
    """Time of each decision (or each batch's share), where it was measured."""
    energy_mj: FloatArray | None = None
    """Device energy of each task, where the profile knows it."""
    correct: FloatArray | None = None
    """Measured quality of each answer, where there were real answers: right (1) or wrong (0), or the metric's value."""
    answered_exit: IntArray | None = None
    """The exit that did answer, where it may differ from the decided one (a fallback); 0 without an answer."""
    edge: IntArray | None = None
    """Which edge the rest of each task went to by its decision: 0 also for local options and dropped tasks. None where
    it is not kept, as there is but one."""
    edge_share: dict[str, float] = field(default_factory=dict)
    """Share of tasks sent to each edge, by its name, where there are several."""
    promised: FloatArray | None = None
    """Share of promises like each task's that were kept up to its decision; NaN where nothing was promised, that is
    for options predicted late and dropped tasks. None where predictions are exact, or nobody kept count."""
    notes: dict[str, int] = field(default_factory=dict)
    """How often something worth telling happened, e.g. a fallback to the device."""

    @property
    def tasks(self) -> int:
        """Number of tasks N."""
        return len(self.arrival_ms)

    @property
    def on_time(self) -> BoolArray:
        """(N,): answered by the deadline."""
        return cast(BoolArray, is_on_time(self.latency_ms, self.deadline_ms))

    @property
    def latency_ms(self) -> FloatArray:
        """(N,): answer time minus arrival; infinity without an answer."""
        return self.finish_ms - self.arrival_ms

    @property
    def dropped(self) -> BoolArray:
        """(N,): dropped at the decision."""
        return np.equal(self.decisions[:, 0], 0)

    @property
    def late(self) -> BoolArray:
        """(N,): started, but answered after the deadline or cancelled on the way."""
        return ~self.on_time & ~self.dropped

    @property
    def on_time_accuracy(self) -> float:
        """Expected share of arriving tasks answered correctly before their deadline (0 without tasks)."""
        return _mean(np.where(self.on_time, self.accuracy, 0.0))

    @property
    def mean_gain(self) -> float:
        """Mean gain per arriving task (0 without tasks)."""
        return _mean(self.gain)

    @property
    def measured_on_time_accuracy(self) -> float | None:
        """Share of arriving tasks answered on time and found correct; None without real answers.

        With another metric than accuracy its mean, late and missing answers counting 0.
        """
        return None if self.correct is None else _mean(np.where(self.on_time, self.correct, 0.0))

    def summary(self) -> dict[str, Any]:
        """One entry of the ``results`` of ``hasten.result/1``."""
        answered = np.isfinite(self.finish_ms)
        exits = self.decisions[:, 0] if self.answered_exit is None else self.answered_exit
        entry: dict[str, Any] = {
            "scheduler": self.scheduler,
            "seed": self.seed,
            "tasks": self.tasks,
            "on_time_accuracy": self.on_time_accuracy,
            "on_time_rate": _mean(self.on_time),
            "accuracy_when_on_time": _mean(self.accuracy[self.on_time]),
            "gain": self.mean_gain,
            "latency_ms": _quantiles(self.latency_ms[answered], mean=True),
            "dropped": int(self.dropped.sum()),
            "late": int(self.late.sum()),
            "exit_share": _shares(exits),
            "partition_share": _shares(self.decisions[~self.dropped, 1]),
            "uplink_bytes": float(self.uplink_bytes),
            "decision_us": _quantiles(self.decision_us),
        }
        if self.correct is not None:
            entry["measured_on_time_accuracy"] = self.measured_on_time_accuracy
            entry["measured_accuracy_when_on_time"] = _mean(self.correct[self.on_time])
        if self.energy_mj is not None and not np.all(np.isnan(self.energy_mj)):
            entry["device_energy_mj_per_task"] = _mean(self.energy_mj)
        if self.edge_share:
            entry["edge_share"] = dict(self.edge_share)
        if self.notes:
            entry["notes"] = dict(self.notes)
        return entry

    def to_frame(self) -> DataFrame:
        """One row for each task, in order of arrival, as a pandas ``DataFrame``; latency is NaN without an answer.

        ``scheduler`` and ``seed`` are columns, so that frames of several results can be put together with
        ``pandas.concat``.

        Raises:
            HastenError: pandas is not installed (``hasten[notebook]``).
        """
        return pandas_for("Result.to_frame").DataFrame(task_columns(self))


class Summarised(Protocol):
    """Whatever has a summary: a :class:`Result`, or a stream that was only counted."""

    def summary(self) -> dict[str, Any]:
        """One entry of the ``results`` of ``hasten.result/1``."""


def result_document(scenario: str, results: Sequence[Summarised], **more: Any) -> dict[str, Any]:
    """The ``hasten.result/1`` document of several results."""
    return {
        "schema": "hasten.result/1",
        "scenario": scenario,
        **more,
        "results": [result.summary() for result in results],
    }


def summary_frame(results: Sequence[Summarised]) -> DataFrame:
    """One row for each result, as a pandas ``DataFrame`` with what its summary tells, unnested: ``latency_ms.p95``.

    Raises:
        HastenError: pandas is not installed (``hasten[notebook]``).
    """
    return pandas_for("summary_frame").DataFrame([flat_summary(result.summary()) for result in results])


def edge_share(names: Sequence[str], edge: IntArray, sent: BoolArray) -> dict[str, float]:
    """The share of tasks ``sent`` (N,) to each of several edges, by their ``edge`` (N,); empty where there is one."""
    tasks = max(len(edge), 1)
    return {name: float((sent & (edge == e)).sum() / tasks) for e, name in enumerate(names)} if len(names) > 1 else {}


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _quantiles(values: FloatArray, mean: bool = False) -> dict[str, float | None]:
    names = {"p50": 50, "p95": 95, "p99": 99} if mean else {"p50": 50, "p99": 99}
    found: dict[str, float | None] = {}
    if mean:
        found["mean"] = float(values.mean()) if len(values) else None
    for name, percent in names.items():
        found[name] = float(np.percentile(values, percent)) if len(values) else None
    return found


def _shares(values: IntArray) -> dict[str, float]:
    numbers, counts = np.unique(values, return_counts=True)
    return {str(number): float(count / len(values)) for number, count in zip(numbers, counts, strict=True)}
