"""Plans for ready order on a shared uplink: a beam search that decides tasks in their order of service.

Tensors are served in the order in which they are ready. If every decision is taken no sooner than that, in order of
these decision epochs and not of arrivals, then nothing that is decided later can overtake, and a label knows exactly
what its tasks gain and when uplink and edge are free. At each epoch, when a task could become ready through one option
or another, a label branches: take an option, or let the epoch pass. A task may be dropped when its stream's next one
could start.

A label's rank is what it has gained, plus what each stream alone can still gain at the heuristic's prices with the
epochs that have not passed, less the price of all uplink and edge time that is gone or taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.options import DROP
from hasten.core.timing import offload_ends, stage_end
from hasten.offline.instance import Instance, rounded_gain, send
from hasten.offline.search.epochs import DecisionEpochs, Standing, standing
from hasten.offline.search.heuristic import Heuristic, price_until
from hasten.offline.search.service_labels import (
    Branches,
    ServiceLabels,
    follow,
    heuristically_dominated,
    new_branches,
    new_labels,
)
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEPS_PER_DEADLINE = 150
"""Labels are compared at steps of time of this share of a deadline."""
RECORD_ROOM = 200_000
"""Most decisions recorded in one stretch of compiled code."""
WORK_PER_CALL = 2_000_000
"""Comparisons of labels in one stretch of compiled code, in which neither a time limit nor Ctrl-C is noticed."""


def service_order_beam(
    instance: Instance, heuristic: Heuristic, epochs: DecisionEpochs, width: int, limit: TimeLimit
) -> IntArray:
    """Columns (N,) of the instance's options, or DROP, found with ``width`` labels.

    When the time is up a single label goes on; when the user interrupts, the tasks that are left are dropped.
    """
    costs, _, tasks = instance
    n, streams = len(tasks.arrival_ms), costs.streams
    labels, after = (new_labels(width, streams, costs.workers) for _ in range(2))
    branches = new_branches(width * (costs.device_ms.shape[1] + 2))
    for m in range(streams):
        labels.at[0, m] = heuristic.stream_first[m]
        stands = Standing(*standing(instance, heuristic, epochs, m, labels.at[0, m], 0.0, 0, False, -np.inf))
        labels.at[0, m], labels.group[0, m], labels.kept[0, m] = stands.at, stands.group, stands.kept
        labels.ahead[0, m], labels.next_ms[0, m] = stands.ahead, stands.next_ms
    record = np.empty((RECORD_ROOM + width, 3), dtype=np.int32)
    step_ms = float(costs.deadline_ms.min()) / STEPS_PER_DEADLINE
    count, recorded = 1, 0
    chosen = np.full(n, DROP)
    while np.isfinite(labels.next_ms[:count]).any() and not limit.cancelled:
        if limit.expired:
            count, width = 1, 1
        if recorded + RECORD_ROOM + width > len(record):
            record = np.concatenate([record, np.empty((len(record) + width, 3), dtype=np.int32)])
        count, recorded, swapped = _advance(
            instance, heuristic, epochs, labels, after, branches, record, recorded, count, width, step_ms
        )
        if swapped:
            labels, after = after, labels
    node = labels.node[np.argmax(labels.gain[:count])]
    while node >= 0:
        chosen[record[node, 1]] = record[node, 2]
        node = record[node, 0]
    return chosen


@inlined
def _paid(heuristic: Heuristic, link_ms: float, edge_ms: FloatArray, edge_end_ms: float, now_ms: float) -> Any:
    """Price of uplink and edge time that is gone or taken when the first worker is free from ``edge_end_ms``."""
    paid = price_until(heuristic, heuristic.link_paid[0], max(link_ms, now_ms))
    paid += price_until(heuristic, heuristic.edge_paid, max(edge_end_ms, now_ms))
    for w in range(1, len(edge_ms)):
        paid += price_until(heuristic, heuristic.edge_paid, max(edge_ms[w], now_ms))
    return paid


@compiled
def _branch(
    instance: Instance,
    heuristic: Heuristic,
    epochs: DecisionEpochs,
    labels: ServiceLabels,
    b: int,
    until_ms: float,
    branches: Branches,
    n: int,
) -> int:
    """Append to the ``n`` branches every way on from label ``b`` at its next epoch before ``until_ms``."""
    costs, rates, tasks = instance
    m = 0
    for i in range(1, labels.next_ms.shape[1]):
        if labels.next_ms[b, i] < labels.next_ms[b, m]:
            m = i
    now_ms = labels.next_ms[b, m]
    link_ms, edge_ms = labels.link_ms[b], labels.edge_ms[b]
    others = 0.0
    for i in range(labels.ahead.shape[1]):
        others += labels.ahead[b, i]
    if now_ms >= until_ms:
        branches.label[n], branches.stream[n] = b, -1
        branches.gain[n], branches.link_ms[n], branches.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
        branches.paid[n] = _paid(heuristic, link_ms, edge_ms, edge_ms[0], until_ms)
        branches.score[n] = labels.gain[b] + others - branches.paid[n]
        return n + 1
    others -= labels.ahead[b, m]
    at, group, kept, free_ms = labels.at[b, m], labels.group[b, m], labels.kept[b, m], labels.free_ms[b, m]
    arrival_ms = epochs.arrival_ms[at]
    c = epochs.case[at]
    ready_ms = stage_end(arrival_ms, free_ms, epochs.stage_ms[c, group])
    first = n
    if ready_ms <= now_ms:
        k = epochs.task[at]
        after_at, after_group, after_kept, after_ahead, after_next_ms = standing(
            instance, heuristic, epochs, m, at + 1, ready_ms, 0, False, ready_ms
        )
        for j in range(costs.options[c]):
            if epochs.group[c, j] != group:
                continue
            sent_ms, end_ms, answer_ms = link_ms, edge_ms[0], ready_ms
            if costs.payload_bits[c, j] > 0:
                sent_ms, end_ms, answer_ms = offload_ends(
                    ready_ms, link_ms, edge_ms[0], costs.payload_bits[c, j], costs.edge_ms[c, j], costs.rtt_ms, send,
                    rates, 0,
                )  # fmt: skip
            if answer_ms - tasks.arrival_ms[k] > costs.limit_ms[c, j]:
                continue
            branches.option[n], branches.link_ms[n], branches.edge_end_ms[n] = j, sent_ms, end_ms
            branches.gain[n] = labels.gain[b] + rounded_gain(costs, c, j, answer_ms - arrival_ms)
            branches.at[n], branches.group[n], branches.kept[n] = after_at, after_group, after_kept
            branches.free_ms[n], branches.ahead[n], branches.next_ms[n] = ready_ms, after_ahead, after_next_ms
            n += 1
        group += 1
    else:
        branches.at[n], branches.group[n], branches.kept[n], branches.ahead[n], branches.next_ms[n] = standing(
            instance, heuristic, epochs, m, at + 1, free_ms, 0, False, now_ms
        )
        branches.option[n], branches.free_ms[n] = DROP, free_ms
        branches.gain[n], branches.link_ms[n], branches.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
        n += 1
        kept = True
    # let the epoch pass
    branches.at[n], branches.group[n], branches.kept[n], branches.ahead[n], branches.next_ms[n] = standing(
        instance, heuristic, epochs, m, at, free_ms, group, kept, now_ms
    )
    branches.option[n], branches.free_ms[n] = DROP, free_ms
    branches.gain[n], branches.link_ms[n], branches.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
    n += 1
    for i in range(first, n):
        branches.label[i], branches.stream[i] = b, m
        branches.paid[i] = _paid(heuristic, branches.link_ms[i], edge_ms, branches.edge_end_ms[i], until_ms)
        branches.score[i] = branches.gain[i] + others + branches.ahead[i] - branches.paid[i]
    return n


@compiled
def next_step_ms(now_ms: float, step_ms: float) -> float:
    """The first multiple of ``step_ms`` after ``now_ms``, or the second where rounding puts the first at ``now_ms``."""
    after_ms = (np.floor(now_ms / step_ms) + 1.0) * step_ms
    return float(after_ms if after_ms > now_ms else after_ms + step_ms)


@allocating
def _advance(
    instance: Instance,
    heuristic: Heuristic,
    epochs: DecisionEpochs,
    labels: ServiceLabels,
    after: ServiceLabels,
    branches: Branches,
    record: Any,
    recorded: int,
    count: int,
    width: int,
    step_ms: float,
) -> Any:
    """Decide for a while: until much is recorded or done, or nothing is left.

    Returns how many labels there are, the record's length, and whether the labels are now in ``after``.
    """
    swapped, work, most_recorded = False, 0, recorded + RECORD_ROOM
    while True:
        earliest_ms = np.inf
        for b in range(count):
            for m in range(labels.next_ms.shape[1]):
                earliest_ms = min(earliest_ms, labels.next_ms[b, m])
        if earliest_ms == np.inf or recorded >= most_recorded or work >= WORK_PER_CALL:
            break
        until_ms = next_step_ms(earliest_ms, step_ms)
        found = 0
        for b in range(count):
            found = _branch(instance, heuristic, epochs, labels, b, until_ms, branches, found)
        kept = 0
        for c in np.argsort(-branches.score[:found]):
            if kept == width:
                break
            follow(labels, after, kept, branches, c)
            if heuristically_dominated(epochs, after, kept, kept, until_ms):
                continue
            if branches.stream[c] >= 0 and branches.option[c] != DROP:
                b, m = branches.label[c], branches.stream[c]
                record[recorded, 0] = labels.node[b]
                record[recorded, 1] = epochs.task[labels.at[b, m]]
                record[recorded, 2] = branches.option[c]
                after.node[kept] = recorded
                recorded += 1
            kept += 1
        work += count + found + kept * kept
        labels, after = after, labels
        swapped = not swapped
        count = kept
    return count, recorded, swapped
