"""Historical experience initialization: what the replay memory holds before the learner has decided anything.

The paper names the technique but does not define it; here it has levels, so that an ablation can tell them apart:

* ``none``: nothing;
* ``greedy``: decisions of Greedy, which an operator's logs hold anyway;
* ``dp``: decisions of the offline dynamic program, which knows the run's future arrivals;
* ``mixed``: half and half, and a tenth of random decisions, so that what no expert does is covered too.

Experts recorded along their own trajectories show no way back from where a learner strays to. So every now and then
decisions are left to chance for a while and the expert goes on from the backlogs that this leaves. Such decisions are
in the record, but no expert's, and no example for the margin loss.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from hasten.core.decision import BoolArray, Context, FloatArray, IntArray, View, predicted_latency
from hasten.core.scenario import Scenario
from hasten.learn.collect import Actor, Collected, Mask, Observation, Record, Scheduled, UniformActor
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.planner import Planner
from hasten.learn.transitions import joined
from hasten.schedulers import make_scheduler

Init = Literal["none", "greedy", "dp", "mixed"]

RUNS_PER_BATCH = 8
TASKS_PER_RUN = 256
ASTRAY_SHARE = 0.3
"""Share of decisions left to chance."""
ASTRAY_TASKS = 4.0
"""Mean length of a stretch of them."""
SLOWEST_SHARE = 0.85
"""Share of them that take the slowest option still in time, which leaves longer backlogs than chance does."""
MOST_DECISIONS = 20
"""Simulated decisions for each row wanted after which recording ends, however few rows there are."""
SHARES: dict[Init, dict[str, float]] = {
    "none": {"random": 0.0},
    "greedy": {"greedy": 1.0},
    "dp": {"dp": 1.0},
    "mixed": {"greedy": 0.45, "dp": 0.45, "random": 0.1},
}
"""Who demonstrates how much."""


class Expert(Actor, Protocol):
    """An actor that can be passed over."""

    def skip(self, row: IntArray) -> None:
        """Somebody else decides the next task of these runs."""


class SchedulerExpert(Scheduled):
    """A scheduler without memory as an expert."""

    def skip(self, row: IntArray) -> None:
        """Nothing to remember."""


class NoiseInjected:
    """An expert whose runs are now and then left to chance for a while."""

    def __init__(self, expert: Expert, rng: np.random.Generator) -> None:
        self._expert, self._chance = expert, UniformActor(rng)
        self._rng = rng
        self.clairvoyant = expert.clairvoyant
        self.teaches: BoolArray = np.zeros(0, dtype=np.bool_)

    def reset(self, context: Context, column: IntArray) -> None:
        """Every run begins with its expert."""
        self._expert.reset(context, column)
        self._chance.reset(context, column)
        self._column = column
        self._context = context
        self._table, _ = context.options.undominated()
        self._astray = np.zeros(context.batch, dtype=np.bool_)

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """The expert's options, or random ones."""
        astray = self._astray[view.row]
        leaves = ASTRAY_SHARE / (ASTRAY_TASKS * (1.0 - ASTRAY_SHARE))
        astray = astray ^ (self._rng.random(len(astray)) < np.where(astray, 1.0 / ASTRAY_TASKS, leaves))
        self._astray[view.row] = astray
        self.teaches = ~astray
        option = np.where(
            self._rng.random(len(astray)) < SLOWEST_SHARE,
            self._column[view.stream, _slowest_action(predicted_latency(self._context, view, self._table), mask)],
            self._chance.act(view, observation, mask),
        )
        rest = np.flatnonzero(~astray)
        if len(rest):
            part = view.of(rest)
            option[rest] = self._expert.act(part, observation[rest], mask[rest])
        self._expert.skip(view.row[astray])
        return option


def _slowest_action(latency_ms: FloatArray, mask: Mask) -> IntArray:
    """(B,): the allowed option of largest predicted latency (B, J), or dropping where there is none."""
    useful = mask[:, :-1] == 1
    slowest = np.where(useful, latency_ms, -1.0).argmax(axis=1)
    return np.asarray(np.where(useful.any(axis=1), slowest, useful.shape[1]))


def demonstrate(scenario: Scenario, domain: Domain, init: Init, count: int, record: Record, seed: int) -> Collected:
    """Record experience of level ``init`` with ``count`` rows on runs drawn from the domain.

    Fewer rows where hardly any decision has anything to choose between: see ``MOST_DECISIONS``.
    """
    rng = np.random.default_rng([seed, 1])
    found: list[Collected] = []
    for teacher, share in SHARES[init].items():
        wanted = round(share * count)
        left = MOST_DECISIONS * (wanted + RUNS_PER_BATCH * TASKS_PER_RUN)
        while not found or (wanted > 0 and left > 0):
            runs = draw_runs(scenario, domain, rng, RUNS_PER_BATCH, TASKS_PER_RUN)
            found.append(record(runs, _actor(teacher, runs, rng), rng).first(wanted))
            wanted -= len(found[-1].experience)
            left -= max(sum(run.tasks for run in runs.realizations), RUNS_PER_BATCH)
    return Collected(
        joined(part.experience for part in found),
        np.concatenate([part.expert for part in found]),
        [result for part in found for result in part.results],
    )


def _actor(teacher: str, runs: Runs, rng: np.random.Generator) -> Actor:
    if teacher == "greedy":
        return NoiseInjected(SchedulerExpert(make_scheduler("greedy")), rng)
    return NoiseInjected(Planner(runs), rng) if teacher == "dp" else UniformActor(rng)
