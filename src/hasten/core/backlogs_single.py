"""The observation of :mod:`hasten.core.backlogs` for one decision at a time, made without allocating arrays.

The same formulas as in :class:`hasten.core.backlogs.BacklogFeatures`, on a device's budget of microseconds. Sums over
workers and other streams may be added up in another order, which is the only difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.backlogs import KINDS, LONG_WEIGHT, SITUATION, longest_shares
from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.observation import (
    AVERAGE_WEIGHT,
    CLIP,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
)
from hasten.core.options import OptionTable


class SingleBacklogs:
    """Situation, gains and backlogs left of the decisions of one run, each view holding one.

    After :meth:`observe`:

    Attributes:
        situation: (S,)
        left: (J+1, 4)
        gain: (J+1,)
        latency: (J,), as shares of the deadline.
        useful: (J,), which options are predicted to be of use.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        longest = longest_shares(options, context.deadline_ms)
        self._streams = [
            _Stream(context, options, m, _Gap(float(gap_ms)), longest[m].tolist()) for m, gap_ms in enumerate(gaps_ms)
        ]
        self._any = _Gap(any_gap_ms)
        self._half_rtt_ms = 0.5 * context.rtt_ms
        self._workers = context.workers
        width = int(options.exit.shape[1])
        self._width = width
        self.situation: NDArray[np.float32] = np.zeros(SITUATION, dtype=np.float32)
        self.left: NDArray[np.float32] = np.zeros((width + 1, KINDS), dtype=np.float32)
        self.gain: NDArray[np.float32] = np.zeros(width + 1, dtype=np.float32)
        self.gain[width] = gain_feature(context.gain_terms[1])
        self.useful = np.zeros(width, dtype=np.bool_)
        self.latency: NDArray[np.float32] = np.zeros(width, dtype=np.float32)
        self._times = np.zeros((KINDS, width + 1))
        self._latency_ms = np.zeros(width)

    def observe(self, view: View) -> None:
        """Look at the one decision in ``view``."""
        stream = self._streams[int(view.stream.item())]
        now_ms, rate = view.now_ms.item(), view.rate_bits_per_ms.item()
        per = stream.per_deadline
        share = rate / (rate + stream.deadline_rate)
        stream.rate = share if stream.rate is None else moving_average(stream.rate, share)
        stream.gap.after(now_ms)
        self._any.after(now_ms)
        others_mean, others_max = self._others(view)
        deadline_ms = stream.deadline_ms
        self.situation[:] = (
            min(others_mean * per, CLIP),
            min(others_max * per, CLIP),
            share,
            stream.rate,
            stream.deadline_share,
            stream.gap.short_ms / (stream.gap.short_ms + deadline_ms),
            stream.gap.long_ms / (stream.gap.long_ms + deadline_ms),
            self._any.short_ms / (self._any.short_ms + deadline_ms),
            self._any.long_ms / (self._any.long_ms + deadline_ms),
            *stream.longest,
        )
        self._options(stream, view, max(rate, DEAD_LINK_BITS_PER_MS))

    def _options(self, stream: _Stream, view: View, rate: float) -> None:
        """What each option leaves, by ``core.timing.stage_ends``."""
        width, times = self._width, self._times
        device_ms, uplink_ms, edge_ms, mean_ms = times[0, :-1], times[1, :-1], times[2, :-1], times[3, :-1]
        device_wait_ms, uplink_wait_ms = view.device_wait_ms.item(), view.uplink_wait_ms.item()
        workers = view.edge_wait_ms[0].tolist()
        first_ms, total_ms = workers[0], sum(workers)
        np.add(stream.device_ms, device_wait_ms, out=device_ms)
        np.divide(stream.payload_bits, rate, out=uplink_ms)
        uplink_ms += np.maximum(device_ms, uplink_wait_ms, out=mean_ms)
        np.maximum(uplink_ms if not self._half_rtt_ms else uplink_ms + self._half_rtt_ms, first_ms, out=edge_ms)
        edge_ms += stream.edge_ms
        latency_ms = self._latency_ms
        np.copyto(latency_ms, device_ms)
        np.copyto(latency_ms, edge_ms if not self._half_rtt_ms else edge_ms + self._half_rtt_ms, where=stream.offloads)
        useful = np.less_equal(latency_ms, stream.limit_ms, out=self.useful)
        if stream.plain_gain is None:
            gain = task_gain(stream.worth, latency_ms, stream.deadline_ms, *stream.gain_terms)
            self.gain[:width] = gain_feature(gain)
        else:
            np.multiply(stream.plain_gain, useful, out=self.gain[:width])
        np.copyto(uplink_ms, uplink_wait_ms, where=stream.local)
        np.copyto(edge_ms, first_ms, where=stream.local)
        if self._workers == 1:
            mean_ms[:] = edge_ms
        else:  # the others wait as before; one of them may now be the first
            np.add(edge_ms, total_ms - first_ms, out=mean_ms)
            mean_ms /= self._workers
            np.minimum(edge_ms, workers[1], out=edge_ms)
        times[:, width] = device_wait_ms, uplink_wait_ms, first_ms, total_ms / self._workers
        times *= stream.per_deadline
        latency_ms *= stream.per_deadline
        np.minimum(latency_ms, CLIP, out=self.latency)
        np.minimum(times.T, CLIP, out=self.left)

    def _others(self, view: View) -> tuple[float, float]:
        """Mean and largest backlog of the other streams' devices."""
        count = view.others_wait_ms.shape[1]
        if count == 1:
            return 0.0, 0.0
        others = view.others_wait_ms[0].tolist()
        others[view.stream.item()] = 0.0
        return sum(others) / (count - 1), max(others)


class _Gap:
    """Mean gaps between arrivals: see ``core.backlogs``."""

    __slots__ = ("arrival_ms", "long_ms", "short_ms", "weight")

    def __init__(self, nominal_ms: float) -> None:
        self.arrival_ms, self.short_ms, self.long_ms, self.weight = -nominal_ms, nominal_ms, nominal_ms, AVERAGE_WEIGHT

    def after(self, now_ms: float) -> None:
        """An arrival now."""
        gap_ms = now_ms - self.arrival_ms
        self.arrival_ms = now_ms
        self.short_ms = moving_average(self.short_ms, gap_ms)
        self.long_ms += self.weight * (gap_ms - self.long_ms)
        self.weight = max(self.weight / (1.0 + self.weight), LONG_WEIGHT)


class _Stream:
    """What is known and remembered of one stream."""

    def __init__(self, context: Context, options: OptionTable, stream: int, gap: _Gap, longest: list[float]) -> None:
        self.gap, self.longest = gap, longest
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
        self.local = ~self.offloads
        plain = not any(context.gain_terms)
        self.plain_gain: FloatArray | None = gain_feature(self.worth) if plain else None
        """Gains where an option is of use; else 0."""
        self.rate: float | None = None
