"""The observation of :mod:`hasten.features.afterstates` for one decision at a time, made without allocating arrays.

The same formulas as in :class:`hasten.features.afterstates.AfterstateFeatures`, on a device's budget of microseconds:
the timing law is that of :mod:`hasten.core.timing`, recorded once and repeated in place (:mod:`hasten.core.in_place`);
options that offload come first, so that slices do what masks do there; times stay in ms; gains of useless options are
left in, as :attr:`SingleAfterstates.useless` tells. Sums over workers and other streams may be added up in another
order.
Numbers that are the same at every decision are arrays of no dimension, as numpy converts other numbers at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.in_place import Step, recorded, repeat
from hasten.core.options import OptionTable
from hasten.core.timing import device_done, offload_ends, sent_at_rate
from hasten.features.afterstates import (
    GAIN_FIRST,
    LONG_WEIGHT,
    POISSON_DEVIATION,
    longest_shares,
    moving_variability,
)
from hasten.features.layout import AFTERSTATE, BACKLOGS, CONTEXT_FEATURES, ContextFeature, OptionFeature
from hasten.features.observation import (
    AVERAGE_WEIGHT,
    CLIP,
    deadline_rates,
    gain_feature,
    moving_average,
    nominal_gaps_ms,
)

_DEVICE, _UPLINK, _EDGE, _EDGE_MEAN = (
    AFTERSTATE.index(feature)
    for feature in (
        OptionFeature.DEVICE_WAIT,
        OptionFeature.UPLINK_WAIT,
        OptionFeature.EDGE_WAIT,
        OptionFeature.EDGE_MEAN_WAIT,
    )
)


class SingleAfterstates:
    """Context features, gains and afterstates of the decisions of one run, each view holding one.

    After :meth:`observe`, for the options in the stream's own order and dropping last:

    Attributes:
        context: (CONTEXT_FEATURES + 1,), the last one 1.
        left_ms: (J+1, BACKLOGS + 1), cut off at two deadlines; the last column is 1.
        latency_ms: (J,)
        useless: (J+1,), which options are predicted to be of no use.
        useless_options: (J,), the same without dropping.
    """

    def __init__(self, context: Context, options: OptionTable) -> None:
        gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
        longest = longest_shares(options, context.deadline_ms)
        self._any = _Gap(any_gap_ms)
        self._workers, self._ready_order = context.workers, context.ready_order
        width = int(options.exit.shape[1])
        self.context: NDArray[np.float32] = np.ones(CONTEXT_FEATURES + 1, dtype=np.float32)
        self._context_data: Any = (
            self.context.data
        )  # to write a number there is quicker than to write it into the array
        self.left_ms: NDArray[np.float32] = np.ones((width + 1, BACKLOGS + 1), dtype=np.float32)
        self.latency_ms = np.zeros(width)
        self.useless = np.zeros(width + 1, dtype=np.bool_)
        self.useless_options = self.useless[:-1]
        self._times = np.zeros((BACKLOGS, width + 1))
        self._first_ms, self._mean_ms = self._times[_EDGE], self._times[_EDGE_MEAN]
        self._left, self._by_option = self.left_ms[:, :BACKLOGS], self._times.T
        self.streams = [
            SingleStream(context, options, m, _Gap(float(gap_ms)), longest[m].tolist())
            for m, gap_ms in enumerate(gaps_ms)
        ]
        visible = _Visible()
        self._visible, self._rtt_ms = visible, context.rtt_ms
        self._parts = {stream: _Parts(self._times, self.latency_ms, stream, visible) for stream in self.streams}

    def observe(self, view: View) -> SingleStream:
        """Look at the one decision in ``view``; returns its stream."""
        stream = self.streams[view.stream.item()]
        now_ms, rate = view.now_ms.item(), view.rate_bits_per_ms.item()
        share = rate / (rate + stream.deadline_rate)
        average = stream.rate
        average = stream.rate = share if average is None else moving_average(average, share)
        stream.variability = moving_variability(stream.variability, share, average)
        gap, any_gap, deadline_ms = stream.gap, self._any, stream.deadline_ms
        gap.after(now_ms)
        any_gap.after(now_ms)
        mean_ms, largest_ms = self._others(view)
        per = stream.per_deadline
        before = per if self._ready_order else 0.0
        device_wait_ms, uplink_wait_ms = view.device_wait_ms.item(), view.uplink_wait_ms.item()
        workers_ms = view.edge_wait_ms[0].tolist()
        seen = self._context_data
        seen[ContextFeature.OTHERS_MEAN_WAIT] = min(mean_ms * per, CLIP)
        seen[ContextFeature.OTHERS_LARGEST_WAIT] = min(largest_ms * per, CLIP)
        seen[ContextFeature.RATE] = share
        seen[ContextFeature.RATE_AVERAGE] = average
        seen[ContextFeature.DEADLINE] = stream.deadline_share
        seen[ContextFeature.SHORT_GAP] = gap.short_ms / (gap.short_ms + deadline_ms)
        seen[ContextFeature.LONG_GAP] = gap.long_ms / (gap.long_ms + deadline_ms)
        seen[ContextFeature.ANY_SHORT_GAP] = any_gap.short_ms / (any_gap.short_ms + deadline_ms)
        seen[ContextFeature.ANY_LONG_GAP] = any_gap.long_ms / (any_gap.long_ms + deadline_ms)
        seen[ContextFeature.LONGEST_DEVICE_TIME], seen[ContextFeature.LONGEST_EDGE_TIME] = stream.longest
        seen[ContextFeature.RATE_VARIABILITY] = stream.variability
        seen[ContextFeature.GAP_VARIABILITY] = min(gap.variability, CLIP)
        seen[ContextFeature.DEVICE_WAIT] = min(device_wait_ms * before, CLIP)
        seen[ContextFeature.UPLINK_WAIT] = min(uplink_wait_ms * before, CLIP)
        seen[ContextFeature.EDGE_WAIT] = min(workers_ms[0] * before, CLIP)
        visible = self._visible
        visible.device_wait_ms.fill(device_wait_ms)
        visible.uplink_wait_ms.fill(uplink_wait_ms)
        visible.edge_wait_ms.fill(workers_ms[0])
        visible.rate_bits_per_ms.fill(max(rate, DEAD_LINK_BITS_PER_MS))
        visible.rtt_ms.fill(view.beside_ms(self._rtt_ms).item())
        self._options(stream, workers_ms)
        return stream

    def _options(self, stream: SingleStream, workers_ms: list[float]) -> None:
        """What each option leaves, from what is visible."""
        part, visible = self._parts[stream], self._visible
        repeat(part.law)
        part.local_latency_ms[:] = part.local_device_ms
        np.greater(self.latency_ms, stream.limit_ms, out=self.useless_options)
        part.device_before_ms[0] = visible.device_wait_ms
        part.uplink_before_ms[:] = visible.uplink_wait_ms
        part.edge_before_ms[:] = visible.edge_wait_ms
        if self._workers == 1:
            self._mean_ms[:] = self._first_ms
        else:  # the others wait as before; one of them may now be the first
            np.add(self._first_ms, sum(workers_ms[1:]), out=self._mean_ms)
            self._mean_ms /= self._workers
            np.minimum(self._first_ms, workers_ms[1], out=self._first_ms)
        np.minimum(self._times, stream.clip_ms, out=self._times)
        self._left[:] = self._by_option

    def _others(self, view: View) -> tuple[float, float]:
        """Mean and largest backlog of the other streams' devices."""
        count = view.others_wait_ms.shape[1]
        if count == 1:
            return 0.0, 0.0
        others = view.others_wait_ms[0].tolist()
        others[view.stream.item()] = 0.0
        return sum(others) / (count - 1), max(others)


