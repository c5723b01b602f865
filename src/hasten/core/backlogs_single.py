"""The observation of :mod:`hasten.core.backlogs` for one decision at a time, made without allocating arrays.

The same formulas as in :class:`hasten.core.backlogs.BacklogFeatures`, on a device's budget of microseconds: options
that offload come first, so that slices do what masks do there; times stay in ms; gains of useless options are left in,
as :attr:`SingleBacklogs.useless` tells. Sums over workers and other streams may be added up in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.backlogs import KINDS, LONG_WEIGHT, POISSON_DEVIATION, SITUATION, longest_shares, moving_swing
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

    After :meth:`observe`, for the options in the stream's own order and dropping last:

    Attributes:
        situation: (S + 1,), the last one 1.
        left_ms: (J+1, 5), cut off at two deadlines; the last column is 1.
        latency_ms: (J,)
        useless: (J+1,), which options are predicted to be of no use.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        longest = longest_shares(options, context.deadline_ms)
        self.streams = [
            SingleStream(context, options, m, _Gap(float(gap_ms)), longest[m].tolist())
            for m, gap_ms in enumerate(gaps_ms)
        ]
        self._any = _Gap(any_gap_ms)
        self._half_rtt_ms = 0.5 * context.rtt_ms
        self._workers = context.workers
        width = int(options.exit.shape[1])
        self.situation: NDArray[np.float32] = np.ones(SITUATION + 1, dtype=np.float32)
        self.left_ms: NDArray[np.float32] = np.ones((width + 1, KINDS + 1), dtype=np.float32)
        self.latency_ms = np.zeros(width)
        self.useless = np.zeros(width + 1, dtype=np.bool_)
        self._times = np.zeros((KINDS, width + 1))
        self._by_option = self._times.T, self.left_ms[:, :KINDS]
        self._starts = np.zeros(width)

    def observe(self, view: View) -> SingleStream:
        """Look at the one decision in ``view``; returns its stream."""
        stream = self.streams[view.stream.item()]
        now_ms, rate = view.now_ms.item(), view.rate_bits_per_ms.item()
        share = rate / (rate + stream.deadline_rate)
        average = stream.rate
        average = stream.rate = share if average is None else moving_average(average, share)
        stream.swing = moving_swing(stream.swing, share, average)
        gap, any_gap, deadline_ms = stream.gap, self._any, stream.deadline_ms
        gap.after(now_ms)
        any_gap.after(now_ms)
        mean_ms, largest_ms = self._others(view)
        per = stream.per_deadline
        self.situation[:SITUATION] = (
            min(mean_ms * per, CLIP),
            min(largest_ms * per, CLIP),
            share,
            average,
            stream.deadline_share,
            gap.short_ms / (gap.short_ms + deadline_ms),
            gap.long_ms / (gap.long_ms + deadline_ms),
            any_gap.short_ms / (any_gap.short_ms + deadline_ms),
            any_gap.long_ms / (any_gap.long_ms + deadline_ms),
            *stream.longest,
            stream.swing,
            min(gap.uneven, CLIP),
        )
        self._options(stream, view, max(rate, DEAD_LINK_BITS_PER_MS))
        return stream

    def _options(self, stream: SingleStream, view: View, rate: float) -> None:
        """What each option leaves, by ``core.timing.stage_ends``."""
        device_wait_ms, uplink_wait_ms = view.device_wait_ms.item(), view.uplink_wait_ms.item()
        n, times, latency_ms, half_rtt_ms = stream.offloading, self._times, self.latency_ms, self._half_rtt_ms
        workers = view.edge_wait_ms[0].tolist()
        first_ms = workers[0]
        device_ms, uplink_ms, edge_ms, starts = times[0, :-1], times[1, :n], times[2, :n], self._starts[:n]
        np.add(stream.device_ms, device_wait_ms, out=device_ms)
        np.divide(stream.payload_bits, rate, out=uplink_ms)
        uplink_ms += np.maximum(device_ms[:n], uplink_wait_ms, out=starts)
        if half_rtt_ms:
            np.maximum(np.add(uplink_ms, half_rtt_ms, out=starts), first_ms, out=edge_ms)
        else:
            np.maximum(uplink_ms, first_ms, out=edge_ms)
        edge_ms += stream.edge_ms
        np.add(edge_ms, half_rtt_ms, out=latency_ms[:n])
        latency_ms[n:] = device_ms[n:]
        np.greater(latency_ms, stream.limit_ms, out=self.useless[:-1])
        times[0, -1], times[1, n:], times[2, n:] = device_wait_ms, uplink_wait_ms, first_ms
        if self._workers == 1:
            times[3] = times[2]
        else:  # the others wait as before; one of them may now be the first
            rest_ms = sum(workers[1:])
            np.add(times[2], rest_ms, out=times[3])
            times[3] /= self._workers
            np.minimum(times[2], workers[1], out=times[2])
        by_option, left_ms = self._by_option
        np.minimum(by_option, stream.clip_ms, out=left_ms)

    def _others(self, view: View) -> tuple[float, float]:
        """Mean and largest backlog of the other streams' devices."""
        count = view.others_wait_ms.shape[1]
        if count == 1:
            return 0.0, 0.0
        others = view.others_wait_ms[0].tolist()
        others[view.stream.item()] = 0.0
        return sum(others) / (count - 1), max(others)


