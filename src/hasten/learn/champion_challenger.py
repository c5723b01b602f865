"""The champion-challenger test of a new policy on a device: it decides nothing until it was better where it is used.

The rule: candidate, current policy and Greedy decide the same ``RESAMPLES`` runs, drawn from what the device recorded
(blocks of time, bootstrapped). The candidate takes over only if its gain is larger than the current policy's in at
least ``ENOUGH`` of these runs, and larger than Greedy's in at least as many: a paired one-sided bootstrap test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Scheduler
from hasten.core.scenario import Realization, Scenario
from hasten.policies.policy import AnyPolicy
from hasten.schedulers.greedy import Greedy
from hasten.schedulers.learned import Learned
from hasten.sim import simulate_realizations

RESAMPLES = 100
ENOUGH = 0.95


@dataclass(frozen=True)
class Verdict:
    """What the test found; gains are means per arriving task over all runs."""

    accepted: bool
    candidate: float
    current: float
    greedy: float
    better_than_current: float
    """Share of the runs."""
    better_than_greedy: float
    runs: int
    tasks: int
    """In all runs together."""

    def __str__(self) -> str:
        return (
            f"{'takes over' if self.accepted else 'refused'}: gain {self.candidate:.4f}, current {self.current:.4f}, "
            f"greedy {self.greedy:.4f}; better than current in {self.better_than_current:.0%} and than greedy in "
            f"{self.better_than_greedy:.0%} of {self.runs} runs, {ENOUGH:.0%} needed"
        )

    def record(self) -> dict[str, Any]:
        """For the log of verdicts."""
        return asdict(self) | {"rule": f"better than current and than greedy, each in {ENOUGH:.0%} of the runs"}


def judge(candidate: AnyPolicy, current: AnyPolicy, scenario: Scenario, runs: Sequence[Realization]) -> Verdict:
    """Let the three decide the same runs, guards and all."""
    new = _gains(Learned(candidate), scenario, runs)
    old = _gains(Learned(current), scenario, runs)
    greedy = _gains(Greedy(), scenario, runs)
    over_current, over_greedy = float(np.mean(new > old)), float(np.mean(new > greedy))
    return Verdict(
        accepted=min(over_current, over_greedy) >= ENOUGH,
        candidate=float(new.mean()),
        current=float(old.mean()),
        greedy=float(greedy.mean()),
        better_than_current=over_current,
        better_than_greedy=over_greedy,
        runs=len(runs),
        tasks=sum(run.tasks for run in runs),
    )


def _gains(scheduler: Scheduler, scenario: Scenario, runs: Sequence[Realization]) -> NDArray[np.float64]:
    """(R,): mean gain of each run."""
    return np.array([result.mean_gain for result in simulate_realizations(scenario, scheduler, runs)])
