"""The observation of a learned scheduler: a fixed number of features of one decision, whatever the number of streams.

The formulas below are shared by the Gymnasium environments, which compute them in compiled code, and by
:class:`Features`, which computes them from a scheduler's views, so that a policy sees on a device what it was trained
on. Which column is which is said by :mod:`hasten.features.layout`. All features are finite. Times are shares of the
deciding stream's deadline, cut off at 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import BoolArray, Context, FloatArray, View, predicted_latency, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.jit import jitable, larger, smaller
from hasten.core.options import OptionTable
from hasten.features.layout import STATE_TIMES, ActionLayout, StateFeature

FEATURE_VERSION = 3
"""Changes with the meaning of any feature, so that a policy trained on other ones is recognised."""
CLIP = 2.0
"""Features lie within -CLIP and CLIP."""
AVERAGE_WEIGHT = 0.125
"""Weight of the newest value in a moving average."""


@jitable
def time_share(time_ms: Any, per_deadline: Any) -> Any:
    """A time as a share of the deadline, cut off; ``per_deadline`` is 1 / deadline, as a product is cheaper."""
    return smaller(time_ms * per_deadline, CLIP)


@jitable
def rate_share(rate_bits_per_ms: Any, deadline_rate_bits_per_ms: Any) -> Any:
    """A rate from 0 to infinity as a number from 0 to 1."""
    return rate_bits_per_ms / (rate_bits_per_ms + deadline_rate_bits_per_ms)


@jitable
def moving_average(average: Any, value: Any) -> Any:
    """The average after one more value."""
    return average + AVERAGE_WEIGHT * (value - average)


@jitable
def gain_feature(gain: Any) -> Any:
    """A gain, cut off."""
    return smaller(larger(gain, -CLIP), CLIP)


def deadline_rates(options: OptionTable, deadline_ms: FloatArray) -> FloatArray:
    """(M,): the rate in bits/ms that sends each stream's largest tensor in one deadline."""
    largest = options.payload_bits.max(axis=1)
    return np.asarray(np.maximum(largest, 1.0) / deadline_ms)


def others_wait_ms(view: View) -> tuple[FloatArray, FloatArray]:
    """Mean and largest backlog of the other streams' devices (B,) in ms; 0 without others."""
    streams = view.others_wait_ms.shape[1]
    if streams == 1:
        return np.zeros(len(view.row)), np.zeros(len(view.row))
    others = view.others_wait_ms.copy()
    others[np.arange(len(view.row)), view.stream] = 0.0
    return others.sum(axis=1) / (streams - 1), others.max(axis=1)


def nominal_gaps_ms(rate_hz: FloatArray) -> tuple[FloatArray, float]:
    """Mean time between arrivals of each stream (M,) and of all streams together, by their nominal rates."""
    return 1000.0 / rate_hz, 1000.0 / float(rate_hz.sum())


class Features:
    """Computes observations and action masks from the views of one run, decision by decision.

    ``options`` are those the actions refer to: action j is option j, action J drops the task.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        self._context = context
        self._options = options
        self.layout = ActionLayout(int(options.exit.shape[1]))
        self._limit_ms = useful_limit_ms(context)
        self._deadline_rate = deadline_rates(options, context.deadline_ms)
        rows, streams = context.batch, len(context.deadline_ms)
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        self._arrival_ms = np.tile(-gaps_ms, (rows, 1))
        self._gap_ms = np.tile(gaps_ms, (rows, 1))
        self._any_arrival_ms = np.full(rows, -any_gap_ms)
        self._any_gap_ms = np.full(rows, any_gap_ms)
        self._rate = np.full((rows, streams), np.nan)

    def observe(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Observations (B, F) and action masks (B, J+1) of these decisions; call once for each view."""
        row, stream = view.row, view.stream
        deadline_ms = self._context.deadline_ms[stream]
        per_deadline = 1.0 / deadline_ms
        found = np.empty((len(row), self.layout.size))
        found[:, StateFeature.DEVICE_WAIT] = view.device_wait_ms
        found[:, StateFeature.UPLINK_WAIT] = view.uplink_wait_ms
        found[:, StateFeature.EDGE_WAIT] = view.edge_wait_ms[:, 0]
        found[:, StateFeature.EDGE_MEAN_WAIT] = view.edge_wait_ms.mean(axis=1)
        found[:, StateFeature.OTHERS_MEAN_WAIT], found[:, StateFeature.OTHERS_LARGEST_WAIT] = others_wait_ms(view)
        found[:, StateFeature.RATE], found[:, StateFeature.RATE_AVERAGE] = self._rates(view)
        found[:, StateFeature.DEADLINE] = deadline_ms / self._context.deadline_ms.max()
        self._gaps(view, found)
        for feature in STATE_TIMES:
            found[:, feature] = time_share(found[:, feature], per_deadline)
        latency_ms = predicted_latency(self._context, view, self._options)
        worth = self._options.worth[stream]
        gain = task_gain(worth, latency_ms, deadline_ms[:, None], *self._context.gain_terms)
        found[:, self.layout.latencies] = time_share(latency_ms, per_deadline[:, None])
        found[:, self.layout.gains] = gain_feature(gain)
        return found.astype(np.float32), _mask(latency_ms <= self._limit_ms[stream][:, None])

    def _rates(self, view: View) -> tuple[FloatArray, FloatArray]:
        share = rate_share(view.rate_bits_per_ms, self._deadline_rate[view.stream])
        average = self._rate[view.row, view.stream]
        average = np.where(np.isnan(average), share, moving_average(average, share))
        self._rate[view.row, view.stream] = average
        return share, average

    def _gaps(self, view: View, found: FloatArray) -> None:
        """Fill in time since the last arrival and its average, of the stream and of all, in ms."""
        row, stream = view.row, view.stream
        gap_ms = view.now_ms - self._arrival_ms[row, stream]
        any_gap_ms = view.now_ms - self._any_arrival_ms[row]
        self._gap_ms[row, stream] = moving_average(self._gap_ms[row, stream], gap_ms)
        self._any_gap_ms[row] = moving_average(self._any_gap_ms[row], any_gap_ms)
        self._arrival_ms[row, stream] = view.now_ms
        self._any_arrival_ms[row] = view.now_ms
        found[:, StateFeature.GAP], found[:, StateFeature.GAP_AVERAGE] = gap_ms, self._gap_ms[row, stream]
        found[:, StateFeature.ANY_GAP], found[:, StateFeature.ANY_GAP_AVERAGE] = any_gap_ms, self._any_gap_ms[row]


def _mask(feasible: BoolArray) -> NDArray[np.int8]:
    """Allowed actions (B, J+1): feasible options, and dropping only where there is none."""
    drop = ~feasible.any(axis=1, keepdims=True)
    return np.concatenate([feasible, drop], axis=1).astype(np.int8)
