"""Answers of the offline solver: a plan for known arrivals with a certificate of how good it is.

A plan is always feasible, its upper bound always valid; ``optimal`` is set only when the two were proven to meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PROVEN_GAP = 1e-9
"""Gain and bound closer than this (per task) are the same number summed in another order."""


class CertificateError(HastenError):
    """An internal error: what the solver claims of a plan is not what the simulator makes of it."""


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
    edge: IntArray
    """(N,): which edge the rest of each task is sent to; 0 also for local options and dropped tasks."""
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


class Found(NamedTuple):
    """What a method found."""

    option: IntArray
    """(N,): the plan, as in :class:`OfflinePlan`."""
    gain: float
    """Mean per task; likewise the bound."""
    upper_bound: float
    method: str


def make_plan(
    scenario: Scenario, realization: Realization, found: Found, seconds: float, reason: str = "", **details: Any
) -> OfflinePlan:
    """Assemble a plan; ``optimal`` follows from the distance of gain and bound."""
    option, gain, upper_bound, method = found
    if not upper_bound >= gain - PROVEN_GAP:
        raise CertificateError(f"internal error: the bound {upper_bound!r} is below the plan's gain {gain!r}")
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
        edge=scenario.options.edges(realization.stream, option),
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
