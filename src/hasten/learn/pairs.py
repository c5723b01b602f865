"""Experience in pairs: what a decision led to, and what another option would have led to at the same moment.

What the other one would have led to is told by the timing law here, and simulated in
:mod:`hasten.learn.paired_rollouts`.

Arrivals and links do not depend on decisions, and what an option leaves behind is known by the timing law. So the
backlogs that the *next* decision would have met after another option can be told: what it leaves, less the time until
then. (The digital twins of arXiv 2405.17664 and the all-action targets of edgeml-dqn, arXiv 2208.00485, use the same
freedom.) The difference between the two futures has none of the noise that they share. In grant order this is exact,
on links that vary, too, if their rates are given, as those of simulated runs are; otherwise it is what a device can
predict, but for dropping, after which nothing is uncertain.

The other option is any allowed one, half of the time the likelier the larger its gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import (
    BoolArray,
    Clairvoyant,
    Context,
    Decision,
    EdgeChoosing,
    FloatArray,
    IntArray,
    View,
)
from hasten.core.options import DROP, OptionTable
from hasten.core.rates import RateTrace
from hasten.features.afterstates import afterstates_of, context_of, gains_of
from hasten.features.among_edges import afterstate_features
from hasten.learn.alternatives import Alternatives
from hasten.learn.collect import (
    Actor,
    Collected,
    ObservationFunction,
    action_of_option,
    likely_action,
    random_action,
    with_dropping,
)
from hasten.learn.domain import Runs
from hasten.learn.logs import Logged
from hasten.learn.transitions import UNKNOWN, Experience, joined
from hasten.sim import simulate_realizations

CHOSEN, ALTERNATIVE = 0, 1
LEAST_GAIN = 1e-3
"""A predicted gain of less has no shortfall."""


@dataclass(frozen=True)
class Pairs(Experience):
    """T pairs of options, the chosen one and an alternative; F features and J+1 actions as in
    :mod:`hasten.features.afterstates`.
    """

    MAY_BE_UNKNOWN = frozenset({"shortfall"})

    context: NDArray[np.float32]
    """(T, 2, S): context features."""
    afterstate: NDArray[np.float32]
    """(T, 2, backlogs): what the chosen and the alternative option leave."""
    shortfall: NDArray[np.float32]
    """(T, 2): share of its predicted gain that each did not realise; NaN where nobody knows."""
    between: NDArray[np.float32]
    """(T,): by how much other tasks, up to the next decision evaluated, gained more after the chosen option."""
    discount: NDArray[np.float32]
    """(T,): what the value of that next decision is multiplied by."""
    next_obs: NDArray[np.float32]
    """(T, 2, F): what the next decision met, and what it would have met after the alternative."""
    next_mask: NDArray[np.int8]
    """(T, 2, J+1)"""


class PairRecorder(Clairvoyant, EdgeChoosing):
    """An actor as a scheduler that keeps what it saw, did and could have done in up to ``tasks`` decisions a run."""

    name = "actor"

    def __init__(
        self,
        actor: Actor,
        tasks: int,
        rng: np.random.Generator,
        rates: Sequence[Sequence[RateTrace]] = (),
        links: IntArray | None = None,
    ) -> None:
        """``rates`` are those of each row's links; without them transfers are thought to go on at the rate in force.

        ``links`` (E, M) are each stream's to each of several edges.
        """
        self._actor, self._tasks, self._rng, self._rates, self._links = actor, tasks, rng, rates, links
        self.clairvoyant = actor.clairvoyant

    def reset(self, context: Context) -> None:
        """Prepare features and actor, and make room."""
        self.prepare(context, *context.options.undominated())

    def prepare(self, context: Context, table: OptionTable, column: IntArray) -> None:
        """As :meth:`reset`, for the options of ``table``, which are those ``column`` (M, J) of the context's."""
        self._features = afterstate_features(context, table)
        column = with_dropping(column)
        self._action_of = action_of_option(context, column)
        self._actor.reset(context, column)
        rows, actions = context.batch, column.shape[1]
        shape = rows, self._tasks
        self._done = np.zeros(rows, dtype=np.int64)
        self._before = Alternatives(context, table, self._rates, self._links)
        self.seen = np.zeros((*shape, 2, self._features.layout.size), dtype=np.float32)
        self.mask = np.zeros((*shape, 2, actions), dtype=np.int8)
        self.action = np.full((*shape, 2), UNKNOWN)
        self.expert = np.zeros(shape, dtype=np.bool_)

    def decide(self, view: View) -> Decision:
        """The actor's choice, and beside it another one."""
        row, k = view.row, self._done[view.row]
        seen, mask, after = self._features.observe(view)
        imagined, other_mask, _ = self._features.imagine(self._before.otherwise(view), seen)
        option = self._actor.act(view, seen, mask)
        action = self._action_of[view.stream, option]  # DROP (-1) is the last column
        known = (action != UNKNOWN) & (mask[np.arange(len(row)), action] != 0)
        action = np.where(known, action, mask.shape[1] - 1)
        other = another(seen, mask, action, self._rng)
        self._before.keep(view, after, other)
        self.seen[row, k, CHOSEN], self.seen[row, k, ALTERNATIVE] = seen, imagined
        self.mask[row, k, CHOSEN], self.mask[row, k, ALTERNATIVE] = mask, other_mask
        self.action[row, k, CHOSEN], self.action[row, k, ALTERNATIVE] = np.where(known, action, UNKNOWN), other
        self.expert[row, k] = self._actor.teaches
        self._done[row] += 1
        return Decision(option)

    def episode(self, row: int, gain: FloatArray) -> tuple[Pairs, BoolArray]:
        """The pairs of a row that decided as many tasks as there are gains (N,), and which (T,) an expert began.

        The last decision, whose successor nobody has seen, only serves as a successor. Decisions for an option that
        is none of the policy's are left out, and those without another option.
        """
        action = self.action[row, : max(len(gain) - 1, 0)]
        now = np.flatnonzero((action[:, CHOSEN] != UNKNOWN) & (action[:, CHOSEN] != action[:, ALTERNATIVE]))
        action, seen = action[now], self.seen[row, now, CHOSEN]
        shortfall = np.full(action.shape, np.nan, dtype=np.float32)
        shortfall[:, CHOSEN] = shortfall_of(seen, action[:, CHOSEN], gain[now])
        found = Pairs(
            context=np.repeat(context_of(seen)[:, None], 2, axis=1),
            afterstate=afterstates_after(seen, action),
            shortfall=shortfall,
            between=np.zeros(len(now), dtype=np.float32),
            discount=np.ones(len(now), dtype=np.float32),
            next_obs=self.seen[row, now + 1],
            next_mask=self.mask[row, now + 1],
        )
        return found, self.expert[row, now]


