"""What a decision leaves behind: every resource's backlog after each option, and context features.

A scheduler that values these instead of its actions learns from every action about all others: what an option costs
later tasks depends on the backlogs it leaves, whichever option it was. The observation below holds what is needed
for that, in float32, times as shares of the deciding stream's deadline: context features, then for each option and, at
the end, for dropping what it gains, how long it takes and what it leaves. Which column is which is said by
:mod:`hasten.features.layout`.

Where what is there first is served first, a backlog may end in a long wait for one tensor, in which others are served;
only backlogs before and after then tell what the option itself takes. In grant order those before are left at 0.

Gaps and longest times ``t`` are given as ``t / (t + deadline)``, latencies, backlogs and deviations are cut off at 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.options import OptionTable
from hasten.core.timing import half_way, stage_ends
from hasten.features.layout import AfterstateLayout, ContextFeature, OptionFeature
from hasten.features.observation import (
    AVERAGE_WEIGHT,
    CLIP,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
    others_wait_ms,
)

GAPS = (
    ContextFeature.SHORT_GAP,
    ContextFeature.LONG_GAP,
    ContextFeature.ANY_SHORT_GAP,
    ContextFeature.ANY_LONG_GAP,
)
OTHERS = ContextFeature.OTHERS_MEAN_WAIT, ContextFeature.OTHERS_LARGEST_WAIT
BEFORE = ContextFeature.DEVICE_WAIT, ContextFeature.UPLINK_WAIT, ContextFeature.EDGE_WAIT
"""Backlogs before the decision."""
GAIN_FIRST = np.float32(1e4)
"""Weight of a gain against a latency as a share of the deadline, which shall only tell equal gains apart."""
LONG_WEIGHT = 1.0 / 64.0
"""Weight of the newest gap in the long average, once there were so many; before, all count alike."""

VARIABILITY_WEIGHT = 1.0 / 16.0
"""Weight of the newest deviation of the rate in their mean."""
NO_RATE = 1e-9
"""Added to shares that may both be zero."""
POISSON_DEVIATION = 2.0 / np.e
"""Mean deviation of Poisson arrivals' gaps, as a share of their mean: what is taken for true until more is known."""


@dataclass(frozen=True)
class Afterstates:
    """Backlogs in ms after each option of B decisions."""

    device_ms: FloatArray
    """(B, J+1)"""
    uplink_ms: FloatArray
    """(B, J+1)"""
    edge_ms: FloatArray
    """(B, J+1, workers), ascending."""
    latency_ms: FloatArray
    """(B, J): of the task itself."""


def afterstates(context: Context, view: View, options: OptionTable) -> Afterstates:
    """By the timing law, at the visible backlogs and rate."""
    stream = slice(None) if options.streams == 1 else view.stream
    payload_bits = options.payload_bits[stream]
    device_wait_ms, uplink_wait_ms = view.device_wait_ms[:, None], view.uplink_wait_ms[:, None]
    rtt_ms = view.beside_ms(context.rtt_ms)[:, None]
    rate = np.maximum(view.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)[:, None]
    device_end, sent, edge_end = stage_ends(
        device_wait_ms,
        uplink_wait_ms,
        view.edge_wait_ms[:, :1],
        options.device_ms[stream],
        payload_bits,
        options.edge_ms[stream],
        rate,
        rtt_ms,
    )
    offloads = payload_bits > 0
    first = np.where(offloads, edge_end, view.edge_wait_ms[:, :1])
    edge_ms = first[:, :, None]
    if context.workers > 1:
        rest = np.broadcast_to(view.edge_wait_ms[:, None, 1:], (*first.shape, view.edge_wait_ms.shape[1] - 1))
        edge_ms = np.sort(np.concatenate([edge_ms, rest], axis=2), axis=2)
    return Afterstates(
        device_ms=np.concatenate([device_end, device_wait_ms], axis=1),
        uplink_ms=np.concatenate([np.where(offloads, sent, uplink_wait_ms), uplink_wait_ms], axis=1),
        edge_ms=np.concatenate([edge_ms, view.edge_wait_ms[:, None, :]], axis=1),
        latency_ms=np.where(offloads, half_way(edge_end, rtt_ms), device_end),
    )


Observed = tuple[NDArray[np.float32], NDArray[np.int8], Sequence[Afterstates]]
"""Observations (B, F), masks (B, J+1), and the backlogs that options leave at each edge."""


