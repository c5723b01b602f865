"""The validation set: runs that no training sees, the same for every policy, with two marks to measure it by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Scheduler
from hasten.core.scenario import Scenario
from hasten.learn.collect import Acting, EpsilonGreedy, MakeObservationFunction, Values, action_observation
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.interruption import check_interrupt
from hasten.learn.planner import Planner
from hasten.schedulers.greedy import Greedy
from hasten.sim import simulate_realizations

FloatArray = NDArray[np.float64]

SEED = 777_000
BATCHES = 4
"""For each number of streams: one of the scenario's own deadlines and edge times, then, of other edge times, short,
middle and long deadlines."""
RUNS = 12
"""Of each batch."""
TASKS = 300
THIRDS = 3
LEAST_GAIN = 1e-9
"""Ratios are to no less than this."""
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
    """Least gain over Greedy's: for any number of streams, of the third of the runs with least load to that with most.
    """
    short: float
    """The most that any of these thirds, or runs of one deadline, fall short of Greedy by more than a standard error,
    as a share."""
    commonest: float
    """Share of the commonest decision."""
    collapsed: bool

    @property
    def over_greedy(self) -> float:
        """By how much more than Greedy it gained, as a share of that."""
        return (self.gain - self.greedy) / max(abs(self.greedy), LEAST_GAIN)

    @property
    def selection_score(self) -> float:
        """What the policy to keep is chosen by: the share, less what it falls short of Greedy anywhere."""
        return self.share - self.short


class Validation:
    """Fixed runs of the fewest, a middle and the largest number of streams of the domain."""

    def __init__(
        self,
        scenario: Scenario,
        domain: Domain,
        observation_function: MakeObservationFunction,
        runs: int = RUNS,
        tasks: int = TASKS,
    ) -> None:
        """``observation_function`` is what the policies see."""
        self._observe_as = observation_function
        self._marks = []
        for streams in domain.few_middle_many(scenario):
            rng = np.random.default_rng([SEED, streams])
            batches = [
                draw_runs(scenario, part, rng, runs, tasks, streams)
                for part in (domain.at_its_middle(), *(domain.of_deadlines(i, BATCHES - 1) for i in range(BATCHES - 1)))
            ]
            self._marks.append(_Mark(batches))

    def score(self, values: Values) -> Score:
        """Judge the policy that follows these action values."""
        return self.judge(lambda: Acting(EpsilonGreedy(values), self._observe_as))

    def judge(self, make: Callable[[], Scheduler]) -> Score:
        """Judge a scheduler, made anew for each batch of runs."""
        marks, played = self._marks, [mark.play(make) for mark in self._marks]
        both = list(zip(marks, played, strict=True))
        gain, greedy, planned = (
            np.concatenate(parts)
            for parts in ([p.gain for p in played], [m.greedy.gain for m in marks], [m.planned for m in marks])
        )
        commonest = _commonest([p.taken for p in played])
        return Score(
            gain=float(gain.mean()),
            greedy=float(greedy.mean()),
            planned=float(planned.mean()),
            share=float(np.mean(gain / np.maximum(planned, LEAST_GAIN))),
            worst=min(mark.worst(p.gain) for mark, p in both),
            short=max(mark.short(p.gain) for mark, p in both),
            commonest=commonest,
            collapsed=commonest > COLLAPSED_SHARE > _commonest([mark.greedy.taken for mark in marks]),
        )


class _Mark:
    """Runs of one number of streams, and what Greedy and a plan gain on them."""

    def __init__(self, batches: Sequence[Runs]) -> None:
        self._batches = batches
        self.greedy = self.play(Greedy)
        plans = (Acting(Planner(batch), action_observation) for batch in batches)
        self.planned = self._played(plans).gain
        self._by_load = by_load(self.greedy.gain)
        self._by_batch = np.array_split(np.arange(len(self.greedy.gain)), len(batches))

    def play(self, make: Callable[[], Scheduler]) -> _Played:
        """Let a scheduler decide all runs."""
        return self._played(make() for _ in self._batches)

    def _played(self, schedulers: Iterable[Scheduler]) -> _Played:
        played = [_play(batch, scheduler) for batch, scheduler in zip(self._batches, schedulers, strict=True)]
        return _Played(np.concatenate([p.gain for p in played]), sum((p.taken for p in played), Counter()))

    def worst(self, gain: FloatArray) -> float:
        """As :attr:`Score.worst`, of gains (R,)."""
        return min(float(gain[i].mean() / max(self.greedy.gain[i].mean(), LEAST_GAIN)) for i in self._by_load)

    def short(self, gain: FloatArray) -> float:
        """As :attr:`Score.short`, of gains (R,)."""
        return shortfall(gain, self.greedy.gain, self._by_load + self._by_batch)


class _Played(NamedTuple):
    """What a scheduler did."""

    gain: FloatArray
    """(R,): mean gain of each run."""
    taken: Counter[tuple[int, int]]
    """How often each (exit, partition) was decided."""


def by_load(greedy: FloatArray) -> list[NDArray[np.intp]]:
    """Runs in thirds, from those of least load, in which Greedy gains most, to those of most."""
    return np.array_split(np.argsort(-greedy), THIRDS)


def shortfall(gain: FloatArray, greedy: FloatArray, groups: Iterable[NDArray[np.intp]]) -> float:
    """The most, as a share, that gains (R,) of any group fall short of Greedy's by more than a standard error."""
    found = [0.0]
    for i in groups:
        missing = greedy[i] - gain[i]
        beyond = missing.mean() - missing.std() / np.sqrt(len(i))
        found.append(float(beyond / max(greedy[i].mean(), LEAST_GAIN)))
    return max(found)


def _play(batch: Runs, scheduler: Scheduler) -> _Played:
    check_interrupt()
    results = simulate_realizations(batch.scenario, scheduler, batch.realizations)
    taken = Counter(tuple(pair) for result in results for pair in result.decisions.tolist())
    return _Played(np.array([result.mean_gain for result in results]), taken)


def _commonest(taken: list[Counter[tuple[int, int]]]) -> float:
    """Share of the commonest decision."""
    total = sum(taken, Counter())
    return max(total.values(), default=0) / max(total.total(), 1)