class _Visible:
    """What the timing law reads of a view: arrays of no dimension."""

    __slots__ = ("device_wait_ms", "edge_wait_ms", "rate_bits_per_ms", "rtt_ms", "uplink_wait_ms")

    def __init__(self) -> None:
        self.device_wait_ms, self.uplink_wait_ms = np.zeros(()), np.zeros(())
        self.edge_wait_ms, self.rate_bits_per_ms = np.zeros(()), np.zeros(())
        self.rtt_ms = np.zeros(())


class _Parts:
    """Views of the arrays of :class:`SingleAfterstates` for a stream whose first options offload, and the law in them.

    They are made once, because making a view takes time, too.
    """

    __slots__ = (
        "device_before_ms",
        "edge_before_ms",
        "law",
        "local_device_ms",
        "local_latency_ms",
        "uplink_before_ms",
    )

    def __init__(self, times_ms: FloatArray, latency_ms: FloatArray, stream: SingleStream, visible: _Visible) -> None:
        n = stream.offloading
        device_ms, self.device_before_ms = times_ms[_DEVICE, :-1], times_ms[_DEVICE, -1:]
        self.local_device_ms, self.local_latency_ms = device_ms[n:], latency_ms[n:]
        sent_ms, self.uplink_before_ms = times_ms[_UPLINK, :n], times_ms[_UPLINK, n:]
        edge_ms, self.edge_before_ms = times_ms[_EDGE, :n], times_ms[_EDGE, n:]

        def device(device_wait_ms: Any, part_ms: Any) -> tuple[Any]:
            return (device_done(device_wait_ms, part_ms),)

        def beyond(device_end_ms: Any, uplink_ms: Any, worker_ms: Any, *costs: Any) -> Any:
            bits, own_ms, rate, rtt_ms = costs
            return offload_ends(device_end_ms, uplink_ms, worker_ms, bits, own_ms, rtt_ms, sent_at_rate, rate)

        before = visible.uplink_wait_ms, visible.edge_wait_ms
        costs = stream.payload_bits, stream.edge_ms
        self.law: list[Step] = [
            *recorded(device, (visible.device_wait_ms, stream.device_ms), (device_ms,)),
            *recorded(
                beyond,
                (device_ms[:n], *before, *costs, visible.rate_bits_per_ms, visible.rtt_ms),
                (sent_ms, edge_ms, latency_ms[:n]),
            ),
        ]


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
        self.per_deadline, self.clip_ms = 1.0 / self.deadline_ms, np.array(CLIP * self.deadline_ms)
        self.limit_ms = np.array(useful_limit_ms(context)[stream])
        self.deadline_rate = float(deadline_rates(options, context.deadline_ms)[stream])
        self.deadline_share = float(context.deadline_ms[stream] / context.deadline_ms.max())
        order = np.argsort(options.payload_bits[stream] == 0, kind="stable")
        self.offloading = n = int((options.payload_bits[stream] > 0).sum())
        self.order = np.append(order, len(order))
        self.device_ms = options.device_ms[stream, order]
        self.payload_bits = options.payload_bits[stream, order[:n]]
        self.edge_ms = options.edge_ms[stream, order[:n]]
        self._worth = options.worth[stream, order]
        self._gain_terms, self._timed = context.gain_terms, any(context.gain_terms)
        self.rate: float | None = None
        self.variability = 0.0
        self._gain = np.append(gain_feature(self._worth), gain_feature(context.gain_terms.late_gain)).astype(np.float32)
        self._rank_ms = self._ranked()

    def gain(self, latency_ms: FloatArray) -> NDArray[np.float32]:
        """(J+1,): gains of options of use with these latencies (J,), and that of dropping."""
        if self._timed:
            self._gain[:-1] = gain_feature(task_gain(self._worth, latency_ms, self.deadline_ms, *self._gain_terms))
            self._rank_ms = self._ranked()
        return self._gain

    def greedy_rank(self, latency_ms: FloatArray, out: FloatArray) -> FloatArray:
        """(J,): Greedy takes the option of use that has the largest one; after :meth:`gain` of the same latencies."""
        return np.subtract(self._rank_ms, latency_ms, out=out)

    def _ranked(self) -> FloatArray:
        return np.asarray(self._gain[:-1] * np.float64(GAIN_FIRST * self.deadline_ms))


class _Gap:
    """Mean gaps between arrivals: see ``features.afterstates``."""

    __slots__ = ("arrival_ms", "long_ms", "short_ms", "variability", "weight")

    def __init__(self, nominal_ms: float) -> None:
        self.arrival_ms, self.short_ms, self.long_ms, self.weight = -nominal_ms, nominal_ms, nominal_ms, AVERAGE_WEIGHT
        self.variability = POISSON_DEVIATION

    def after(self, now_ms: float) -> None:
        """An arrival now."""
        gap_ms = now_ms - self.arrival_ms
        self.arrival_ms = now_ms
        self.short_ms += AVERAGE_WEIGHT * (gap_ms - self.short_ms)
        weight = self.weight
        long_ms = self.long_ms = self.long_ms + weight * (gap_ms - self.long_ms)
        self.variability += weight * (abs(gap_ms / long_ms - 1.0) - self.variability)
        self.weight = max(weight / (1.0 + weight), LONG_WEIGHT)
