"""Answers of the offline solver: a plan for known arrivals with a certificate of how good it is.

A plan is always feasible, its upper bound always valid; ``optimal`` is set only when the two were proven to meet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PROVEN_GAP = 1e-9
"""Gain and bound closer than this (per task) are the same number summed in another order."""


class TimeLimit:
    """A stretch of wall-clock time that starts when this object is made; None never ends."""

    def __init__(self, seconds: float | None = None, part_of: TimeLimit | None = None) -> None:
        self._start_s = time.monotonic()
        self._seconds = np.inf if seconds is None else float(seconds)
        self._part_of = part_of

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start_s

    @property
    def left_s(self) -> float:
        """Seconds until the end, never negative; infinity without a limit."""
        return max(self._seconds - self.spent_s, 0.0)

    @property
    def expired(self) -> bool:
        """Whether the time is used up."""
        return self.left_s <= 0.0

    def share(self, part: float) -> TimeLimit:
        """A limit that ends after ``part`` (0..1) of what is left of this one."""
        return TimeLimit(None if np.isinf(self._seconds) else part * self.left_s, part_of=self)

    def cancel(self) -> None:
        """End now, together with the limit that this one is a share of: the user has interrupted."""
        self._seconds = 0.0
        if self._part_of is not None:
            self._part_of.cancel()


@dataclass(frozen=True)
class OfflinePlan:
    """What an all-knowing scheduler would decide for one realization, and how near to the optimum that provably is."""

    scenario: str
    seed: int
    tasks: int
    gain: float
    """Mean gain per arriving task of this plan, as the simulator replays it (0 without tasks)."""
    upper_bound: float
    """No scheduler's mean gain on this realization exceeds this."""
    optimal: bool
    """Whether the plan is proven optimal."""
    option: IntArray
    """(N,): option index of each task in its stream's row of ``scenario.options``, or DROP."""
    decisions: IntArray
    """(N, 2): the same as (exit, partition) pairs; a dropped task is (0, 0)."""
    seconds: float
    """Wall-clock time of the solution."""
    method: str
    """How the plan was found: ``exact``, or the bounded method's name."""
    reason: str = ""
    """Why nothing can be gained, or why optimality is not proven; empty when there is nothing to explain."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures of the search worth telling, e.g. the largest number of labels held at once."""

    @property
    def gap(self) -> float:
        """Distance between bound and gain, relative to the bound."""
        return max(self.upper_bound - self.gain, 0.0) / max(abs(self.upper_bound), 1e-12)

    def summary(self) -> dict[str, Any]:
        """One entry of the ``results`` of ``hasten.offline/1``."""
        return {
            "seed": self.seed,
            "tasks": self.tasks,
            "gain": self.gain,
            "upper_bound": self.upper_bound,
            "gap": self.gap,
            "optimal": self.optimal,
            "seconds": self.seconds,
            "method": self.method,
            "reason": self.reason,
        }


def make_plan(
    scenario: Scenario,
    realization: Realization,
    option: IntArray,
    gain: float,
    upper_bound: float,
    method: str,
    seconds: float,
    reason: str = "",
    **details: Any,
) -> OfflinePlan:
    """Assemble a plan; ``gain`` and ``upper_bound`` are means per task, ``optimal`` follows from their distance."""
    upper_bound = max(upper_bound, gain)
    return OfflinePlan(
        scenario=scenario.name,
        seed=realization.seed,
        tasks=realization.tasks,
        gain=gain,
        upper_bound=upper_bound,
        optimal=upper_bound - gain <= PROVEN_GAP,
        option=option,
        decisions=scenario.options.pairs(realization.stream, option),
        seconds=seconds,
        method=method,
        reason=reason,
        details=details,
    )


def all_dropped(tasks: int) -> IntArray:
    """The plan (N,) that drops every task."""
    return np.full(tasks, DROP, dtype=np.int64)


def offline_document(scenario: str, plans: list[OfflinePlan]) -> dict[str, Any]:
    """The ``hasten.offline/1`` document of several plans."""
    return {"schema": "hasten.offline/1", "scenario": scenario, "results": [plan.summary() for plan in plans]}
