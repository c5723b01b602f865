"""Partial plans in ready order: labels whose sent tasks may still change their place.

A task that is decided later may overtake on the uplink. Labels therefore carry the sent tasks whose place is not
certain yet and project them anew with each decision; a decision that would make one of them late is not considered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.options import DROP
from hasten.core.timing import edge_ends, half_way, stage_start
from hasten.offline.instance import Instance, rounded_gain, send
from hasten.offline.search.heuristic import Heuristic, price_until

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ProjectedLabels(NamedTuple):
    """Partial plans; the first dimension is the label."""

    device_ms: FloatArray
    """(B, M): free times."""
    link_ms: FloatArray
    edge_ms: FloatArray
    gain: FloatArray
    """(B,): gain of the tasks whose finish is certain."""
    ahead: FloatArray
    """(B, M): what each stream alone can still gain."""
    total: FloatArray
    """(B,): gain of all tasks if nothing else is decided."""
    paid: FloatArray
    """(B,): price of the uplink and edge time that is gone or taken then."""
    score: FloatArray
    """(B,): total, less what is paid, plus all that is ahead."""
    waiting: IntArray
    """(B,): number of sent tasks whose place is not certain, in order of readiness."""
    task: IntArray
    """(B, P)"""
    option: IntArray
    ready_ms: FloatArray


class Scratch(NamedTuple):
    """Working memory of a projection: sent tasks in order of readiness (P,), their stages, their order at the edge."""

    task: IntArray
    option: IntArray
    ready_ms: FloatArray
    start_ms: FloatArray
    sent_ms: FloatArray
    order: IntArray
    link_ms: FloatArray
    edge_ms: FloatArray


class Projection(NamedTuple):
    """What a label's uncertain tasks come to if nothing else is decided."""

    feasible: bool
    gain: float
    paid: float
    """Price of the uplink and edge time that they take from now on."""


@inlined
def paid_by_free_times(labels: ProjectedLabels, heuristic: Heuristic, b: int, now_ms: float) -> Any:
    """Price of the time that is gone by now, or taken for good."""
    paid = 0.0
    for i in range(labels.link_ms.shape[1]):
        paid += price_until(heuristic, heuristic.link_paid[i], max(labels.link_ms[b, i], now_ms))
    for w in range(labels.edge_ms.shape[1]):
        paid += price_until(heuristic, heuristic.edge_paid, max(labels.edge_ms[b, w], now_ms))
    return paid


@inlined
def line_up(labels: ProjectedLabels, b: int, task: int, option: int, ready_ms: float, scratch: Scratch) -> int:
    """Copy a label's uncertain tasks and, unless ``task`` is negative, insert one more; returns their number.

    Ties in readiness go to the earlier decision, and the new task is decided last.
    """
    n = 0
    placed = task < 0
    for i in range(labels.waiting[b]):
        if not placed and labels.ready_ms[b, i] > ready_ms:
            scratch.task[n], scratch.option[n], scratch.ready_ms[n] = task, option, ready_ms
            n += 1
            placed = True
        scratch.task[n] = labels.task[b, i]
        scratch.option[n] = labels.option[b, i]
        scratch.ready_ms[n] = labels.ready_ms[b, i]
        n += 1
    if not placed:
        scratch.task[n], scratch.option[n], scratch.ready_ms[n] = task, option, ready_ms
        n += 1
    return n


@inlined
def _send_all(instance: Instance, labels: ProjectedLabels, b: int, n: int, scratch: Scratch) -> None:
    """Project the uplink for the ``n`` tasks in scratch, and line them up by arrival at the edge."""
    costs, rates, tasks = instance
    for i in range(len(scratch.link_ms)):
        scratch.link_ms[i] = labels.link_ms[b, i]
    for i in range(n):
        k = scratch.task[i]
        link = 0 if costs.links == 1 else tasks.stream[k]
        start_ms = stage_start(scratch.ready_ms[i], scratch.link_ms[link])
        end_ms = send(start_ms, costs.payload_bits[tasks.case[k], scratch.option[i]], rates, link)
        scratch.start_ms[i], scratch.sent_ms[i], scratch.link_ms[link] = start_ms, end_ms, end_ms
        at = i
        while at > 0:
            other = scratch.order[at - 1]
            earlier = scratch.sent_ms[other]
            if earlier < end_ms or (earlier == end_ms and scratch.task[other] < scratch.task[i]):
                break
            scratch.order[at] = other
            at -= 1
        scratch.order[at] = i


