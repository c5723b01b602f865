"""Plans for grant order: label setting as in ``offline.exact``, cut to the best labels by a value-to-go heuristic.

A label's rank is what it has gained, plus what each stream alone can still gain from its device's free time on, less
the dual price of all uplink and edge time that is taken or gone; ordering multipliers (``offline.bound.grant_order``)
count likewise. Dominance keeps out labels that differ in nothing that could pay, so that a narrow beam holds really
different plans.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled
from hasten.core.options import DROP
from hasten.core.timing import offload_ends, stage_end, stage_start
from hasten.offline.exact.labels import (
    Candidates,
    Frontier,
    candidates,
    clip,
    dominated,
    frontier_of,
    keep,
    pass_task,
    successor,
    upcoming_from,
)
from hasten.offline.exact.record import DecisionRecord, compacted, empty_record, noted, traced
from hasten.offline.exact.search import first_frontier
from hasten.offline.instance import Instance, rounded_gain, send
from hasten.offline.search.heuristic import Heuristic, multiplier_at, price_until, to_collect, value_to_go
from hasten.offline.time_limit import TimeLimit, paced

IntArray = NDArray[np.int64]

TASKS_PER_CALL = 256
"""Most tasks decided in one stretch of compiled code, in which neither a time limit nor Ctrl-C is noticed."""
FIRST_TASKS = 16
"""Tasks decided in the first stretch."""
RECORD_TASKS = 2048
"""The record of decisions is thinned out when it holds those of this many tasks."""


def grant_beam(instance: Instance, heuristic: Heuristic, width: int, limit: TimeLimit) -> tuple[IntArray, float]:
    """Columns (N,) of the instance's options, or DROP, and the gain above dropping everything that no plan exceeds.

    The latter is known only if no label was cut off; otherwise it is infinite. When the time is up, a single label goes
    on; when the user interrupts, the tasks that are left are dropped.
    """
    n = len(instance.tasks.arrival_ms)
    frontier = first_frontier(instance)
    kept = frontier_of(np.zeros(frontier.state_ms.shape[1]))
    frontier, kept = _room(frontier, width), _room(kept, width)
    record = empty_record(width * min(n, RECORD_TASKS) + width)
    plan = np.full(n, DROP, dtype=np.int64)
    position = heuristic.stream_first.copy()
    found = candidates(width * (instance.costs.worth.shape[1] + 1))
    decided, count, recorded, complete, tasks = 0, 1, 0, True, FIRST_TASKS
    while decided < n and not limit.cancelled:
        if limit.expired:
            count, width, complete = 1, 1, False
        began_s = limit.spent_s
        end = min(decided + tasks, n)
        if recorded + width * (end - decided) > len(record.parent):
            recorded = compacted(record, recorded, frontier, count, plan)
            if recorded + width * (end - decided) > len(record.parent):
                record = _longer(record)
        count, recorded, cut = _decide(
            instance, heuristic, frontier, kept, count, record, recorded, decided, end, width, position, found
        )
        complete = complete and not cut
        if (end - decided) % 2:
            frontier, kept = kept, frontier
        decided = end
        tasks = paced(tasks, limit.spent_s - began_s, TASKS_PER_CALL)
    best = int(np.argmax(frontier.gain[:count]))
    traced(record, int(frontier.node[best]), plan)
    return plan, float(frontier.gain[best]) if complete and decided == n else np.inf


def _room(frontier: Frontier, width: int) -> Frontier:
    """The same labels with room for ``width``."""
    rows = [np.zeros((width, *column.shape[1:]), column.dtype) for column in frontier]
    for row, column in zip(rows, frontier, strict=True):
        row[: len(column)] = column
    return Frontier(*rows)


def _longer(record: DecisionRecord) -> DecisionRecord:
    """The same record with twice the room."""
    return DecisionRecord(*(np.concatenate([column, np.empty_like(column)]) for column in record))


@compiled
def _expand(
    instance: Instance,
    heuristic: Heuristic,
    k: int,
    frontier: Frontier,
    count: int,
    position: IntArray,
    found: Candidates,
) -> int:
    """Write every decision on task ``k`` from every label to ``found``, with its rank; returns how many."""
    costs, rates, tasks = instance
    streams, links = costs.streams, costs.links
    m, c, now_ms = tasks.stream[k], tasks.case[k], tasks.arrival_ms[k]
    link = 0 if links == 1 else m
    uplink, edge = streams + link, streams + links
    n = 0
    for i in range(count):
        state = frontier.state_ms[i]
        rest = frontier.gain[i]
        for other in range(streams):
            if other != m:
                rest += value_to_go(heuristic, other, position[other], state[other])
        for d in range(links):
            rest -= price_until(heuristic, heuristic.link_paid[d], max(state[streams + d], now_ms))
        for d in range(edge, len(state)):
            rest -= price_until(heuristic, heuristic.edge_paid, max(state[d], now_ms))
        for j in range(DROP, costs.options[c]):
            device_ms, uplink_ms, edge_ms = state[m], state[uplink], state[edge]
            gain, paid = 0.0, 0.0
            if j != DROP:
                if not heuristic.usable[c, j]:
                    continue
                device_ms = stage_end(now_ms, state[m], costs.device_ms[c, j])
                if device_ms - now_ms > costs.limit_ms[c, j]:
                    continue
                answer_ms = device_ms
                if costs.payload_bits[c, j] > 0:
                    start_ms = stage_start(device_ms, state[uplink])
                    uplink_ms, edge_ms, answer_ms = offload_ends(
                        device_ms, state[uplink], state[edge], costs.payload_bits[c, j], costs.edge_ms[c, j],
                        costs.rtt_ms, send, rates, link,
                    )  # fmt: skip
                    if answer_ms - now_ms > costs.limit_ms[c, j]:
                        continue
                    paid = multiplier_at(heuristic, k, start_ms)
                    paid += price_until(heuristic, heuristic.link_paid[link], uplink_ms)
                    paid -= price_until(heuristic, heuristic.link_paid[link], max(state[uplink], now_ms))
                    paid += price_until(heuristic, heuristic.edge_paid, edge_ms)
                    paid -= price_until(heuristic, heuristic.edge_paid, max(state[edge], now_ms))
                gain = rounded_gain(costs, c, j, answer_ms - now_ms)
                if gain <= 0.0:
                    continue
            ahead = value_to_go(heuristic, m, position[m] + 1, device_ms) + to_collect(heuristic, k + 1, uplink_ms)
            found.key[n] = paid - rest - gain - ahead
            found.gain[n], found.parent[n], found.option[n] = frontier.gain[i] + gain, i, j
            found.device_ms[n], found.uplink_ms[n], found.edge_ms[n] = device_ms, uplink_ms, edge_ms
            n += 1
    return n


@allocating
def _decide(
    instance: Instance,
    heuristic: Heuristic,
    frontier: Frontier,
    kept: Frontier,
    count: int,
    record: DecisionRecord,
    recorded: int,
    begin: int,
    end: int,
    width: int,
    position: IntArray,
    found: Candidates,
) -> Any:
    """Decide tasks ``begin`` to ``end``; returns how many labels there are, the record's length, whether any was cut.

    ``position`` (M,) is where each stream's next task is in the order of streams (Q); it moves on.

    The labels are in ``frontier`` and ``kept`` alternately: after an odd number of tasks they are in ``kept``.
    """
    costs, rates, tasks = instance
    streams, upcoming = costs.streams, upcoming_from(tasks, begin)
    row = np.empty(frontier.state_ms.shape[1])
    cut = False
    for k in range(begin, end):
        number = _expand(instance, heuristic, k, frontier, count, position, found)
        position[tasks.stream[k]] += 1
        pass_task(tasks, upcoming, k)
        new = 0
        for c in np.argsort(found.key[:number]):
            successor(instance, k, found, c, frontier, row)
            clip(costs, rates, upcoming.arrival_ms, row)
            if dominated(kept, new, row, found.gain[c], streams):
                continue
            if new == width:
                cut = True
                break
            keep(instance, k, upcoming, row, found, c, kept, new)
            kept.node[new] = noted(record, recorded, frontier.node[found.parent[c]], k, found.option[c])
            recorded += 1
            new += 1
        frontier, kept = kept, frontier
        count = new
    return count, recorded, cut
