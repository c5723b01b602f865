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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import BoolArray, Clairvoyant, Context, Decision, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.options import DROP, OptionTable
from hasten.core.rates import RateTrace
from hasten.core.timing import offload_ends
from hasten.features.afterstates import AfterstateFeatures, Afterstates, afterstates_of, gains_of
from hasten.features.layout import CONTEXT_FEATURES
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
    """(T, 2, CONTEXT_FEATURES)"""
    afterstate: NDArray[np.float32]
    """(T, 2, BACKLOGS): the backlogs that the chosen and the alternative option leave."""
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


class PairRecorder(Clairvoyant):
    """An actor as a scheduler that keeps what it saw, did and could have done in up to ``tasks`` decisions a run."""

    name = "actor"

    def __init__(
        self, actor: Actor, tasks: int, rng: np.random.Generator, rates: Sequence[Sequence[RateTrace]] = ()
    ) -> None:
        """``rates`` are those of each row's links; without them transfers are thought to go on at the rate in force."""
        self._actor, self._tasks, self._rng, self._rates = actor, tasks, rng, rates
        self.clairvoyant = actor.clairvoyant

    def reset(self, context: Context) -> None:
        """Prepare features and actor, and make room."""
        self.prepare(context, *context.options.undominated())

    def prepare(self, context: Context, table: OptionTable, column: IntArray) -> None:
        """As :meth:`reset`, for the options of ``table``, which are those ``column`` (M, J) of the context's."""
        self._features = AfterstateFeatures(context, table)
        column = with_dropping(column)
        self._action_of = action_of_option(context, column)
        self._actor.reset(context, column)
        rows, actions = context.batch, column.shape[1]
        shape = rows, self._tasks
        self._done = np.zeros(rows, dtype=np.int64)
        self._before = _Before(context, table, self._rates)
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
            context=np.repeat(seen[:, None, :CONTEXT_FEATURES], 2, axis=1),
            afterstate=afterstates_after(seen, action),
            shortfall=shortfall,
            between=np.zeros(len(now), dtype=np.float32),
            discount=np.ones(len(now), dtype=np.float32),
            next_obs=self.seen[row, now + 1],
            next_mask=self.mask[row, now + 1],
        )
        return found, self.expert[row, now]


def afterstates_after(seen: NDArray[np.float32], action: IntArray) -> NDArray[np.float32]:
    """(B, K, BACKLOGS): the backlogs that actions (B, K) leave, from observations (B, F)."""
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
    recorder = PairRecorder(actor, max(run.tasks for run in runs.realizations), rng, rates)
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
    features = AfterstateFeatures(context, table)
    return lambda view: features.observe(view)[:2]


def _sent_on(start_ms: float, payload_bits: float, trace: RateTrace, now_ms: float) -> float:
    """When a transfer at the rates of a link ends; times from now on."""
    return trace.transfer_end(now_ms + start_ms, payload_bits) - now_ms


class _Before:
    """What the other option of each row's last decision would have left."""

    def __init__(self, context: Context, table: OptionTable, rates: Sequence[Sequence[RateTrace]]) -> None:
        rows = context.batch
        self._context, self._table = context, table
        self._rates = rates if any(len(trace.from_ms) > 1 for links in rates for trace in links) else ()
        self._shared, self._limit_ms = context.shared_uplink, useful_limit_ms(context)
        self._stream = np.full(rows, -1)
        self._now_ms = np.zeros(rows)
        self._device_ms, self._uplink_ms = np.zeros(rows), np.zeros(rows)
        self._edge_ms = np.zeros((rows, context.workers))

    def keep(self, view: View, after: Afterstates, other: IntArray) -> None:
        """Remember these decisions."""
        row, at = view.row, np.arange(len(view.row))
        self._stream[row], self._now_ms[row] = view.stream, view.now_ms
        self._device_ms[row] = after.device_ms[at, other]
        self._uplink_ms[row] = after.uplink_ms[at, other]
        self._edge_ms[row] = after.edge_ms[at, other]
        if self._rates:
            self._transfer(view, other)

    def _transfer(self, view: View, other: IntArray) -> None:
        """Let what was to be sent go at the rates to come, where they vary; what would come too late uses nothing."""
        rtt_ms, options = self._context.rtt_ms, self._table.exit.shape[1]
        for i, (row, stream, option) in enumerate(zip(view.row, view.stream, other, strict=True)):
            trace = self._rates[row][0 if self._shared else stream]
            bits = self._table.payload_bits[stream, option] if option < options else 0.0
            if bits == 0 or len(trace.from_ms) == 1:
                continue
            now_ms, workers_ms = view.now_ms[i], view.edge_wait_ms[i].copy()
            waits_ms = self._device_ms[row], view.uplink_wait_ms[i], workers_ms[0]
            costs = bits, self._table.edge_ms[stream, option], rtt_ms
            sent_ms, end_ms, answer_ms = offload_ends(*waits_ms, *costs, _sent_on, trace, now_ms)
            if answer_ms <= self._limit_ms[stream]:
                workers_ms[0] = end_ms
                self._uplink_ms[row], self._edge_ms[row] = sent_ms, np.sort(workers_ms)
            else:
                self._device_ms[row], self._uplink_ms[row] = view.device_wait_ms[i], view.uplink_wait_ms[i]
                self._edge_ms[row] = workers_ms

    def otherwise(self, view: View) -> View:
        """The view had the other option been taken before; the same where nothing was decided yet."""
        row, at = view.row, np.arange(len(view.row))
        stream, gap_ms = self._stream[row], view.now_ms - self._now_ms[row]
        device_ms = np.maximum(self._device_ms[row] - gap_ms, 0.0)
        uplink_ms = np.maximum(self._uplink_ms[row] - gap_ms, 0.0)
        edge_ms = np.maximum(self._edge_ms[row] - gap_ms[:, None], 0.0)
        some, own = stream >= 0, stream == view.stream
        others_ms = view.others_wait_ms.copy()
        others_ms[at, stream] = np.where(some, device_ms, others_ms[at, stream])
        return replace(
            view,
            device_wait_ms=np.where(own, device_ms, view.device_wait_ms),
            uplink_wait_ms=np.where(some & (own | self._shared), uplink_ms, view.uplink_wait_ms),
            edge_wait_ms=np.where(some[:, None], edge_ms, view.edge_wait_ms),
            others_wait_ms=others_ms,
        )
