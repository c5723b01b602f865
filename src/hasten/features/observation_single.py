"""The observation of one decision at a time: bit for bit that of :class:`hasten.features.observation.Features`.

In a device agent a decision has microseconds. What is one number is computed in plain Python here, what is one per
option into arrays made beforehand; the same operations in the same order, so the results are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, BoolArray, Context, FloatArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.options import OptionTable
from hasten.features.observation import (
    CLIP,
    STATE_FEATURES,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
)

_PAIRWISE_FROM = 8
"""Numpy adds up so many numbers or more in another order than one by one."""


class SingleFeatures:
    """Observations of the decisions of one run (``context.batch == 1``), each view holding one decision.

    After :meth:`observe`, ``feasible`` (J,) says which options are predicted to be useful by their end.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        self._streams = [_Stream(context, options, m, float(gaps_ms[m])) for m in range(len(gaps_ms))]
        self._any_arrival_ms, self._any_gap_ms = -any_gap_ms, any_gap_ms
        self._half_rtt_ms = 0.5 * context.rtt_ms
        self._workers = context.workers
        self._width = width = int(options.exit.shape[1])
        self.feasible: BoolArray = np.zeros(width, dtype=np.bool_)
        self._latency_ms, self._sent_ms = np.zeros(width), np.zeros(width)

    def observe(self, view: View, out: NDArray[np.float32]) -> None:
        """Fill ``out`` (size,) for the one decision in ``view``."""
        stream = self._streams[int(view.stream.item())]
        now_ms, rate = view.now_ms.item(), view.rate_bits_per_ms.item()
        device_ms, uplink_ms = view.device_wait_ms.item(), view.uplink_wait_ms.item()
        edge_ms = view.edge_wait_ms[0].tolist()
        per = stream.per_deadline
        others_mean, others_max = self._others(view)
        share = rate / (rate + stream.deadline_rate)
        stream.rate = share if stream.rate is None else moving_average(stream.rate, share)
        gap_ms, any_gap_ms = now_ms - stream.arrival_ms, now_ms - self._any_arrival_ms
        stream.gap_ms = moving_average(stream.gap_ms, gap_ms)
        self._any_gap_ms = moving_average(self._any_gap_ms, any_gap_ms)
        stream.arrival_ms = self._any_arrival_ms = now_ms
        out[:STATE_FEATURES] = (
            min(device_ms * per, CLIP),
            min(uplink_ms * per, CLIP),
            min(edge_ms[0] * per, CLIP),
            min(self._mean_ms(edge_ms, view) * per, CLIP),
            min(others_mean * per, CLIP),
            min(others_max * per, CLIP),
            share,
            stream.rate,
            stream.deadline_share,
            min(gap_ms * per, CLIP),
            min(stream.gap_ms * per, CLIP),
            min(any_gap_ms * per, CLIP),
            min(self._any_gap_ms * per, CLIP),
        )
        self._options(stream, device_ms, uplink_ms, edge_ms[0], max(rate, DEAD_LINK_BITS_PER_MS), out)

    def _options(
        self, stream: _Stream, device_ms: float, uplink_ms: float, edge_ms: float, rate: float, out: NDArray[np.float32]
    ) -> None:
        """Predicted latencies by ``core.timing.predict_latency``, and gains."""
        latency_ms, sent_ms = self._latency_ms, self._sent_ms
        np.add(stream.device_ms, device_ms, out=latency_ms)
        np.divide(stream.payload_bits, rate, out=sent_ms)
        sent_ms += np.maximum(latency_ms, uplink_ms)
        if self._half_rtt_ms:
            sent_ms += self._half_rtt_ms
        np.maximum(sent_ms, edge_ms, out=sent_ms)
        sent_ms += stream.edge_ms
        if self._half_rtt_ms:
            sent_ms += self._half_rtt_ms
        np.copyto(latency_ms, sent_ms, where=stream.offloads)
        feasible = np.less_equal(latency_ms, stream.limit_ms, out=self.feasible)
        width = self._width
        if stream.plain_gain is None:
            gain = gain_feature(task_gain(stream.worth, latency_ms, stream.deadline_ms, *stream.gain_terms))
        else:
            gain = np.multiply(stream.plain_gain, feasible, out=sent_ms)
        out[STATE_FEATURES + width : STATE_FEATURES + 2 * width] = gain
        latency_ms *= stream.per_deadline
        np.minimum(latency_ms, CLIP, out=out[STATE_FEATURES : STATE_FEATURES + width])

    def _mean_ms(self, edge_ms: list[float], view: View) -> float:
        if self._workers < _PAIRWISE_FROM:
            return sum(edge_ms) / self._workers
        return float(view.edge_wait_ms[0].mean())

    def _others(self, view: View) -> tuple[float, float]:
        """Mean and largest backlog of the other streams' devices."""
        count = view.others_wait_ms.shape[1]
        if count == 1:
            return 0.0, 0.0
        others: Any = view.others_wait_ms[0].copy()
        others[view.stream.item()] = 0.0
        if count < _PAIRWISE_FROM:
            others = others.tolist()
            return sum(others) / (count - 1), max(others)
        return float(others.sum() / (count - 1)), float(others.max())


class _Stream:
    """What is known and remembered of one stream."""

    def __init__(self, context: Context, options: OptionTable, stream: int, gap_ms: float) -> None:
        self.deadline_ms = float(context.deadline_ms[stream])
        self.per_deadline = 1.0 / self.deadline_ms
        self.limit_ms = float(useful_limit_ms(context)[stream])
        self.deadline_rate = float(deadline_rates(options, context.deadline_ms)[stream])
        self.deadline_share = float(context.deadline_ms[stream] / context.deadline_ms.max())
        self.gain_terms = context.gain_terms
        self.device_ms = options.device_ms[stream].copy()
        self.payload_bits = options.payload_bits[stream].copy()
        self.edge_ms = options.edge_ms[stream].copy()
        self.worth = options.worth[stream].copy()
        self.offloads = self.payload_bits > 0
        plain = not any(context.gain_terms)
        self.plain_gain: FloatArray | None = gain_feature(self.worth) if plain else None
        """Gains as features where an option is useful; else 0."""
        self.arrival_ms = -gap_ms
        self.gap_ms = gap_ms
        self.rate: float | None = None
