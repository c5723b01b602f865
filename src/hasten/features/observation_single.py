"""The observation of one decision at a time: bit for bit that of :class:`hasten.features.observation_batch.Features`.

In a device agent a decision has microseconds. What is one number is computed in plain Python here, what is one per
option into arrays made beforehand; the same operations in the same order, so the results are the same to the last bit.
The timing law is that of :mod:`hasten.core.timing`, recorded once and repeated in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, BoolArray, Context, FloatArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.in_place import Step, recorded, repeat
from hasten.core.options import OptionTable
from hasten.core.timing import device_done, offload_ends, sent_at_rate
from hasten.features.layout import ActionLayout, StateFeature
from hasten.features.observation import (
    CLIP,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
)


class SingleFeatures:
    """Observations of the decisions of one run (``context.batch == 1``), each view holding one decision.

    After :meth:`observe`, ``feasible`` (J,) says which options are predicted to be useful by their end.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        width = int(options.exit.shape[1])
        self._latencies, self._gains = ActionLayout(width).latencies, ActionLayout(width).gains
        self.feasible: BoolArray = np.zeros(width, dtype=np.bool_)
        self._law = law = _Law(width)
        self._streams = [_Stream(context, options, m, float(gaps_ms[m]), law) for m in range(len(gaps_ms))]
        self._any_arrival_ms, self._any_gap_ms = -any_gap_ms, any_gap_ms
        self._workers, self._rtt_ms = context.workers, context.rtt_ms

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
        seen: Any = out.data  # to write a number there is quicker than to write it into the array
        seen[StateFeature.DEVICE_WAIT] = min(device_ms * per, CLIP)
        seen[StateFeature.UPLINK_WAIT] = min(uplink_ms * per, CLIP)
        seen[StateFeature.EDGE_WAIT] = min(edge_ms[0] * per, CLIP)
        seen[StateFeature.EDGE_MEAN_WAIT] = min(_total(edge_ms) / self._workers * per, CLIP)
        seen[StateFeature.OTHERS_MEAN_WAIT] = min(others_mean * per, CLIP)
        seen[StateFeature.OTHERS_LARGEST_WAIT] = min(others_max * per, CLIP)
        seen[StateFeature.RATE] = share
        seen[StateFeature.RATE_AVERAGE] = stream.rate
        seen[StateFeature.DEADLINE] = stream.deadline_share
        seen[StateFeature.GAP] = min(gap_ms * per, CLIP)
        seen[StateFeature.GAP_AVERAGE] = min(stream.gap_ms * per, CLIP)
        seen[StateFeature.ANY_GAP] = min(any_gap_ms * per, CLIP)
        seen[StateFeature.ANY_GAP_AVERAGE] = min(self._any_gap_ms * per, CLIP)
        law = self._law
        law.device_wait_ms.fill(device_ms)
        law.uplink_wait_ms.fill(uplink_ms)
        law.edge_wait_ms.fill(edge_ms[0])
        law.rate_bits_per_ms.fill(max(rate, DEAD_LINK_BITS_PER_MS))
        law.rtt_ms.fill(view.beside_ms(self._rtt_ms).item())
        self._options(stream, out)

    def _options(self, stream: _Stream, out: NDArray[np.float32]) -> None:
        """Predicted latencies by the timing law, and gains."""
        repeat(stream.law)
        latency_ms, answer_ms = self._law.latency_ms, self._law.answer_ms
        np.copyto(latency_ms, answer_ms, where=stream.offloads)
        feasible = np.less_equal(latency_ms, stream.limit_ms, out=self.feasible)
        if stream.plain_gain is None:
            gain = gain_feature(task_gain(stream.worth, latency_ms, stream.deadline_ms, *stream.gain_terms))
        else:
            gain = np.multiply(stream.plain_gain, feasible, out=answer_ms)
        out[self._gains] = gain
        latency_ms *= stream.per_deadline
        np.minimum(latency_ms, CLIP, out=out[self._latencies])

    def _others(self, view: View) -> tuple[float, float]:
        """Mean and largest backlog of the other streams' devices."""
        others = view.others_wait_ms[0].tolist()
        if len(others) == 1:
            return 0.0, 0.0
        others[view.stream.item()] = 0.0
        return _total(others) / (len(others) - 1), max(others)


def _total(numbers: list[float]) -> float:
    """Their sum, added up one by one as the batch does; newer Pythons' ``sum`` is more exact."""
    total = 0.0
    for number in numbers:
        total += number
    return total


class _Law:
    """What the timing law reads of a view, arrays of no dimension, and where it writes what becomes of J options."""

    def __init__(self, width: int) -> None:
        self.device_wait_ms, self.uplink_wait_ms = np.zeros(()), np.zeros(())
        self.edge_wait_ms, self.rate_bits_per_ms = np.zeros(()), np.zeros(())
        self.latency_ms, self.answer_ms = np.zeros(width), np.zeros(width)
        self.rtt_ms = np.zeros(())

    def steps(self, device_ms: FloatArray, payload_bits: FloatArray, edge_ms: FloatArray) -> list[Step]:
        """The law for options with these costs (J,): ``latency_ms`` on the device, ``answer_ms`` by the edge."""

        def ends(device_wait_ms: Any, uplink_ms: Any, worker_ms: Any, *costs: Any) -> tuple[Any, Any]:
            part_ms, bits, own_ms, rate, rtt_ms = costs
            done_ms = device_done(device_wait_ms, part_ms)
            _, _, answer_ms = offload_ends(done_ms, uplink_ms, worker_ms, bits, own_ms, rtt_ms, sent_at_rate, rate)
            return done_ms, answer_ms

        waits = self.device_wait_ms, self.uplink_wait_ms, self.edge_wait_ms
        costs = device_ms, payload_bits, edge_ms, self.rate_bits_per_ms, self.rtt_ms
        return recorded(ends, (*waits, *costs), (self.latency_ms, self.answer_ms))


class _Stream:
    """What is known and remembered of one stream."""

    def __init__(self, context: Context, options: OptionTable, stream: int, gap_ms: float, law: _Law) -> None:
        self.deadline_ms = float(context.deadline_ms[stream])
        self.per_deadline = 1.0 / self.deadline_ms
        self.limit_ms = float(useful_limit_ms(context)[stream])
        self.deadline_rate = float(deadline_rates(options, context.deadline_ms)[stream])
        self.deadline_share = float(context.deadline_ms[stream] / context.deadline_ms.max())
        self.gain_terms = context.gain_terms
        payload_bits = options.payload_bits[stream].copy()
        self.law = law.steps(options.device_ms[stream].copy(), payload_bits, options.edge_ms[stream].copy())
        self.worth = options.worth[stream].copy()
        self.offloads = payload_bits > 0
        plain = not any(context.gain_terms)
        self.plain_gain: FloatArray | None = gain_feature(self.worth) if plain else None
        """Gains as features where an option is useful; else 0."""
        self.arrival_ms = -gap_ms
        self.gap_ms = gap_ms
        self.rate: float | None = None