def afterstates_after(seen: NDArray[np.float32], action: IntArray) -> NDArray[np.float32]:
    """(B, K, backlogs): those that actions (B, K) leave, from observations (B, F)."""
    return np.ascontiguousarray(np.take_along_axis(afterstates_of(seen), action[:, None], axis=2).transpose(0, 2, 1))


def another(seen: NDArray[np.float32], mask: NDArray[np.int8], action: IntArray, rng: np.random.Generator) -> IntArray:
    """(B,): an allowed action other than ``action``; the same where there is none."""
    rest = mask.copy()
    rest[np.arange(len(rest)), action] = 0
    gain = np.where(rest, gains_of(seen), -np.inf)
    any_left = rest.any(axis=1)
    gain[~any_left] = 0.0
    other = np.where(rng.random(len(rest)) < 0.5, likely_action(gain, rng), random_action(rest, rng))
    return np.asarray(np.where(any_left, other, action))


def shortfall_of(seen: NDArray[np.float32], action: IntArray, gain: FloatArray) -> NDArray[np.float32]:
    """(B,): the share of its predicted gain that each action did not realise."""
    predicted = np.take_along_axis(gains_of(seen), action[:, None], axis=1)[:, 0]
    shortfall = np.where(predicted > LEAST_GAIN, 1.0 - gain / np.maximum(predicted, LEAST_GAIN), 0.0)
    return np.clip(shortfall, 0.0, 1.0).astype(np.float32)


def collect_pairs(runs: Runs, actor: Actor, rng: np.random.Generator) -> Collected:
    """Let ``actor`` decide all runs."""
    rates = [run.rates for run in runs.realizations]
    most = max(run.tasks for run in runs.realizations)
    recorder = PairRecorder(actor, most, rng, rates, runs.scenario.links)
    results = simulate_realizations(runs.scenario, recorder, runs.realizations)
    episodes = [recorder.episode(row, result.gain) for row, result in enumerate(results)]
    return Collected(
        joined(pairs for pairs, _ in episodes), np.concatenate([expert for _, expert in episodes]), results
    )


def pairs_of_log(logged: Logged, rng: np.random.Generator) -> Pairs:
    """The pairs of an episode that a real device logged."""
    episode = logged.seen
    dropping = logged.column.shape[1]
    chosen = np.where(episode.action == dropping, DROP, logged.column[0, np.minimum(episode.action, dropping - 1)])
    recorder = PairRecorder(_ScriptedActor(chosen), len(chosen), rng)
    recorder.prepare(logged.context, logged.known, logged.column)
    for view in logged.views:
        recorder.decide(view)
    recorder.action[0, episode.action == UNKNOWN, CHOSEN] = UNKNOWN
    pairs, _ = recorder.episode(0, episode.gain)
    return pairs


class _ScriptedActor:
    """Decides what it was told (N,), one after another."""

    clairvoyant = False
    teaches = False

    def __init__(self, option: IntArray) -> None:
        self._option = iter(option)

    def reset(self, context: Context, column: IntArray) -> None:
        """Nothing to prepare."""

    def act(self, view: View, observation: NDArray[np.float32], mask: NDArray[np.int8]) -> IntArray:
        """The next option."""
        return np.array([next(self._option)])


def afterstate_observation(context: Context, table: OptionTable) -> ObservationFunction:
    """Observations as :mod:`hasten.features.afterstates` describes them."""
    features = afterstate_features(context, table)
    return lambda view: features.observe(view)[:2]
