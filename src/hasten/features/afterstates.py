"""What a decision leaves behind: every resource's backlog after each option, and the situation they are left in.

A scheduler that values these instead of its actions learns from every action about all others: what an option costs
later tasks depends on the backlogs it leaves, whichever option it was. The observation below holds what is needed
for that, in float32, times as shares of the deciding stream's deadline. S is ``SITUATION``, J the number of options;
the last of the J+1 entries stands for dropping the task. In order:

======== ============================================================================================
0, 1     backlogs of the other streams' devices: mean and largest
2, 3     uplink rate and its moving average, as in :mod:`hasten.features.observation`
4        deadline as a share of the longest deadline of all streams
5, 6     mean gap between the stream's arrivals, over about the last 8 and the last 64 of them
7, 8     the same for arrivals of all streams
9, 10    longest device time and longest edge time of any option
11       mean deviation of feature 2 from feature 3, as a share of their sum: 0 on a constant link
12       mean deviation of the stream's gaps from their long mean, as a share of it: 0.74 for Poisson arrivals
13, 14   in ready order, backlogs before the decision: of the stream's own device and of its uplink
15       the same of the edge worker that is free first
S...     J+1 predicted gains (of late options as such; the last is that of dropping)
then     J+1 predicted latencies (2 for dropping)
then     J+1 backlogs of the stream's own device after each option, then as many of its uplink, of the edge's
         first free worker and of the mean over its workers
======== ============================================================================================

Where what is there first is served first, a backlog may end in a long wait for one tensor, in which others are served;
only backlogs before and after then tell what the option itself takes. In grant order those before are left at 0.

Gaps and longest times ``t`` are given as ``t / (t + deadline)``, latencies, backlogs and deviations are cut off at 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.options import OptionTable
from hasten.core.timing import half_way, stage_ends
from hasten.features.observation import (
    AVERAGE_WEIGHT,
    CLIP,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
    others_wait_ms,
)

SITUATION = 16
WAITS = (0, 1, 13, 14, 15)
"""Those of the situation that are backlogs: of other devices, then before the decision."""
KINDS = 4
"""Backlogs per option: own device, uplink, first and mean worker."""
GAIN_FIRST = np.float32(1e4)
"""Weight of a gain against a latency as a share of the deadline, which shall only tell equal gains apart."""
LONG_WEIGHT = 1.0 / 64.0
"""Weight of the newest gap in the long average, once there were so many; before, all count alike."""

SWING_WEIGHT = 1.0 / 16.0
"""Weight of the newest deviation of the rate in their mean."""
NO_RATE = 1e-9
"""Added to shares that may both be zero."""
POISSON_DEVIATION = 2.0 / np.e
"""Mean deviation of Poisson arrivals' gaps, as a share of their mean: what is taken for true until more is known."""


@dataclass(frozen=True)
class Left:
    """Backlogs in ms after each option of B decisions."""

    device_ms: FloatArray
    """(B, J+1)"""
    uplink_ms: FloatArray
    """(B, J+1)"""
    edge_ms: FloatArray
    """(B, J+1, workers), ascending."""
    latency_ms: FloatArray
    """(B, J): of the task itself."""


def observation_size(options: int) -> int:
    """Length F of an observation of J options."""
    return SITUATION + (2 + KINDS) * (options + 1)


def backlogs_left(context: Context, view: View, options: OptionTable) -> Left:
    """By the timing law, at the visible backlogs and rate."""
    stream = slice(None) if options.streams == 1 else view.stream
    payload_bits = options.payload_bits[stream]
    device_wait_ms, uplink_wait_ms = view.device_wait_ms[:, None], view.uplink_wait_ms[:, None]
    rate = np.maximum(view.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)[:, None]
    device_end, sent, edge_end = stage_ends(
        device_wait_ms,
        uplink_wait_ms,
        view.edge_wait_ms[:, :1],
        options.device_ms[stream],
        payload_bits,
        options.edge_ms[stream],
        rate,
        context.rtt_ms,
    )
    offloads = payload_bits > 0
    first = np.where(offloads, edge_end, view.edge_wait_ms[:, :1])
    edge_ms = first[:, :, None]
    if context.workers > 1:
        rest = np.broadcast_to(view.edge_wait_ms[:, None, 1:], (*first.shape, view.edge_wait_ms.shape[1] - 1))
        edge_ms = np.sort(np.concatenate([edge_ms, rest], axis=2), axis=2)
    return Left(
        device_ms=np.concatenate([device_end, device_wait_ms], axis=1),
        uplink_ms=np.concatenate([np.where(offloads, sent, uplink_wait_ms), uplink_wait_ms], axis=1),
        edge_ms=np.concatenate([edge_ms, view.edge_wait_ms[:, None, :]], axis=1),
        latency_ms=np.where(offloads, half_way(edge_end, context.rtt_ms), device_end),
    )


