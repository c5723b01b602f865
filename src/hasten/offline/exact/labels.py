"""Exact dynamic programming over known arrivals by Pareto label-setting, for grant order; compiled.

After each task a label holds the gain so far and when each resource is free: devices, uplinks, edge workers
(sorted). Three observations keep the set of labels (the frontier) small, none of which loses the optimum:

* *Clipping.* A device cannot start before its stream's next arrival, an uplink not before some device can have
  computed what it sends, a worker not before something can have been sent: earlier free times are all the same.
* *Dominance.* A label that has gained as much and frees every resource as early is as good: all updates are
  monotone, a transfer that starts later ends later, and gains do not grow with latency.
* *Dominance with a price.* A label whose resource is free too late can still copy every plan of another one if it
  first drops the tasks that arrive before that resource is free. If it leads by what those tasks can gain at most,
  the other label is not needed.

With a limit on the number of labels the same code is a beam search: it keeps the best and says that it truncated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled
from hasten.core.options import DROP
from hasten.core.timing import half_way, offload_ends, stage_end
from hasten.offline.instance import Costs, Instance, Rates, rounded_gain, send

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TIE_PRICE_PER_MS = 1e-9
"""Among labels of equal gain the one with less backlog is looked at first."""


class Frontier(NamedTuple):
    """Labels after some task; only the first ``count`` rows are in use."""

    state_ms: FloatArray
    """(C, M + L + W): clipped free times of devices, uplinks, workers."""
    price: FloatArray
    """(C, M + L + W): gain lost at most by dropping all tasks that come before that resource is free."""
    gain: FloatArray
    """(C,)"""
    node: IntArray
    """(C,): this label's entry in the record of decisions."""


class Record(NamedTuple):
    """Decisions that led to labels: a forest of (parent, task, option)."""

    parent: NDArray[np.int32]
    task: NDArray[np.int32]
    option: NDArray[np.int16]


class Candidates(NamedTuple):
    """Successors of a frontier before dominance: (C * options + C,) each."""

    key: FloatArray
    gain: FloatArray
    parent: IntArray
    option: IntArray
    device_ms: FloatArray
    uplink_ms: FloatArray
    edge_ms: FloatArray


def frontier_of(state_ms: FloatArray) -> Frontier:
    """A frontier with a single label of gain 0 whose resources are free at ``state_ms`` (M + L + W,)."""
    row = np.array(state_ms, dtype=np.float64)[None, :]
    return Frontier(row, np.zeros_like(row), np.zeros(1), np.full(1, -1))


def empty_record(capacity: int) -> Record:
    """Room for this many decisions."""
    return Record(np.empty(capacity, np.int32), np.empty(capacity, np.int32), np.empty(capacity, np.int16))


@allocating
def candidates(count: int) -> Candidates:
    """Room for this many successors."""
    return Candidates(
        np.empty(count),
        np.empty(count),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count),
        np.empty(count),
        np.empty(count),
    )


@allocating
def grown(frontier: Frontier) -> Frontier:
    """The same frontier with twice the room."""
    rows, width = frontier.state_ms.shape
    state_ms, price = np.empty((2 * rows, width)), np.empty((2 * rows, width))
    gain, node = np.empty(2 * rows), np.empty(2 * rows, np.int64)
    for i in range(rows):  # loops, because compiling assignments of slices takes many seconds
        gain[i], node[i] = frontier.gain[i], frontier.node[i]
        for d in range(width):
            state_ms[i, d], price[i, d] = frontier.state_ms[i, d], frontier.price[i, d]
    return Frontier(state_ms, price, gain, node)


@compiled
def _expand(
    instance: Instance, k: int, frontier: Frontier, count: int, found: Candidates, hopeless: float, backlog_price: float
) -> int:
    """Write every decision on task ``k`` from every label to ``found``; returns how many.

    A successor whose gain could not reach ``hopeless`` even if all later tasks ran alone is left out.
    """
    costs, rates, tasks = instance
    streams, links = len(costs.options), costs.links
    m, now_ms = tasks.stream[k], tasks.arrival_ms[k]
    link = 0 if links == 1 else m
    uplink, edge = streams + link, streams + links
    limit_ms = costs.limit_ms[m]
    needed = hopeless - tasks.remaining[k + 1]
    n = 0
    for i in range(count):
        state = frontier.state_ms[i]
        total_ms = 0.0
        for free_ms in state:
            total_ms += max(free_ms - now_ms, 0.0) if free_ms < np.inf else 0.0
        for j in range(DROP, costs.options[m]):
            gain, spent_ms = 0.0, 0.0
            device_ms, uplink_ms, edge_ms = state[m], state[uplink], state[edge]
            if j != DROP:
                device_ms = stage_end(now_ms, state[m], costs.device_ms[m, j])
                if device_ms - now_ms > limit_ms:
                    continue
                answer_ms = device_ms
                if costs.payload_bits[m, j] > 0:
                    uplink_ms, edge_ms, answer_ms = offload_ends(
                        device_ms, state[uplink], state[edge], costs.payload_bits[m, j], costs.edge_ms[m, j],
                        costs.rtt_ms, send, rates, link,
                    )  # fmt: skip
                    if answer_ms - now_ms > limit_ms:
                        continue
                    spent_ms = uplink_ms - max(state[uplink], now_ms) + edge_ms - max(state[edge], now_ms)
                gain = rounded_gain(costs, m, j, answer_ms - now_ms)
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


