"""The observation of a learned scheduler: a fixed number of features of one decision, whatever the number of streams.

The formulas below are shared by :mod:`hasten.features.observation_batch`, which computes many at once in compiled code
for environments and simulated schedulers, and :mod:`hasten.features.observation_single`, which computes one at a time
on a device: a policy sees there what it was trained on, to the last bit. Which column is which is said by
:mod:`hasten.features.layout`. All features are finite. Times are shares of the deciding stream's deadline, cut off at
2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hasten.core.decision import FloatArray, View
from hasten.core.jit import jitable, larger, smaller
from hasten.core.options import OptionTable

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