@compiled
def project(
    instance: Instance, heuristic: Heuristic, labels: ProjectedLabels, b: int, n: int, now_ms: float, scratch: Scratch
) -> Any:
    """Project the ``n`` tasks in scratch through uplink and edge; infeasible as soon as one is late."""
    costs, _, tasks = instance
    _send_all(instance, labels, b, n, scratch)
    for i in range(len(scratch.edge_ms)):
        scratch.edge_ms[i] = labels.edge_ms[b, i]
    gain, paid = 0.0, 0.0
    for r in range(n):
        i = scratch.order[r]
        k, j = scratch.task[i], scratch.option[i]
        stream, case = tasks.stream[k], tasks.case[k]
        worker = np.argmin(scratch.edge_ms)
        start_ms = stage_start(half_way(scratch.sent_ms[i], costs.rtt_ms), scratch.edge_ms[worker])
        end_ms, answer_ms = edge_ends(scratch.sent_ms[i], scratch.edge_ms[worker], costs.edge_ms[case, j], costs.rtt_ms)
        latency_ms = answer_ms - tasks.arrival_ms[k]
        if not latency_ms <= costs.limit_ms[case, j]:
            return Projection(False, 0.0, 0.0)
        scratch.edge_ms[worker] = end_ms
        gain += rounded_gain(costs, case, j, latency_ms)
        link_paid = heuristic.link_paid[0 if costs.links == 1 else stream]
        paid += price_until(heuristic, link_paid, max(scratch.sent_ms[i], now_ms))
        paid -= price_until(heuristic, link_paid, max(scratch.start_ms[i], now_ms))
        paid += price_until(heuristic, heuristic.edge_paid, max(end_ms, now_ms))
        paid -= price_until(heuristic, heuristic.edge_paid, max(start_ms, now_ms))
    return Projection(True, gain, paid)


@compiled
def settle(instance: Instance, labels: ProjectedLabels, b: int, now_ms: float, scratch: Scratch) -> None:
    """Make certain what no later decision can overtake: tasks that have been sent by now."""
    costs, _, tasks = instance
    n = line_up(labels, b, -1, DROP, 0.0, scratch)
    _send_all(instance, labels, b, n, scratch)
    for r in range(n):
        i = scratch.order[r]
        if scratch.sent_ms[i] > now_ms:
            break
        k, j = scratch.task[i], scratch.option[i]
        stream, case = tasks.stream[k], tasks.case[k]
        worker = np.argmin(labels.edge_ms[b])
        end_ms, answer_ms = edge_ends(
            scratch.sent_ms[i], labels.edge_ms[b, worker], costs.edge_ms[case, j], costs.rtt_ms
        )
        labels.edge_ms[b, worker] = end_ms
        labels.link_ms[b, 0 if costs.links == 1 else stream] = scratch.sent_ms[i]
        latency_ms = answer_ms - tasks.arrival_ms[k]
        labels.gain[b] += rounded_gain(costs, case, j, latency_ms)
    left = 0
    for i in range(n):
        if scratch.sent_ms[i] > now_ms:
            labels.task[b, left] = scratch.task[i]
            labels.option[b, left] = scratch.option[i]
            labels.ready_ms[b, left] = scratch.ready_ms[i]
            left += 1
    labels.waiting[b] = left


def new_labels(width: int, streams: int, links: int, workers: int, waiting: int) -> ProjectedLabels:
    """Room for ``width`` labels with up to ``waiting`` tasks each; the first one has everything idle."""
    return ProjectedLabels(
        device_ms=np.zeros((width, streams)),
        link_ms=np.zeros((width, links)),
        edge_ms=np.zeros((width, workers)),
        gain=np.zeros(width),
        ahead=np.zeros((width, streams)),
        total=np.zeros(width),
        paid=np.zeros(width),
        score=np.zeros(width),
        waiting=np.zeros(width, np.int64),
        task=np.zeros((width, waiting), np.int64),
        option=np.zeros((width, waiting), np.int64),
        ready_ms=np.zeros((width, waiting)),
    )


def new_scratch(waiting: int, links: int, workers: int) -> Scratch:
    """Room for projecting up to ``waiting`` tasks."""
    return Scratch(
        task=np.zeros(waiting, np.int64),
        option=np.zeros(waiting, np.int64),
        ready_ms=np.zeros(waiting),
        start_ms=np.zeros(waiting),
        sent_ms=np.zeros(waiting),
        order=np.zeros(waiting, np.int64),
        link_ms=np.zeros(links),
        edge_ms=np.zeros(workers),
    )