class BacklogFeatures:
    """Computes observations and masks from the views of one run, decision by decision."""

    def __init__(self, context: Context, options: OptionTable) -> None:
        self._context = context
        self._options = options
        self._limit_ms = useful_limit_ms(context)
        self._deadline_rate = deadline_rates(options, context.deadline_ms)
        self._share = context.deadline_ms / context.deadline_ms.max()
        self._longest = longest_shares(options, context.deadline_ms)
        rows, streams = context.batch, len(context.deadline_ms)
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        self._own = _Gaps(np.tile(gaps_ms, (rows, 1)))
        self._any = _Gaps(np.full((rows, 1), any_gap_ms))
        self._rate, self._swing = np.full((rows, streams), np.nan), np.zeros((rows, streams))

    @property
    def size(self) -> int:
        """Length F of an observation."""
        return observation_size(int(self._options.exit.shape[1]))

    def observe(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.int8], Left]:
        """Observations (B, F), masks (B, J+1) and what they were made of; call once for each view.

        The mask allows what is predicted to be useful, and always dropping.
        """
        row, stream = view.row, view.stream
        deadline_ms = self._context.deadline_ms[stream]
        situation = np.zeros((len(row), SITUATION))
        share = view.rate_bits_per_ms / (view.rate_bits_per_ms + self._deadline_rate[stream])
        average = self._rate[row, stream]
        average = np.where(np.isnan(average), share, moving_average(average, share))
        self._rate[row, stream] = average
        swing = moving_swing(self._swing[row, stream], share, average)
        self._swing[row, stream] = swing
        situation[:, 2], situation[:, 3] = share, average
        situation[:, 4] = self._share[stream]
        for column, gaps, of in ((5, self._own, stream), (7, self._any, np.zeros_like(stream))):
            for offset, gap_ms in enumerate(gaps.after(row, of, view.now_ms)):
                situation[:, column + offset] = gap_ms / (gap_ms + deadline_ms)
        situation[:, 9:11] = self._longest[stream]
        situation[:, 11], situation[:, 12] = swing, np.minimum(self._own.uneven(row, stream), CLIP)
        return self._complete(view, situation)

    def imagine(self, view: View, seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8], Left]:
        """The same had the backlogs been those of ``view`` at the moment of observation ``seen``; remembers nothing."""
        return self._complete(view, seen[:, :SITUATION].astype(np.float64))

    def _complete(self, view: View, situation: FloatArray) -> tuple[NDArray[np.float32], NDArray[np.int8], Left]:
        """Fill in what depends on backlogs."""
        context, options = self._context, self._options
        left = backlogs_left(context, view, options)
        deadline_ms = context.deadline_ms[view.stream][:, None]
        per_deadline = 1.0 / deadline_ms
        before_ms = (view.device_wait_ms, view.uplink_wait_ms, view.edge_wait_ms[:, 0]) if context.ready_order else ()
        for column, wait_ms in zip(WAITS, (*others_wait_ms(view), *before_ms), strict=False):
            situation[:, column] = np.minimum(wait_ms * per_deadline[:, 0], CLIP)
        worth = options.worth[slice(None) if options.streams == 1 else view.stream]
        gain = task_gain(worth, left.latency_ms, deadline_ms, *context.gain_terms)
        dropped = np.full((len(situation), 1), context.gain_terms.late_gain)
        never = np.full_like(dropped, np.inf)
        first_ms = left.edge_ms[:, :, 0]
        times_ms = (
            np.concatenate([left.latency_ms, never], axis=1),
            left.device_ms,
            left.uplink_ms,
            first_ms,
            first_ms if context.workers == 1 else left.edge_ms.mean(axis=2),
        )
        actions = left.device_ms.shape[1]
        found = np.empty((len(situation), SITUATION + (2 + KINDS) * actions), dtype=np.float32)
        found[:, :SITUATION] = situation
        found[:, SITUATION : SITUATION + actions] = gain_feature(np.concatenate([gain, dropped], axis=1))
        for kind, time_ms in enumerate(times_ms, start=1):
            share = time_ms * per_deadline
            begin = SITUATION + kind * actions
            np.minimum(share, CLIP, out=found[:, begin : begin + actions], casting="same_kind")
        useful = left.latency_ms <= self._limit_ms[view.stream][:, None]
        mask = np.concatenate([useful, np.ones_like(useful[:, :1])], axis=1).astype(np.int8)
        return found, mask, left


