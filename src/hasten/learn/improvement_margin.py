"""How much better than Greedy's an option has to be before a policy takes it.

Where little can be gained over Greedy, errors of learned values cost more than they bring. Where that is depends most
on the number of streams and on the deadline. So once a policy is trained, leads are tried on runs that neither training
nor validation sees, for the fewest, a middle and the largest number of streams, at deadlines all over the domain. Where
leads differ little on average, the smaller one still loses more where Greedy is hardest to beat; so of leads nearly as
good as the best the largest is taken.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, FloatArray, IntArray, View
from hasten.core.scenario import Scenario
from hasten.features.afterstates import put_greedy_ahead
from hasten.learn.collect import Acting, MakeSight, Mask, Observation, Values
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.interruption import check_interrupt
from hasten.learn.validation import TASKS
from hasten.policies.policy import Leads
from hasten.schedulers.greedy import Greedy
from hasten.sim import simulate_realizations

SEED = 888_000
DEADLINES = 5
BATCHES, RUNS = 8, 8
"""Of each number of streams and deadline; edge times differ from batch to batch, all else from run to run."""
NEARLY = 0.001
"""Leads are nearly as good as the best if they cost at most this share of what Greedy gains."""


USUAL = 0.02
"""The lead where none could be chosen: what is chosen most often."""


def usual_leads(tried: tuple[float, ...]) -> Leads | None:
    """The usual lead everywhere; None where leads are not tried."""
    return Leads(streams=(1,), deadline_ms=(1.0,), lead=((USUAL,),)) if len(tried) > 1 else None


def choose_leads(
    scenario: Scenario, domain: Domain, sight: MakeSight, values: Values, tried: tuple[float, ...]
) -> Leads | None:
    """The largest of the ``tried`` leads that is nearly as good as the best, for each number of streams and deadline.

    Args:
        scenario: what the domain is around.
        domain: what the policy is for.
        sight: what it sees.
        values: its action values.
        tried: leads, ascending; if there is but one there are none.
    """
    if len(tried) < 2:
        return None
    counts = domain.few_middle_many(scenario)
    factors = np.unique(np.geomspace(*domain.deadline, DEADLINES))
    chosen = [
        [
            _best(_batches(scenario, replace(domain, deadline=(factor, factor)), count, place), sight, values, tried)
            for place, factor in enumerate(factors.tolist())
        ]
        for count in counts
    ]
    deadline_ms = factors * np.exp(np.log(scenario.deadlines_ms).mean())  # those of a stream with a middle deadline
    return Leads(streams=tuple(counts), deadline_ms=tuple(deadline_ms.tolist()), lead=tuple(map(tuple, chosen)))


def _batches(scenario: Scenario, domain: Domain, streams: int, place: int) -> list[Runs]:
    rng = np.random.default_rng([SEED, streams, place])
    return [draw_runs(scenario, domain, rng, RUNS, TASKS, streams) for _ in range(BATCHES)]


def _best(batches: list[Runs], sight: MakeSight, values: Values, tried: tuple[float, ...]) -> float:
    """The largest lead whose mean gain in all runs is nearly that of the best."""
    greedy = np.concatenate([_gains(batch, 1, Greedy())[0] for batch in batches]).mean()
    acting = [_gains(batch, len(tried), Acting(_Ahead(values, tried), sight)) for batch in batches]
    gain = np.concatenate(acting, axis=1).mean(axis=1)
    return tried[int(np.flatnonzero(gain >= gain.max() - NEARLY * greedy)[-1])]


def _gains(batch: Runs, times: int, scheduler: Greedy | Acting) -> FloatArray:
    """(times, R): mean gains of the runs of a batch, all of them simulated so many times."""
    check_interrupt()
    results = simulate_realizations(batch.scenario, scheduler, [*batch.realizations] * times)
    return np.array([result.mean_gain for result in results]).reshape(times, -1)


class _Ahead:
    """Follows action values, with Greedy's option ahead by one lead in the first runs, by another in the next."""

    clairvoyant = False
    teaches = False

    def __init__(self, values: Values, leads: tuple[float, ...]) -> None:
        self._values, self._leads = values, np.array(leads)

    def reset(self, context: Context, column: IntArray) -> None:
        """Keep what actions mean, and give each run its lead."""
        self._column = column
        self._lead: NDArray[np.float64] = np.repeat(self._leads, context.batch // len(self._leads))

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """The best options."""
        values = self._values(observation)
        put_greedy_ahead(values, observation, self._lead[view.row])
        option: IntArray = self._column[view.stream, np.where(mask, values, -np.inf).argmax(axis=1)]
        return option
