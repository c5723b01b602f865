"""Guard of a learned scheduler: is what it meets still within what its policy was trained on?

A policy's values mean nothing far from its training. The guard compares each decision's link rate, arrival rate and
backlogs with the policy's training range, and each run's fixed facts (deadlines, speeds of the machines, streams,
options). Neither one slow moment of a link nor a chance cluster of arrivals is another world: arrival rates are
averaged over many gaps, rates may lie somewhat beyond the training range, and a stream leaves the training range only
when ``LEAVE_AFTER`` more of its decisions were beyond than within. It is back when those within have made up for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import BoolArray, Context, FloatArray, View
from hasten.core.options import OptionTable
from hasten.core.rates import BITS_PER_MS_PER_MBPS
from hasten.core.scenario import Realization, Scenario
from hasten.features.observation import CLIP
from hasten.policies.manifest import TrainingRange

MARGIN = 1.25
LOAD_MARGIN = 1.5
"""Arrival rates may lie further beyond, as even their averages fluctuate."""
LEAVE_AFTER = 4
MOST_SCORE = 2 * LEAVE_AFTER
"""However long it was out of range, a stream is back after so many decisions within."""
GAP_WEIGHT = 1.0 / 32.0
"""Weight of the newest gap in the mean gap, whose deviation is then an eighth of the mean for Poisson arrivals."""
MOST_BACKLOG = CLIP
"""Deadlines of backlog beyond which observations no longer tell one backlog from another."""
NEARLY = 1.05
NEARLY_WORTH = 0.005
"""An option that a policy does not know is no loss if one it knows costs at most so much more and is worth so much
less."""
SETTLED = 32
"""Gaps after which the mean gap of a realization counts."""

RATE, LOAD, BACKLOG = 0, 1, 2
REASONS = (
    "out_of_range_rate",
    "out_of_range_load",
    "out_of_range_backlog",
    "out_of_range_deadline",
    "out_of_range_speed",
    "out_of_range_streams",
    "out_of_range_options",
)
"""What of a decision can be out of the training range. The first three vary from decision to decision."""


class Guard:
    """Watches the decisions of one run.

    Attributes:
        counts: (reasons, rows), how many decisions were out of range, each by one of its reasons.
    """

    def __init__(self, training_range: TrainingRange, context: Context, known: OptionTable) -> None:
        """``known`` holds the policy's options of each stream, in columns of its own."""
        streams, rows = len(context.deadline_ms), context.batch
        low, high = training_range.rate_mbps
        self._lowest, self._highest = low * BITS_PER_MS_PER_MBPS / MARGIN, high * BITS_PER_MS_PER_MBPS * MARGIN
        low_hz, high_hz = training_range.rate_hz
        self._shortest_ms = 1000.0 / (LOAD_MARGIN * high_hz) if high_hz > 0 else np.inf
        self._longest_ms = LOAD_MARGIN * 1000.0 / low_hz if low_hz > 0 else np.inf
        self._most_ms = MOST_BACKLOG * float(context.deadline_ms.max())
        fixed = _fixed_facts(training_range, context, known)
        self._fixed = np.where(fixed.any(axis=0), BACKLOG + 1 + fixed.argmax(axis=0), -1)
        gaps_ms = 1000.0 / context.rate_hz
        self._gap_ms, self._arrival_ms = np.tile(gaps_ms, (rows, 1)), np.tile(-gaps_ms, (rows, 1))
        self._score = np.zeros((rows, streams), dtype=np.int64)
        self._left = np.zeros((rows, streams), dtype=np.bool_)
        self._kind = np.tile(self._fixed, (rows, 1))
        self._single = [
            _StreamState(float(gap_ms), int(kind)) for gap_ms, kind in zip(gaps_ms, self._fixed, strict=True)
        ]
        self.counts = np.zeros((len(REASONS), rows), dtype=np.int64)

    def out_of_range(self, view: View) -> BoolArray:
        """(B,): which of these decisions are not for the policy; call once for each view."""
        at = view.row, view.stream
        gap_ms = self._gap_ms[at] + GAP_WEIGHT * (view.now_ms - self._arrival_ms[at] - self._gap_ms[at])
        self._gap_ms[at], self._arrival_ms[at] = gap_ms, view.now_ms
        rate, wait_ms = _rate_and_wait(view)
        beyond = np.stack(
            [
                (rate < self._lowest) | (rate > self._highest),
                (gap_ms < self._shortest_ms) | (gap_ms > self._longest_ms),
                wait_ms > self._most_ms,
            ]
        )
        now = beyond.any(axis=0)
        score = np.clip(self._score[at] + np.where(now, 1, -1), 0, MOST_SCORE)
        left = np.where(self._left[at], score > 0, score >= LEAVE_AFTER)
        kind = np.where(now, beyond.argmax(axis=0), self._kind[at])
        self._score[at], self._left[at], self._kind[at] = score, left, kind
        fixed = self._fixed[view.stream]
        out_of_range: BoolArray = left | (fixed >= 0)
        np.add.at(self.counts, (np.where(left, kind, fixed)[out_of_range], view.row[out_of_range]), 1)
        return out_of_range

    def out_of_range_single(self, view: View) -> bool:
        """The same for the one decision of a view, in a run of one row."""
        if view.further_edges:
            return bool(self.out_of_range(view)[0])
        one = self._single[view.stream.item()]
        now_ms, rate = view.now_ms.item(), view.rate_bits_per_ms.item()
        one.gap_ms += GAP_WEIGHT * (now_ms - one.arrival_ms - one.gap_ms)
        one.arrival_ms = now_ms
        most_ms = self._most_ms
        kind = -1
        if rate < self._lowest or rate > self._highest:
            kind = RATE
        elif one.gap_ms < self._shortest_ms or one.gap_ms > self._longest_ms:
            kind = LOAD
        elif (
            view.device_wait_ms.item() > most_ms
            or view.uplink_wait_ms.item() > most_ms
            or view.edge_wait_ms.item(0) > most_ms
        ):
            kind = BACKLOG
        if kind >= 0:
            one.kind = kind
            one.score = min(one.score + 1, MOST_SCORE)
        elif one.score:
            one.score -= 1
        one.left = one.score > 0 if one.left else one.score >= LEAVE_AFTER
        if one.left:
            self.counts[one.kind, 0] += 1
        elif one.fixed >= 0:
            self.counts[one.fixed, 0] += 1
        return one.left or one.fixed >= 0


