"""The validation set: runs that no training sees, the same for every policy, with two marks to measure it by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
    leads: tuple[tuple[int, float], ...] = ()
    """By how much another option had to be better than Greedy's to be taken, by the number of streams."""

    @property
    def merit(self) -> float:
        """What the policy to keep is chosen by: the share, less what it falls short of Greedy anywhere."""
        return self.share - self.short


class Validation:
    """Fixed runs of the fewest, a middle and the largest number of streams of the domain."""

    def __init__(
        self, scenario: Scenario, domain: Domain, sight: MakeSight, runs: int = RUNS, tasks: int = TASKS
    ) -> None:
        """``sight`` is what the policies see."""
        low, high = domain.streams_of(scenario)
        self._marks = []
        for streams in sorted({low, (low + high) // 2, high}):
            rng = np.random.default_rng([SEED, streams])
            batches = [
                draw_runs(scenario, part, rng, runs, tasks, streams)
                for part in (domain.at_its_middle(), *(domain.of_deadlines(i, BATCHES - 1) for i in range(BATCHES - 1)))
            ]
            self._marks.append(_Mark(streams, batches, sight))

    def score(self, values: Values) -> Score:
        """Judge the policy that follows these action values."""
        return self._score([mark.play(values) for mark in self._marks])

    def score_with_leads(self, values: Mapping[float, Values]) -> Score:
        """Judge a policy with the lead that is best for each number of streams, the smallest if several are.

        ``values`` are its action values for each lead, which is part of them already.
        """
        played, leads = [], []
        for mark in self._marks:
            found = {lead: mark.play(values[lead]) for lead in sorted(values)}
            best = max(found, key=lambda lead: mark.merit(found[lead]))
            played.append(found[best])
            leads.append((mark.streams, best))
        return replace(self._score(played), leads=tuple(leads))

    def _score(self, played: Sequence[_Played]) -> Score:
        marks, both = self._marks, list(zip(self._marks, played, strict=True))
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

    def __init__(self, streams: int, batches: Sequence[Runs], sight: MakeSight) -> None:
        self.streams = streams
        self._batches, self._sight = batches, sight
        self.greedy = self._played(make_scheduler("greedy") for _ in batches)
        plans = (Acting(Planner(batch.realizations), action_sight) for batch in batches)
        self.planned = self._played(plans).gain
        self._by_load = np.array_split(np.argsort(-self.greedy.gain), THIRDS)
        self._by_batch = np.array_split(np.arange(len(self.greedy.gain)), len(batches))

    def play(self, values: Values) -> _Played:
        """Let the policy that follows these action values decide all runs."""
        return self._played(Acting(Greedily(values), self._sight) for _ in self._batches)

    def _played(self, schedulers: Iterable[Scheduler]) -> _Played:
        played = [_play(batch, scheduler) for batch, scheduler in zip(self._batches, schedulers, strict=True)]
        return _Played(np.concatenate([p.gain for p in played]), sum((p.taken for p in played), Counter()))

    def worst(self, gain: FloatArray) -> float:
        """As :attr:`Score.worst`, of gains (R,)."""
        return min(float(gain[i].mean() / max(self.greedy.gain[i].mean(), LEAST_GAIN)) for i in self._by_load)

    def short(self, gain: FloatArray) -> float:
        """As :attr:`Score.short`, of gains (R,)."""
        found = [0.0]
        for i in self._by_load + self._by_batch:
            missing = self.greedy.gain[i] - gain[i]
            beyond = missing.mean() - missing.std() / np.sqrt(len(i))
            found.append(float(beyond / max(self.greedy.gain[i].mean(), LEAST_GAIN)))
        return max(found)

    def merit(self, played: _Played) -> float:
        """As :attr:`Score.merit`."""
        return float(np.mean(played.gain / np.maximum(self.planned, LEAST_GAIN))) - self.short(played.gain)


class _Played(NamedTuple):
    """What a scheduler did."""

    gain: FloatArray
    """(R,): mean gain of each run."""
    taken: Counter[tuple[int, int]]
    """How often each (exit, partition) was decided."""


def score_of(data: dict[str, Any]) -> Score:
    """A score that was written as JSON."""
    return Score(**data | {"leads": tuple((int(streams), float(lead)) for streams, lead in data["leads"])})


def _play(batch: Runs, scheduler: Scheduler) -> _Played:
    results = simulate_realizations(batch.scenario, scheduler, batch.realizations)
    taken = Counter(tuple(pair) for result in results for pair in result.decisions.tolist())
    return _Played(np.array([result.mean_gain for result in results]), taken)


def _commonest(taken: list[Counter[tuple[int, int]]]) -> float:
    """Share of the commonest decision."""
    total = sum(taken, Counter())
    return max(total.values(), default=0) / max(total.total(), 1)