def gains_of(observation: NDArray[np.float32], actions: int) -> NDArray[np.float32]:
    """The predicted gains (..., J+1) in observations (..., F)."""
    return observation[..., SITUATION : SITUATION + actions]


def greedy_action(observation: NDArray[np.float32], actions: int) -> IntArray:
    """(B,): what Greedy would do: the largest gain, of equal ones the earliest; never dropping."""
    latency = observation[:, SITUATION + actions : SITUATION + 2 * actions - 1]
    return np.asarray((GAIN_FIRST * gains_of(observation, actions)[:, :-1] - latency).argmax(axis=1))


def put_greedy_ahead(values: NDArray[np.float32], observation: NDArray[np.float32], lead: FloatArray) -> None:
    """Raise Greedy's option by ``lead`` (B,) among action values (B, J+1) of observations (B, F)."""
    if lead.any():
        values[np.arange(len(values)), greedy_action(observation, values.shape[1])] += lead.astype(np.float32)


def longest_shares(options: OptionTable, deadline_ms: FloatArray) -> FloatArray:
    """(M, 2): each stream's longest device and edge time of any option as ``t / (t + deadline)``."""
    times_ms = [np.where(np.isfinite(t), t, 0.0).max(axis=1) for t in (options.device_ms, options.edge_ms)]
    return np.stack([t / (t + deadline_ms) for t in times_ms], axis=1)


class _Gaps:
    """Mean gaps between arrivals, each of K kinds in each of R rows; ``nominal_ms`` (R, K) until some are known."""

    def __init__(self, nominal_ms: FloatArray) -> None:
        self._arrival_ms, self._short_ms, self._long_ms = -nominal_ms, nominal_ms.copy(), nominal_ms.copy()
        self._weight = np.full(nominal_ms.shape, AVERAGE_WEIGHT)
        self._uneven = np.full(nominal_ms.shape, POISSON_DEVIATION)

    def after(self, row: IntArray, kind: IntArray, now_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Short and long average (B,) in ms after an arrival now; rows differ."""
        at = row, kind
        gap_ms = now_ms - self._arrival_ms[at]
        self._arrival_ms[at] = now_ms
        self._short_ms[at] = moving_average(self._short_ms[at], gap_ms)
        weight = self._weight[at]
        self._long_ms[at] += weight * (gap_ms - self._long_ms[at])
        self._uneven[at] += weight * (np.abs(gap_ms / self._long_ms[at] - 1.0) - self._uneven[at])
        self._weight[at] = next_weight(weight)
        return self._short_ms[at], self._long_ms[at]

    def uneven(self, row: IntArray, kind: IntArray) -> FloatArray:
        """(B,): mean deviation of gaps from their long average, as a share of it."""
        return self._uneven[row, kind]


def moving_swing(swing: Any, share: Any, average: Any) -> Any:
    """Mean deviation of a rate, given as a share, from its average after one more value of both; from 0 to 1."""
    return swing + SWING_WEIGHT * (abs(share - average) / (share + average + NO_RATE) - swing)


def next_weight(weight: Any) -> Any:
    """1/8, 1/9, ... down to ``LONG_WEIGHT``: as if eight gaps of the nominal length had come before the first."""
    return np.maximum(weight / (1.0 + weight), LONG_WEIGHT)
