"""The validation set: runs that no training sees, the same for every policy, with two marks to measure it by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Scheduler
from hasten.core.scenario import Scenario
from hasten.learn.collect import Acting, Greedily, MakeSight, Values, action_sight
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.planner import Planner
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations

FloatArray = NDArray[np.float64]

SEED = 777_000
RUNS = 24
TASKS = 300
COLLAPSED_SHARE = 0.99
"""A policy that takes one action more often than this has collapsed, unless Greedy does so too."""


@dataclass(frozen=True)
class Score:
    """How a policy did on the validation set: means over its runs."""

    gain: float
    """Gain per arriving task."""
    greedy: float
    """That of Greedy on the same runs."""
    planned: float
    """That of a plan that knows all arrivals."""
    share: float
    """Mean over runs of gain as a share of the plan's."""
    worst: float
    """Least gain over Greedy's, of the third of the runs with least load to the third with most."""
    commonest: float
    """Share of the commonest decision."""
    collapsed: bool
    lead: float = 0.0
    """By how much another option had to be better than Greedy's to be taken."""

    @property
    def merit(self) -> float:
        """What the policy to keep is chosen by: the share, less what it falls short of Greedy at any load."""
        return self.share - max(1.0 - self.worst, 0.0)


class Validation:
    """Fixed runs of the fewest, a middle and the largest number of streams of the domain."""

    def __init__(
        self, scenario: Scenario, domain: Domain, sight: MakeSight, runs: int = RUNS, tasks: int = TASKS
    ) -> None:
        """``sight`` is what the policies see."""
        self._sight = sight
        low, high = domain.streams_of(scenario)
        self._batches = [
            draw_runs(scenario, domain, np.random.default_rng([SEED, streams]), runs, tasks, streams)
            for streams in sorted({low, (low + high) // 2, high})
        ]
        greedy = [_play(batch, make_scheduler("greedy")) for batch in self._batches]
        self._greedy = np.concatenate([gain for gain, _ in greedy])
        self._greedy_commonest = _commonest([action for _, action in greedy])
        plans = [Acting(Planner(batch.realizations), action_sight) for batch in self._batches]
        self._planned = np.concatenate([_play(*pair)[0] for pair in zip(self._batches, plans, strict=True)])

    def score(self, values: Values, lead: float = 0.0) -> Score:
        """Judge the policy that follows these action values; ``lead`` is part of them already."""
        played = [_play(batch, Acting(Greedily(values), self._sight)) for batch in self._batches]
        gain = np.concatenate([gain for gain, _ in played])
        commonest = _commonest([action for _, action in played])
        by_load = np.array_split(np.argsort(-self._greedy), 3)
        return Score(
            gain=float(gain.mean()),
            greedy=float(self._greedy.mean()),
            planned=float(self._planned.mean()),
            share=float(np.mean(gain / np.maximum(self._planned, 1e-9))),
            worst=min(float(gain[i].mean() / max(self._greedy[i].mean(), 1e-9)) for i in by_load),
            commonest=commonest,
            collapsed=commonest > COLLAPSED_SHARE > self._greedy_commonest,
            lead=lead,
        )


def _play(batch: Runs, scheduler: Scheduler) -> tuple[FloatArray, Counter[tuple[int, int]]]:
    """Mean gain of each run (R,), and how often each (exit, partition) was decided."""
    results = simulate_realizations(batch.scenario, scheduler, batch.realizations)
    taken = Counter(tuple(pair) for result in results for pair in result.decisions.tolist())
    return np.array([result.mean_gain for result in results]), taken


def _commonest(taken: list[Counter[tuple[int, int]]]) -> float:
    """Share of the commonest decision."""
    total = sum(taken, Counter())
    return max(total.values(), default=0) / max(total.total(), 1)
