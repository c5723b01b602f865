"""Random tiny offline instances of every kind, and their optimum by trying everything: slow and obvious."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hasten.core.gain import PLAIN_ACCURACY, GainTerms
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Block, ExitHead, Profile
from hasten.core.rates import RateTrace, rate_trace
from hasten.offline.instance import Instance, costs_of, rates_of, tasks_of

GAINS = [PLAIN_ACCURACY, GainTerms(0.2, 0.0, 0.0), GainTerms(0.3, -0.25, 0.0), GainTerms(0.0, 0.0, 0.5)]


@dataclass
class Case:
    """One instance in the form in which a person would write it down."""

    table: OptionTable
    deadline_ms: np.ndarray
    gain_terms: GainTerms
    rtt_ms: float
    workers: int
    shared: bool
    arrival_ms: np.ndarray
    stream: np.ndarray
    traces: tuple[RateTrace, ...]

    def instance(self, pruned: bool = True) -> Instance:
        table = self.table.undominated()[0] if pruned else self.table
        costs = costs_of(table, self.deadline_ms, self.gain_terms, self.rtt_ms, self.workers, self.shared)
        rates = rates_of(self.traces, costs)
        return Instance(costs, rates, tasks_of(self.arrival_ms, self.stream, costs, rates))


def random_profile(rng: np.random.Generator, whole: bool, blocks: int, exits: int, spoilt: bool) -> Profile:
    def ms(high: float) -> float:
        return float(rng.integers(0, int(high) + 1)) if whole else float(rng.uniform(0, high))

    behind = sorted(int(b) + 1 for b in rng.choice(blocks, size=exits, replace=False))
    accuracy = np.sort(rng.choice([0.3, 0.5, 0.6, 0.7, 0.8, 0.9], size=exits, replace=False))
    return Profile(
        schema="hasten.profile/1",
        name="random",
        source="made up",
        input_bytes=int(rng.integers(1, 60)),
        blocks=tuple(
            Block(name=f"b{i}", device_ms=ms(30), edge_ms=ms(12), output_bytes=int(rng.integers(1, 40)))
            for i in range(blocks)
        ),
        exits=tuple(
            ExitHead(
                name=f"e{i}",
                after_block=b,
                accuracy=float(a),
                device_ms=ms(4),
                edge_ms=ms(2),
                accuracy_by_partition=_spoilt(rng, float(a), b) if spoilt else None,
            )
            for i, (b, a) in enumerate(zip(behind, accuracy, strict=True))
        ),
    )


def _spoilt(rng: np.random.Generator, accuracy: float, after_block: int) -> tuple[float, ...] | None:
    """In half of the cases accuracies by partition, some cuts much less accurate, so that no order of exits holds."""
    if rng.integers(2):
        return None
    return (*(accuracy * rng.choice([1.0, 0.98, 0.4], size=after_block)).tolist(), accuracy)


def random_trace(rng: np.random.Generator) -> RateTrace:
    """Rates around one byte per millisecond: constant, held or periodic, with stretches of silence."""
    kind = rng.integers(4)
    if kind == 0:
        return rate_trace(np.zeros(1), np.array([float(rng.choice([0.0, 4.0, 8.0, 16.0], p=[0.1, 0.3, 0.3, 0.3]))]))
    steps = int(rng.integers(2, 6))
    from_ms = np.concatenate([[0.0], np.cumsum(rng.integers(1, 40, steps - 1))]).astype(float)
    rates = rng.choice([0.0, 2.0, 8.0, 12.0, 24.0], size=steps)
    return rate_trace(from_ms, rates, float(from_ms[-1] + 20) if kind == 1 else math.inf)


def random_case(rng: np.random.Generator, tasks: int, blocks: int, exits: int, spoilt: bool = True) -> Case:
    """``spoilt``: some cuts are less accurate than others of their exit, which leaves more options to choose from."""
    whole = bool(rng.integers(2))  # whole numbers make ties
    streams = int(rng.integers(1, 4))
    shared = bool(rng.integers(2))
    profiles = [random_profile(rng, whole, blocks, exits, spoilt) for _ in range(streams)]
    gap_ms = float(rng.choice([4, 12, 25, 50]))
    gaps = rng.integers(0, int(2 * gap_ms), tasks) if whole else rng.exponential(gap_ms, tasks)
    arrival_ms = np.cumsum(gaps).astype(float)
    stream = rng.integers(0, streams, tasks).astype(np.int64)
    order = np.lexsort((stream, arrival_ms))
    slowdowns = rng.choice([0.5, 1.0, 2.0], size=streams)
    return Case(
        table=option_table([StreamCosts(p, float(s)) for p, s in zip(profiles, slowdowns, strict=True)]),
        deadline_ms=rng.choice([20.0, 40.0, 60.0, 100.0], size=streams),
        gain_terms=GAINS[int(rng.integers(len(GAINS)))],
        rtt_ms=float(rng.choice([0.0, 0.0, 6.0])),
        workers=int(rng.integers(1, 4)),
        shared=shared,
        arrival_ms=arrival_ms[order],
        stream=stream[order],
        traces=tuple(random_trace(rng) for _ in range(1 if shared else streams)),
    )


def plain_gain(worth: float, latency: float, deadline: float, terms: tuple[float, float, float]) -> float | None:
    """Gain of an answer, None when it is expired: the definition once more, one case at a time."""
    time_weight, _, fade = terms
    if latency > deadline * (1 + fade) + 1e-6:
        return None
    if latency <= deadline:
        return worth - time_weight * latency / deadline
    if fade == 0:
        return worth - time_weight
    return worth * min(1.0, (1 + fade - min(latency / deadline, 1 + fade)) / fade) - time_weight


def plain_transfer_end(trace: RateTrace, start: float, bits: float) -> float:
    """Walk along the trace, step by step, until everything is sent."""
    periodic = math.isfinite(trace.period_ms)
    if not trace.bits_per_ms.any() or (not periodic and start >= trace.from_ms[-1] and trace.bits_per_ms[-1] == 0):
        return math.inf
    steps, rates = trace.from_ms.tolist(), trace.bits_per_ms.tolist()
    now, left = start, bits
    base = (start // trace.period_ms) * trace.period_ms if periodic else 0.0
    while True:
        ends = [*steps[1:], trace.period_ms]
        for end, rate in zip(ends, rates, strict=True):
            if base + end <= now:
                continue
            if rate > 0 and left <= rate * (base + end - now) + 1e-9:
                return now + left / rate
            if not math.isfinite(end):
                return math.inf
            left -= rate * (base + end - now)
            now = base + end
        base += trace.period_ms


def brute_force(case: Case) -> float:
    """Largest sum of gains over all sequences of decisions, every option of the full table tried on every task."""
    table, late_gain = case.table, case.gain_terms.late_gain
    options = [
        [
            tuple(float(x[m, j]) for x in (table.device_ms, table.payload_bits, table.edge_ms, table.worth))
            for j in range(table.count[m])
        ]
        for m in range(table.streams)
    ]

    def best_from(k: int, device: tuple[float, ...], uplink: tuple[float, ...], edge: tuple[float, ...]) -> float:
        if k == len(case.arrival_ms):
            return 0.0
        now, m = float(case.arrival_ms[k]), int(case.stream[k])
        link = 0 if case.shared else m
        best = late_gain + best_from(k + 1, device, uplink, edge)
        for device_ms, bits, edge_ms, worth in options[m]:
            computed = max(now, device[m]) + device_ms
            answer, uplink_after, edge_after = computed, uplink, edge
            if bits > 0:
                sent = plain_transfer_end(case.traces[link], max(computed, uplink[link]), bits)
                end = max(sent + case.rtt_ms / 2, edge[0]) + edge_ms
                answer = end + case.rtt_ms / 2
                uplink_after = (*uplink[:link], sent, *uplink[link + 1 :])
                edge_after = tuple(sorted((*edge[1:], end)))
            gain = plain_gain(worth, answer - now, float(case.deadline_ms[m]), case.gain_terms)
            if gain is None:
                continue
            after = (*device[:m], computed, *device[m + 1 :])
            best = max(best, gain + best_from(k + 1, after, uplink_after, edge_after))
        return best

    idle = (0.0,) * table.streams
    return best_from(0, idle, (0.0,) * len(case.traces), (0.0,) * case.workers)