@compiled
def clip(costs: Costs, rates: Rates, next_ms: FloatArray, state_ms: FloatArray) -> None:
    """Raise the free times in ``state_ms`` (M + L + W,) to the earliest moments at which they can matter, in place.

    ``next_ms`` (M,) is each stream's next arrival, infinity after its last.
    """
    streams, links = len(costs.options), costs.links
    at_edge_ms = np.inf
    for link in range(links):
        ready_ms = np.inf
        for m in range(0 if links == 1 else link, streams if links == 1 else link + 1):
            state_ms[m] = max(state_ms[m], next_ms[m])
            ready_ms = min(ready_ms, state_ms[m] + costs.before_send_ms[m])
        sending_ms = max(state_ms[streams + link], ready_ms)
        state_ms[streams + link] = sending_ms
        at_edge_ms = min(at_edge_ms, half_way(sending_ms + rates.least_transfer_ms[link], costs.rtt_ms))
    for w in range(streams + links, len(state_ms)):
        state_ms[w] = max(state_ms[w], at_edge_ms)


@compiled
def successor(instance: Instance, k: int, found: Candidates, c: int, frontier: Frontier, row: FloatArray) -> None:
    """Write the free times of candidate ``c`` for task ``k`` to ``row``, workers in ascending order."""
    costs, _, tasks = instance
    m, streams = tasks.stream[k], len(costs.options)
    parent = found.parent[c]
    for d in range(len(row)):
        row[d] = frontier.state_ms[parent, d]
    row[m] = found.device_ms[c]
    row[streams + (0 if costs.links == 1 else m)] = found.uplink_ms[c]
    w = streams + costs.links
    row[w] = found.edge_ms[c]
    while w + 1 < len(row) and row[w] > row[w + 1]:
        row[w], row[w + 1] = row[w + 1], row[w]
        w += 1


@compiled
def dominated(kept: Frontier, count: int, row: FloatArray, gain: float, streams: int) -> bool:
    """Whether some kept label makes one of this gain and these free times superfluous."""
    width = len(row)
    for q in range(count):
        lead = kept.gain[q] - gain
        if lead < 0.0:
            continue
        owed = 0.0
        for d in range(streams):
            if kept.state_ms[q, d] > row[d]:
                owed += kept.price[q, d]
                if owed > lead:
                    break
        if owed > lead:
            continue
        shared = 0.0
        for d in range(streams, width):
            if kept.state_ms[q, d] > row[d]:
                shared = max(shared, kept.price[q, d])
                if owed + shared > lead:
                    break
        if owed + shared <= lead:
            return True
    return False


@compiled
def drop_price(instance: Instance, k: int, next_task: IntArray, row: FloatArray, price: FloatArray) -> None:
    """Write to ``price`` what dropping all tasks after ``k`` that come before each resource is free can cost.

    For a device these are its own stream's tasks. For uplinks and workers they are all tasks, a superset, so that
    of several such resources the dearest pays for all.
    """
    costs, rates, tasks = instance
    n, streams, links = len(tasks.arrival_ms), len(costs.options), costs.links
    for m in range(streams):
        price[m], i = 0.0, next_task[m]
        while i < n and tasks.arrival_ms[i] < row[m]:
            price[m] += tasks.alone_gain[i]
            i = tasks.following[i]
    least_ms = np.inf
    for link in range(links):
        least_ms = min(least_ms, half_way(rates.least_transfer_ms[link], costs.rtt_ms))
    for d in range(streams, len(row)):
        before_ms = row[d] if d < streams + links else row[d] - least_ms
        price[d], i = 0.0, k + 1
        while i < n and tasks.arrival_ms[i] < before_ms:
            price[d] += tasks.alone_gain[i]
            i += 1


@compiled
def traced(record: Record, node: int, plan: IntArray) -> None:
    """Write the decisions that led to ``node`` into ``plan`` (N,)."""
    while node >= 0:
        plan[record.task[node]] = record.option[node]
        node = record.parent[node]