class AfterstateFeatures:
    """Computes observations and masks from the views of one run, decision by decision."""

    def __init__(self, context: Context, options: OptionTable) -> None:
        self._context = context
        self._options = options
        self.layout = AfterstateLayout(int(options.exit.shape[1]) + 1, several=bool(context.options.edge.any()))
        self._limit_ms = useful_limit_ms(context)
        self._deadline_rate = deadline_rates(options, context.deadline_ms)
        self._share = context.deadline_ms / context.deadline_ms.max()
        self._longest = longest_shares(options, context.deadline_ms)
        rows = context.batch
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        self._own = _Gaps(np.tile(gaps_ms, (rows, 1)))
        self._any = _Gaps(np.full((rows, 1), any_gap_ms))
        self._rates = RateMemory(self._deadline_rate, rows)

    def observe(self, view: View) -> Observed:
        """Observations (B, F), masks (B, J+1) and what they were made of, edge by edge; call once for each view.

        The mask allows what is predicted to be useful, and always dropping.
        """
        row, stream = view.row, view.stream
        deadline_ms = self._context.deadline_ms[stream]
        features = np.zeros((len(row), self.layout.context.stop))
        features[:, ContextFeature.DEADLINE] = self._share[stream]
        own_ms = self._own.after(row, stream, view.now_ms)
        any_ms = self._any.after(row, np.zeros_like(stream), view.now_ms)
        for feature, gap_ms in zip(GAPS, (*own_ms, *any_ms), strict=True):
            features[:, feature] = gap_ms / (gap_ms + deadline_ms)
        features[:, ContextFeature.LONGEST_DEVICE_TIME] = self._longest[stream, 0]
        features[:, ContextFeature.GAP_VARIABILITY] = np.minimum(self._own.variability(row, stream), CLIP)
        self._look_at_links(view, features)
        return self._complete(view, features)

    def _look_at_links(self, view: View, features: FloatArray) -> None:
        """Fill in what is known of the uplink and the edge before the decision, but for backlogs."""
        share, average, variability = self._rates.after(view.row, view.stream, view.rate_bits_per_ms)
        features[:, ContextFeature.RATE], features[:, ContextFeature.RATE_AVERAGE] = share, average
        features[:, ContextFeature.LONGEST_EDGE_TIME] = self._longest[view.stream, 1]
        features[:, ContextFeature.RATE_VARIABILITY] = variability

    def imagine(self, view: View, seen: NDArray[np.float32]) -> Observed:
        """The same had the backlogs been those of ``view`` at the moment of observation ``seen``; remembers nothing."""
        return self._complete(view, seen[:, self.layout.context].astype(np.float64))

    def _complete(self, view: View, features: FloatArray) -> Observed:
        """Fill in what depends on backlogs."""
        after = afterstates(self._context, view, self._options)
        return self._filled(view, features, after), self._mask(view, after), (after,)

    def _mask(self, view: View, after: Afterstates) -> NDArray[np.int8]:
        useful = after.latency_ms <= self._limit_ms[view.stream][:, None]
        return np.concatenate([useful, np.ones_like(useful[:, :1])], axis=1).astype(np.int8)

    def _filled(self, view: View, features: FloatArray, after: Afterstates) -> NDArray[np.float32]:
        """Observations with these context features but for the backlogs of ``view``, which this fills in."""
        context, options = self._context, self._options
        deadline_ms = context.deadline_ms[view.stream][:, None]
        per_deadline = 1.0 / deadline_ms
        waits_ms = dict(zip(OTHERS, others_wait_ms(view), strict=True))
        if context.ready_order:
            waits_ms |= zip(BEFORE, view.waits, strict=True)
        for column, wait_ms in waits_ms.items():
            features[:, column] = np.minimum(wait_ms * per_deadline[:, 0], CLIP)
        worth = options.worth[slice(None) if options.streams == 1 else view.stream]
        gain = task_gain(worth, after.latency_ms, deadline_ms, *context.gain_terms)
        dropped = np.full((len(features), 1), context.gain_terms.late_gain)
        never = np.full_like(dropped, np.inf)
        first_ms = after.edge_ms[:, :, 0]
        times_ms = {
            OptionFeature.LATENCY: np.concatenate([after.latency_ms, never], axis=1),
            OptionFeature.DEVICE_WAIT: after.device_ms,
            OptionFeature.UPLINK_WAIT: after.uplink_ms,
            OptionFeature.EDGE_WAIT: first_ms,
            OptionFeature.EDGE_MEAN_WAIT: first_ms if after.edge_ms.shape[2] == 1 else after.edge_ms.mean(axis=2),
        }
        layout = self.layout
        found = np.empty((len(features), layout.size), dtype=np.float32)
        found[:, layout.context] = features
        found[:, layout.block(OptionFeature.GAIN)] = gain_feature(np.concatenate([gain, dropped], axis=1))
        for feature, time_ms in times_ms.items():
            share = time_ms * per_deadline
            np.minimum(share, CLIP, out=found[:, layout.block(feature)], casting="same_kind")
        return found


