"""The improvement margin over Greedy: how much better an option has to be before a policy takes it.

Where little can be gained over Greedy, errors of learned values cost more than they bring. Where that is depends most
on the number of streams and on the deadline. So once a policy is trained, margins are tried on runs that neither
training nor validation sees, for the fewest, a middle and the largest number of streams, at deadlines all over the
domain. Where margins differ little on average, the smaller one still loses more where Greedy is hardest to beat; so of
margins nearly as good as the best the largest is taken.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Context, FloatArray, IntArray, View
from hasten.core.scenario import Scenario
from hasten.features.afterstates import add_margin
from hasten.learn.collect import Acting, MakeObservationFunction, Mask, Observation, Values
from hasten.learn.domain import Domain, Runs, draw_runs
from hasten.learn.interruption import check_interrupt
from hasten.learn.validation import TASKS
from hasten.policies.manifest import ImprovementMargins
from hasten.schedulers.greedy import Greedy
from hasten.sim import simulate_realizations

SEED = 888_000
DEADLINES = 5
BATCHES, RUNS = 8, 8
"""Of each number of streams and deadline; edge times differ from batch to batch, all else from run to run."""
NEARLY = 0.001
"""ImprovementMargins are nearly as good as the best if they cost at most this share of what Greedy gains."""


USUAL = 0.02
"""The margin where none could be chosen: what is chosen most often."""


def usual_margins(tried: tuple[float, ...]) -> ImprovementMargins | None:
    """The usual margin everywhere; None where margins are not tried."""
    return ImprovementMargins(streams=(1,), deadline_ms=(1.0,), margin=((USUAL,),)) if len(tried) > 1 else None


def choose_margins(
    scenario: Scenario,
    domain: Domain,
    observation_function: MakeObservationFunction,
    values: Values,
    tried: tuple[float, ...],
) -> ImprovementMargins | None:
    """The largest of the ``tried`` margins that is nearly as good as the best, for each number of streams and deadline.

    Args:
        scenario: what the domain is around.
        domain: what the policy is for.
        observation_function: what it sees.
        values: its action values.
        tried: margins, ascending; if there is but one there are none.
    """
    if len(tried) < 2:
        return None
    counts = domain.few_middle_many(scenario)
    factors = np.unique(np.geomspace(*domain.deadline, DEADLINES))
    chosen = [
        [
            _best(
                _batches(scenario, replace(domain, deadline=(factor, factor)), count, place),
                observation_function,
                values,
                tried,
            )
            for place, factor in enumerate(factors.tolist())
        ]
        for count in counts
    ]
    deadline_ms = factors * np.exp(np.log(scenario.deadlines_ms).mean())  # those of a stream with a middle deadline
    return ImprovementMargins(
        streams=tuple(counts), deadline_ms=tuple(deadline_ms.tolist()), margin=tuple(map(tuple, chosen))
    )


def _batches(scenario: Scenario, domain: Domain, streams: int, place: int) -> list[Runs]:
    rng = np.random.default_rng([SEED, streams, place])
    return [draw_runs(scenario, domain, rng, RUNS, TASKS, streams) for _ in range(BATCHES)]


def _best(
    batches: list[Runs], observation_function: MakeObservationFunction, values: Values, tried: tuple[float, ...]
) -> float:
    """The largest margin whose mean gain in all runs is nearly that of the best."""
    greedy = np.concatenate([_gains(batch, 1, Greedy())[0] for batch in batches]).mean()
    acting = [_gains(batch, len(tried), Acting(_WithMargins(values, tried), observation_function)) for batch in batches]
    gain = np.concatenate(acting, axis=1).mean(axis=1)
    return tried[int(np.flatnonzero(gain >= gain.max() - NEARLY * greedy)[-1])]


def _gains(batch: Runs, times: int, scheduler: Greedy | Acting) -> FloatArray:
    """(times, R): mean gains of the runs of a batch, all of them simulated so many times."""
    check_interrupt()
    results = simulate_realizations(batch.scenario, scheduler, [*batch.realizations] * times)
    return np.array([result.mean_gain for result in results]).reshape(times, -1)


class _WithMargins:
    """Follows action values, with one margin over Greedy's option in the first runs, with another in the next."""

    clairvoyant = False
    teaches = False

    def __init__(self, values: Values, margins: tuple[float, ...]) -> None:
        self._values, self._margins = values, np.array(margins)

    def reset(self, context: Context, column: IntArray) -> None:
        """Keep what actions mean, and give each run its margin."""
        self._column = column
        self._margin: NDArray[np.float64] = np.repeat(self._margins, context.batch // len(self._margins))

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """The best options."""
        values = self._values(observation)
        add_margin(values, observation, self._margin[view.row])
        option: IntArray = self._column[view.stream, np.where(mask, values, -np.inf).argmax(axis=1)]
        return option