@allocating
def compacted(record: Record, used: int, frontier: Frontier, count: int, plan: IntArray) -> int:
    """Forget decisions that no label goes back to, and write those that all go back to into ``plan``.

    Renumbers ``record`` and ``frontier.node`` in place; returns how many entries are left.
    """
    needed = np.zeros(used, np.bool_)
    for i in range(count):
        if frontier.node[i] >= 0:
            needed[frontier.node[i]] = True
    for i in range(used - 1, -1, -1):
        if needed[i] and record.parent[i] >= 0:
            needed[record.parent[i]] = True
    start = 0
    while start < used:  # tasks at whose end only one label is still needed are decided
        end, alive, last = start, 0, -1
        while end < used and record.task[end] == record.task[start]:
            if needed[end]:
                alive += 1
                last = end
            end += 1
        if alive != 1 or end == used:
            break
        plan[record.task[last]] = record.option[last]
        start = end
    number = np.full(used, -1, np.int32)
    left = 0
    for i in range(start, used):
        if needed[i]:
            parent = record.parent[i]
            record.parent[left] = number[parent] if parent >= 0 else -1
            record.task[left], record.option[left] = record.task[i], record.option[i]
            number[i] = left
            left += 1
    for i in range(count):
        if frontier.node[i] >= 0:
            frontier.node[i] = number[frontier.node[i]]
    return left


class Progress(NamedTuple):
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


def started(instance: Instance) -> Progress:
    """Nothing decided yet."""
    return Progress(0, 1, 0, 1, -1, False, False, float(instance.tasks.remaining[0]), 0.0)


@allocating
def advance(
    instance: Instance,
    progress: Progress,
    frontier: Frontier,
    record: Record,
    plan: IntArray,
    stop: int,
    limit: int,
    hopeless: float,
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
        hopeless: labels that cannot gain at least this by the end are dropped.
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
    n, streams = len(tasks.arrival_ms), len(costs.options)
    width = frontier.state_ms.shape[1]
    most_options = costs.worth.shape[1] + 1
    next_task = tasks.first.copy()
    for m in range(streams):
        while next_task[m] < k:
            next_task[m] = tasks.following[next_task[m]]
    next_ms = np.empty(streams)
    for m in range(streams):
        next_ms[m] = tasks.arrival_ms[next_task[m]] if next_task[m] < n else np.inf
    row = np.empty(width)
    kept = Frontier(np.empty((64, width)), np.empty((64, width)), np.empty(64), np.empty(64, np.int64))
    found = candidates(64 * most_options)
    while k < stop and work < most_work:
        if len(found.key) < count * most_options:
            found = candidates(2 * count * most_options)
        number = _expand(instance, k, frontier, count, found, hopeless, backlog_price)
        if recorded + min(number, limit) > len(record.parent):
            recorded = compacted(record, recorded, frontier, count, plan)
            if recorded + min(number, limit) > len(record.parent):
                return Progress(k, count, recorded, peak, truncated_at, True, False, bound, work), frontier
        own = tasks.stream[k]
        next_task[own] = tasks.following[k]
        next_ms[own] = tasks.arrival_ms[next_task[own]] if next_task[own] < n else np.inf
        new, before, stop_work = 0, recorded, work + most_stage_work
        for c in np.argsort(found.key[:number]):
            successor(instance, k, found, c, frontier, row)
            clip(costs, rates, next_ms, row)
            work += 1.0 + new
            if work > stop_work or cancelled[0] != 0:
                return Progress(k, count, before, peak, truncated_at, False, True, bound, work), frontier
            if dominated(kept, new, row, found.gain[c], streams):
                continue
            if new == limit:
                truncated_at = k if truncated_at < 0 else truncated_at
                break
            if new == len(kept.gain):
                kept = grown(kept)
            for d in range(width):
                kept.state_ms[new, d] = row[d]
            kept.gain[new] = found.gain[c]
            drop_price(instance, k, next_task, row, kept.price[new])
            record.parent[recorded] = frontier.node[found.parent[c]]
            record.task[recorded], record.option[recorded] = k, found.option[c]
            kept.node[new] = recorded
            recorded += 1
            new += 1
        frontier, kept = kept, frontier
        count = new
        peak = max(peak, count)
        k += 1
        if count == 0:  # nothing reaches what is hopeless
            break
        if truncated_at < 0:
            best = hopeless
            for i in range(count):
                best = max(best, frontier.gain[i] + tasks.remaining[k])
            bound = min(bound, best)
    return Progress(k, count, recorded, peak, truncated_at, False, False, bound, work), frontier