def gains_of(observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """The predicted gains (..., J+1) in observations (..., F)."""
    return observation[..., AfterstateLayout.of_size(observation.shape[-1]).block(OptionFeature.GAIN)]


def afterstates_of(observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """The backlogs (B, backlogs, J+1) that each option leaves, in observations (B, F)."""
    layout = AfterstateLayout.of_size(observation.shape[1])
    return observation[:, layout.afterstates].reshape(len(observation), layout.backlogs, layout.actions)


def context_of(observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """The context features (..., S) in observations (..., F)."""
    return observation[..., AfterstateLayout.of_size(observation.shape[-1]).context]


def greedy_action(observation: NDArray[np.float32]) -> IntArray:
    """(B,): what Greedy would do: the largest gain, of equal ones the earliest; never dropping."""
    latency = observation[:, AfterstateLayout.of_size(observation.shape[1]).block(OptionFeature.LATENCY)]
    return np.asarray((GAIN_FIRST * gains_of(observation)[:, :-1] - latency[:, :-1]).argmax(axis=1))


def add_margin(values: NDArray[np.float32], observation: NDArray[np.float32], margin: FloatArray) -> None:
    """Raise Greedy's option by the improvement margin (B,) among action values (B, J+1) of observations (B, F)."""
    if margin.any():
        values[np.arange(len(values)), greedy_action(observation)] += margin.astype(np.float32)


def longest_shares(options: OptionTable, deadline_ms: FloatArray) -> FloatArray:
    """(M, 2): each stream's longest device and edge time of any option as ``t / (t + deadline)``."""
    times_ms = [np.where(np.isfinite(t), t, 0.0).max(axis=1) for t in (options.device_ms, options.edge_ms)]
    return np.stack([t / (t + deadline_ms) for t in times_ms], axis=1)


class RateMemory:
    """What is remembered of the rates of M streams' links in each of R rows."""

    def __init__(self, deadline_rate: FloatArray, rows: int) -> None:
        """``deadline_rate`` (M,): see :func:`hasten.features.observation.deadline_rates`."""
        self._deadline_rate = deadline_rate
        shape = rows, len(deadline_rate)
        self._average, self._variability = np.full(shape, np.nan), np.zeros(shape)

    def after(
        self, row: IntArray, stream: IntArray, rate_bits_per_ms: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rates (B,) seen now as shares, their averages and variabilities; rows differ."""
        at = row, stream
        share = rate_bits_per_ms / (rate_bits_per_ms + self._deadline_rate[stream])
        average = self._average[at]
        average = np.where(np.isnan(average), share, moving_average(average, share))
        self._average[at] = average
        self._variability[at] = variability = moving_variability(self._variability[at], share, average)
        return share, average, variability


class _Gaps:
    """Mean gaps between arrivals, each of K kinds in each of R rows; ``nominal_ms`` (R, K) until some are known."""

    def __init__(self, nominal_ms: FloatArray) -> None:
        self._arrival_ms, self._short_ms, self._long_ms = -nominal_ms, nominal_ms.copy(), nominal_ms.copy()
        self._weight = np.full(nominal_ms.shape, AVERAGE_WEIGHT)
        self._variability = np.full(nominal_ms.shape, POISSON_DEVIATION)

    def after(self, row: IntArray, kind: IntArray, now_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Short and long average (B,) in ms after an arrival now; rows differ."""
        at = row, kind
        gap_ms = now_ms - self._arrival_ms[at]
        self._arrival_ms[at] = now_ms
        self._short_ms[at] = moving_average(self._short_ms[at], gap_ms)
        weight = self._weight[at]
        self._long_ms[at] += weight * (gap_ms - self._long_ms[at])
        self._variability[at] += weight * (np.abs(gap_ms / self._long_ms[at] - 1.0) - self._variability[at])
        self._weight[at] = next_weight(weight)
        return self._short_ms[at], self._long_ms[at]

    def variability(self, row: IntArray, kind: IntArray) -> FloatArray:
        """(B,): mean deviation of gaps from their long average, as a share of it."""
        return self._variability[row, kind]


def moving_variability(variability: Any, share: Any, average: Any) -> Any:
    """Mean deviation of a rate, given as a share, from its average after one more value of both; from 0 to 1."""
    return variability + VARIABILITY_WEIGHT * (abs(share - average) / (share + average + NO_RATE) - variability)


def next_weight(weight: Any) -> Any:
    """1/8, 1/9, ... down to ``LONG_WEIGHT``: as if eight gaps of the nominal length had come before the first."""
    return np.maximum(weight / (1.0 + weight), LONG_WEIGHT)