class SingleStream:
    """What is known and remembered of one stream.

    Attributes:
        order: (J+1,), which option (J: dropping) is first, second, ... in this stream's own order.
    """

    def __init__(
        self, context: Context, options: OptionTable, stream: int, gap: _Gap, longest: Sequence[float]
    ) -> None:
        self.gap, self.longest = gap, longest
        self.deadline_ms = float(context.deadline_ms[stream])
        self.per_deadline, self.clip_ms = 1.0 / self.deadline_ms, CLIP * self.deadline_ms
        self.limit_ms = float(useful_limit_ms(context)[stream])
        self.deadline_rate = float(deadline_rates(options, context.deadline_ms)[stream])
        self.deadline_share = float(context.deadline_ms[stream] / context.deadline_ms.max())
        order = np.argsort(options.payload_bits[stream] == 0, kind="stable")
        self.offloading = n = int((options.payload_bits[stream] > 0).sum())
        self.order = np.append(order, len(order))
        self.device_ms = options.device_ms[stream, order]
        self.payload_bits = options.payload_bits[stream, order[:n]]
        self.edge_ms = options.edge_ms[stream, order[:n]]
        self._worth = options.worth[stream, order]
        self._gain_terms = context.gain_terms
        self.rate: float | None = None
        self.swing = 0.0
        self._gain = np.append(gain_feature(self._worth), gain_feature(context.gain_terms[1])).astype(np.float32)

    def gain(self, latency_ms: FloatArray) -> NDArray[np.float32]:
        """(J+1,): gains of options of use with these latencies (J,), and that of dropping."""
        if any(self._gain_terms):
            self._gain[:-1] = gain_feature(task_gain(self._worth, latency_ms, self.deadline_ms, *self._gain_terms))
        return self._gain


class _Gap:
    """Mean gaps between arrivals: see ``core.backlogs``."""

    __slots__ = ("arrival_ms", "long_ms", "short_ms", "uneven", "weight")

    def __init__(self, nominal_ms: float) -> None:
        self.arrival_ms, self.short_ms, self.long_ms, self.weight = -nominal_ms, nominal_ms, nominal_ms, AVERAGE_WEIGHT
        self.uneven = POISSON_DEVIATION

    def after(self, now_ms: float) -> None:
        """An arrival now."""
        gap_ms = now_ms - self.arrival_ms
        self.arrival_ms = now_ms
        self.short_ms += AVERAGE_WEIGHT * (gap_ms - self.short_ms)
        weight = self.weight
        long_ms = self.long_ms = self.long_ms + weight * (gap_ms - self.long_ms)
        self.uneven += weight * (abs(gap_ms / long_ms - 1.0) - self.uneven)
        self.weight = max(weight / (1.0 + weight), LONG_WEIGHT)