def _rate_and_wait(view: View) -> tuple[FloatArray, FloatArray]:
    """(B,) each: the rate of the link, and the longest backlog; of several edges the best rate and the least backlog.

    A link that fades while that to another edge grows is no other world.
    """
    rate, wait_ms = view.rate_bits_per_ms, np.maximum(view.uplink_wait_ms, view.edge_wait_ms[:, 0])
    for edge in view.further_edges:
        rate = np.maximum(rate, edge.rate_bits_per_ms)
        wait_ms = np.minimum(wait_ms, np.maximum(edge.uplink_wait_ms, edge.edge_wait_ms[:, 0]))
    return rate, np.maximum(view.device_wait_ms, wait_ms)


class _StreamState:
    """What :meth:`Guard.out_of_range_single` remembers of a stream."""

    __slots__ = ("arrival_ms", "fixed", "gap_ms", "kind", "left", "score")

    def __init__(self, gap_ms: float, fixed: int) -> None:
        self.gap_ms, self.arrival_ms = gap_ms, -gap_ms
        self.kind = self.fixed = fixed
        self.score, self.left = 0, False


def _fixed_facts(training_range: TrainingRange, context: Context, known: OptionTable) -> BoolArray:
    """(reasons, M): what of a run is out of range from the beginning, for deadlines, speeds, streams and options."""

    def beyond(values: FloatArray, between: tuple[float, float]) -> BoolArray:
        return np.asarray((values < between[0] / MARGIN) | (values > between[1] * MARGIN))

    streams = len(context.deadline_ms)
    offered, _ = context.options.undominated()
    # Fewer streams than trained are no other world, and a device knows of no other streams unless it is told.
    crowded = np.full(streams, context.streams > MARGIN * training_range.streams[1])
    device_ms, edge_ms = longest_ms(context.options.device_ms), longest_ms(context.options.edge_ms)
    speed = beyond(device_ms, training_range.device_ms) | beyond(edge_ms, training_range.edge_ms)
    missing = np.array([_misses(known, offered, m) for m in range(streams)])
    return np.stack([beyond(context.deadline_ms, training_range.deadline_ms), speed, crowded, missing])


def longest_ms(times_ms: FloatArray) -> FloatArray:
    """(M,): the longest of each stream's times (M, J); padding, which is infinite, aside."""
    return np.asarray(np.where(np.isfinite(times_ms), times_ms, 0.0).max(axis=1))


def _misses(known: OptionTable, offered: OptionTable, stream: int) -> bool:
    """Whether an offered option is clearly better in some respect than every option that the policy knows."""
    costs = [
        (getattr(known, name)[stream], getattr(offered, name)[stream, : offered.count[stream]])
        for name in ("device_ms", "payload_bits", "edge_ms")
    ]
    covered = known.worth[stream] >= offered.worth[stream, : offered.count[stream], None] - NEARLY_WORTH
    for mine, theirs in costs:
        covered &= mine <= NEARLY * theirs[:, None]
    return not bool(covered.any(axis=1).all())


def observed_range(scenario: Scenario, realizations: Sequence[Realization]) -> TrainingRange:
    """What a policy meets in these realizations of a scenario."""
    table = scenario.options
    rates, gaps_ms = [], []
    for run in realizations:
        for m, stream in enumerate(scenario.devices):
            own = run.stream == m
            trace = run.rates[min(m, len(run.rates) - 1)]
            seen = np.array([trace.at(float(now_ms)) for now_ms in run.arrival_ms[own]])
            rates.append(seen * run.rate_factor[own])
            nominal_ms = 1000.0 / stream.spec.arrivals.mean_rate_hz(scenario.folder)
            gaps_ms += [np.array([nominal_ms]), _mean_gaps_ms(run.arrival_ms[own], nominal_ms)[SETTLED:]]
    mbps = np.concatenate(rates) / BITS_PER_MS_PER_MBPS if rates else np.zeros(1)
    gap_ms = np.concatenate(gaps_ms)
    deadline_ms, device_ms, edge_ms = scenario.deadlines_ms, longest_ms(table.device_ms), longest_ms(table.edge_ms)
    return TrainingRange(
        rate_mbps=(float(mbps.min()), float(mbps.max())),
        rate_hz=(float(1000.0 / gap_ms.max()), float(1000.0 / gap_ms.min())),
        deadline_ms=(float(deadline_ms.min()), float(deadline_ms.max())),
        streams=(len(scenario.devices), len(scenario.devices)),
        device_ms=(float(device_ms.min()), float(device_ms.max())),
        edge_ms=(float(edge_ms.min()), float(edge_ms.max())),
    )


def _mean_gaps_ms(arrival_ms: NDArray[np.float64], nominal_ms: float) -> FloatArray:
    """The mean gap (n,) at each arrival, as the guard reckons it."""
    mean_ms, found = nominal_ms, []
    for gap_ms in np.diff(arrival_ms, prepend=-nominal_ms).tolist():
        mean_ms += GAP_WEIGHT * (gap_ms - mean_ms)
        found.append(mean_ms)
    return np.array(found)
