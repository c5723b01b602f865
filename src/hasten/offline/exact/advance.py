"""Label setting, a stretch of tasks at a time; compiled. What labels are and why few suffice: ``offline.exact.labels``.

With a limit on the number of labels the same code is a beam search: it keeps the best and says that it truncated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled
from hasten.core.options import DROP
from hasten.core.timing import offload_ends, stage_end
from hasten.offline.exact.labels import (
    Candidates,
    Frontier,
    candidates,
    clip,
    dominated,
    edge_of,
    grown,
    keep,
    pass_task,
    successor,
    upcoming_from,
)
from hasten.offline.exact.record import DecisionRecord, compacted, noted
from hasten.offline.instance import Instance, rounded_gain, send

IntArray = NDArray[np.int64]

TIE_PRICE_PER_MS = 1e-9
"""Among labels of equal gain the one with less backlog is looked at first."""


class SearchProgress(NamedTuple):
    """Where :func:`advance` stands."""

    task: int
    """Next task to decide."""
    labels: int
    """Labels in the frontier."""
    recorded: int
    """Entries of the record in use."""
    peak: int
    """Largest frontier so far."""
    truncated_at: int
    """First task after which labels were cut off for number alone; -1 if never."""
    record_full: bool
    """The record has no room for the next task even after compaction."""
    stage_too_long: bool
    """The next task would take more work than allowed for one."""
    bound: float
    """No plan gains more than this, seen from the last frontier that was complete."""
    work: float
    """Label comparisons made so far."""


def started(instance: Instance) -> SearchProgress:
    """Nothing decided yet."""
    return SearchProgress(0, 1, 0, 1, -1, False, False, float(instance.tasks.remaining[0]), 0.0)


@compiled
def _expand(
    instance: Instance,
    k: int,
    frontier: Frontier,
    count: int,
    found: Candidates,
    prune_below: float,
    backlog_price: float,
) -> int:
    """Write every decision on task ``k`` from every label to ``found``; returns how many.

    A successor whose gain could not reach ``prune_below`` even if all later tasks ran alone is left out.
    """
    costs, rates, tasks = instance
    streams, ways = costs.streams, costs.ways
    m, c, now_ms = tasks.stream[k], tasks.case[k], tasks.arrival_ms[k]
    needed = prune_below - tasks.remaining[k + 1]
    n = 0
    for i in range(count):
        state = frontier.state_ms[i]
        total_ms = 0.0
        for free_ms in state:
            total_ms += max(free_ms - now_ms, 0.0) if free_ms < np.inf else 0.0
        for j in range(DROP, costs.options[c]):
            gain, spent_ms = 0.0, 0.0
            at = edge_of(costs, c, j)
            link = ways.link[at, m]
            uplink, edge = streams + link, streams + costs.links + ways.first_worker[at]
            device_ms, uplink_ms, edge_ms = state[m], state[uplink], state[edge]
            if j != DROP:
                device_ms = stage_end(now_ms, state[m], costs.device_ms[c, j])
                if device_ms - now_ms > costs.limit_ms[c, j]:
                    continue
                answer_ms = device_ms
                if costs.payload_bits[c, j] > 0:
                    uplink_ms, edge_ms, answer_ms = offload_ends(
                        device_ms, state[uplink], state[edge], costs.payload_bits[c, j], costs.edge_ms[c, j],
                        ways.rtt_ms[at], send, rates, link,
                    )  # fmt: skip
                    if answer_ms - now_ms > costs.limit_ms[c, j]:
                        continue
                    spent_ms = uplink_ms - max(state[uplink], now_ms) + edge_ms - max(state[edge], now_ms)
                gain = rounded_gain(costs, c, j, answer_ms - now_ms)
                if gain <= 0.0:
                    continue
                spent_ms += device_ms - max(state[m], now_ms)
            gain += frontier.gain[i]
            if gain < needed:
                continue
            found.key[n] = backlog_price * (total_ms + spent_ms) - gain
            found.gain[n], found.parent[n], found.option[n] = gain, i, j
            found.device_ms[n], found.uplink_ms[n], found.edge_ms[n] = device_ms, uplink_ms, edge_ms
            n += 1
    return n


@allocating
def advance(
    instance: Instance,
    progress: SearchProgress,
    frontier: Frontier,
    record: DecisionRecord,
    plan: IntArray,
    stop: int,
    limit: int,
    prune_below: float,
    backlog_price: float,
    most_work: float,
    most_stage_work: float,
    cancelled: IntArray,
) -> Any:
    """Decide tasks from ``progress.task`` up to ``stop`` or until ``progress.work`` reaches about ``most_work``.

    Args:
        instance: the tasks and their costs.
        progress: where to start.
        frontier: labels there, clipped; the best first.
        record: decisions so far; compacted when full.
        plan: (N,), receives decisions that all labels agree on.
        stop: task before which to stop.
        limit: most labels to keep after a task.
        prune_below: labels that cannot gain at least this by the end are dropped.
        backlog_price: labels are ranked by gain minus this times the sum of their backlogs in ms; it affects
            which labels a truncation keeps, and beyond that only speed.
        most_work: total of label comparisons after which to return.
        most_stage_work: comparisons after which to give a single task up, leaving everything as it was before it.
        cancelled: (1,), likewise as soon as this is not 0.

    Returns:
        (progress, frontier); the frontier's arrays may be new ones.
    """
    costs, rates, tasks = instance
    k, count, recorded, peak, truncated_at, _, _, bound, work = progress
    streams, width = costs.streams, frontier.state_ms.shape[1]
    most_options = costs.worth.shape[1] + 1
    upcoming = upcoming_from(tasks, k)
    row = np.empty(width)
    kept = Frontier(np.empty((64, width)), np.empty((64, width)), np.empty(64), np.empty(64, np.int64))
    found = candidates(64 * most_options)
    while k < stop and work < most_work:
        if len(found.key) < count * most_options:
            found = candidates(2 * count * most_options)
        number = _expand(instance, k, frontier, count, found, prune_below, backlog_price)
        if recorded + min(number, limit) > len(record.parent):
            recorded = compacted(record, recorded, frontier, count, plan)
            if recorded + min(number, limit) > len(record.parent):
                return SearchProgress(k, count, recorded, peak, truncated_at, True, False, bound, work), frontier
        pass_task(tasks, upcoming, k)
        new, before, stop_work = 0, recorded, work + most_stage_work
        for c in np.argsort(found.key[:number]):
            successor(instance, k, found, c, frontier, row)
            clip(costs, rates, upcoming.arrival_ms, row)
            work += 1.0 + new
            if work > stop_work or cancelled[0] != 0:
                return SearchProgress(k, count, before, peak, truncated_at, False, True, bound, work), frontier
            if dominated(kept, new, row, found.gain[c], streams):
                continue
            if new == limit:
                truncated_at = k if truncated_at < 0 else truncated_at
                break
            if new == len(kept.gain):
                kept = grown(kept)
            keep(instance, k, upcoming, row, found, c, kept, new)
            kept.node[new] = noted(record, recorded, frontier.node[found.parent[c]], k, found.option[c])
            recorded += 1
            new += 1
        frontier, kept = kept, frontier
        count = new
        peak = max(peak, count)
        k += 1
        if count == 0:  # all were pruned
            break
        if truncated_at < 0:
            best = prune_below
            for i in range(count):
                best = max(best, frontier.gain[i] + tasks.remaining[k])
            bound = min(bound, best)
    return SearchProgress(k, count, recorded, peak, truncated_at, False, False, bound, work), frontier
