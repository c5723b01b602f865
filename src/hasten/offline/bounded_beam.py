"""Plans by beam search under the guidance of prices; compiled, for every topology, order and number of workers.

A label is a partial plan with the state of all resources. Its score is what it has gained, plus what each stream
alone could still gain from its device's backlog on (the values of ``offline.bounds``), plus the price of all uplink and
edge time that is not yet taken. In grant order a score is an upper bound on the gain of all completions, so the
highest score that the beam ever cut bounds what the search missed; when that is no more than the best plan gains, the
plan is optimal.

In ready order a task that is decided later may overtake on the uplink. Labels therefore carry the sent tasks whose
turn is not certain yet and project them anew with each decision; a decision that would make one of them late is
not considered. Scores are no bounds there, because a projected task may still change its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import stage_end
from hasten.offline.bounds import Grid
from hasten.offline.decomposition import Prices
from hasten.offline.instance import Instance, instance_of, rounded_gain, send
from hasten.offline.plan import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_WAITING = 192
"""Tasks that a label may hold whose turn is not certain; a decision beyond that is not considered."""
TWIN_SCORE = 1e-9
"""Labels of scores this close are compared state by state, to keep only one of equals."""
TWIN_MS = 1e-9
HISTOGRAM_BINS = 1024
TASKS_PER_CALL = 256
"""Tasks decided in one stretch of compiled code, which neither a time limit nor Ctrl-C can interrupt."""


class Guide(NamedTuple):
    """What scores are made of; see ``offline.bounds`` for tasks by stream (Q) and cells (T)."""

    place: IntArray
    """(N,): position q of each task in order of streams."""
    stream_end: IntArray
    """(M,): one past each stream's last position."""
    first_cell: IntArray
    """(Q,): cell of each task's arrival."""
    values: FloatArray
    """(Q, width): what a stream can gain from this task on, by its device's backlog in cells."""
    usable: NDArray[np.bool_]
    """(M, J)"""
    link_paid: FloatArray
    """(L, T + 1): price of all time of a link before each cell."""
    edge_paid: FloatArray
    """(T + 1,): likewise for one worker."""
    all_paid: float
    """Price of all time of all links and workers."""
    cell_ms: float
    origin_cell: int


class Labels(NamedTuple):
    """Partial plans; the first dimension is the label."""

    device_ms: FloatArray
    """(B, M): free times."""
    link_ms: FloatArray
    edge_ms: FloatArray
    gain: FloatArray
    """(B,): gain of the tasks whose finish is certain."""
    future: FloatArray
    """(B,): what all streams alone can still gain."""
    score: FloatArray
    waiting: IntArray
    """(B,): number of sent tasks whose turn is not certain, in order of readiness."""
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


@dataclass(frozen=True)
class BeamPlan:
    """The best plan found, and what the search proves about all others."""

    option: IntArray
    """(N,): option index in the scenario's table, or DROP."""
    bound: float
    """No plan's total gain exceeds this; infinity where scores are no bounds."""


def beam_plan(
    scenario: Scenario,
    realization: Realization,
    prices: Prices,
    grid: Grid,
    values: FloatArray,
    width: int,
    limit: TimeLimit,
) -> BeamPlan:
    """Search with ``width`` labels; ``values`` (Q, grid.width) are those of the relaxation at the prices.

    When the time is up or the user interrupts, the tasks that are left are dropped.
    """
    instance, column = instance_of(scenario, realization)
    place = np.empty(realization.tasks, dtype=np.int64)
    place[grid.order] = np.arange(realization.tasks)
    link_paid = np.zeros((grid.links, grid.cells + 1))
    np.cumsum(prices.link, axis=1, out=link_paid[:, 1:])
    edge_paid = np.concatenate([[0.0], np.cumsum(prices.edge)])
    guide = Guide(
        place=place,
        stream_end=grid.first[1:].copy(),
        first_cell=grid.arrival,
        values=values,
        usable=grid.usable,
        link_paid=link_paid,
        edge_paid=edge_paid,
        all_paid=float(link_paid[:, -1].sum() + grid.workers * edge_paid[-1]),
        cell_ms=grid.cell_ms,
        origin_cell=grid.origin_cell,
    )
    ready = scenario.uplink.order == "ready" and len(scenario.devices) > 1
    chosen, bound = _search(instance, guide, grid.first[:-1].copy(), width, ready, limit)
    option = np.where(chosen == DROP, DROP, column[realization.stream, np.maximum(chosen, 0)])
    return BeamPlan(option=option, bound=np.inf if ready else bound + grid.base_gain)


def _search(
    instance: Instance, guide: Guide, stream_first: IntArray, width: int, ready: bool, limit: TimeLimit
) -> tuple[IntArray, float]:
    """Options (N,) of the best plan, and the bound above dropping everything that the search proves."""
    costs, _, tasks = instance
    n, (streams, options) = len(tasks.arrival_ms), costs.device_ms.shape
    most_waiting = MOST_WAITING if ready else 1
    labels = _new_labels(width, streams, costs.links, costs.workers, most_waiting)
    after = _new_labels(width, streams, costs.links, costs.workers, most_waiting)
    scratch = _new_scratch(most_waiting + 1, costs.links, costs.workers)
    steps = _new_steps(width * (options + 1))
    parent, taken = np.zeros((n, width), np.int32), np.full((n, width), DROP, np.int16)
    labels.future[0] = _first_future(guide, stream_first)
    count, cut, decided = 1, -np.inf, 0
    try:
        while decided < n and not limit.expired:
            end = min(decided + TASKS_PER_CALL, n)
            count, missed = _advance(
                instance, guide, labels, after, count, decided, end, ready, steps, scratch, parent, taken
            )
            cut = max(cut, missed)
            if (end - decided) % 2:
                labels, after = after, labels
            decided = end
    except KeyboardInterrupt:
        limit.cancel()
    best, gain = _best_label(instance, labels, count, ready, scratch)
    chosen = np.full(n, DROP)
    for k in range(decided - 1, -1, -1):
        chosen[k] = taken[k, best]
        best = parent[k, best]
    return chosen, max(cut, gain) if decided == n else np.inf


@njit(cache=True)
def _paid_until(guide: Guide, paid: FloatArray, time_ms: float) -> Any:
    """Price of all time before ``time_ms``."""
    position = time_ms / guide.cell_ms - guide.origin_cell
    last = len(paid) - 1
    if position >= last:
        return paid[last]
    cell = int(position)
    return paid[cell] + (position - cell) * (paid[cell + 1] - paid[cell])


@njit(cache=True)
def _future(guide: Guide, stream: int, q: int, free_ms: float) -> Any:
    """What a stream can gain from its task at ``q`` on when its device is free from ``free_ms``."""
    if q >= guide.stream_end[stream]:
        return 0.0
    backlog = int(free_ms / guide.cell_ms) - guide.origin_cell - guide.first_cell[q]
    return guide.values[q, min(max(backlog, 0), guide.values.shape[1] - 1)]


@njit(cache=True)
def _paid_by_free_times(labels: Labels, guide: Guide, b: int, now_ms: float) -> Any:
    """Price of the time that is gone by now, or taken for good."""
    paid = 0.0
    for i in range(labels.link_ms.shape[1]):
        paid += _paid_until(guide, guide.link_paid[i], max(labels.link_ms[b, i], now_ms))
    for w in range(labels.edge_ms.shape[1]):
        paid += _paid_until(guide, guide.edge_paid, max(labels.edge_ms[b, w], now_ms))
    return paid


@njit(cache=True)
def _line_up(labels: Labels, b: int, task: int, option: int, ready_ms: float, scratch: Scratch) -> int:
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


@njit(cache=True)
def _send_all(instance: Instance, labels: Labels, b: int, n: int, scratch: Scratch) -> None:
    """Project the uplink for the ``n`` tasks in scratch, and line them up by arrival at the edge."""
    costs, rates, tasks = instance
    for i in range(len(scratch.link_ms)):
        scratch.link_ms[i] = labels.link_ms[b, i]
    for i in range(n):
        stream = tasks.stream[scratch.task[i]]
        link = 0 if costs.links == 1 else stream
        start_ms = max(scratch.ready_ms[i], scratch.link_ms[link])
        end_ms = send(rates, link, start_ms, costs.payload_bits[stream, scratch.option[i]])
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


@njit(cache=True)
def _project(instance: Instance, guide: Guide, labels: Labels, b: int, n: int, now_ms: float, scratch: Scratch) -> Any:
    """Project the ``n`` tasks in scratch through uplink and edge; infeasible as soon as one is late."""
    costs, _, tasks = instance
    _send_all(instance, labels, b, n, scratch)
    for i in range(len(scratch.edge_ms)):
        scratch.edge_ms[i] = labels.edge_ms[b, i]
    gain, paid = 0.0, 0.0
    for r in range(n):
        i = scratch.order[r]
        k, j = scratch.task[i], scratch.option[i]
        stream = tasks.stream[k]
        worker = np.argmin(scratch.edge_ms)
        start_ms = max(scratch.sent_ms[i] + 0.5 * costs.rtt_ms, scratch.edge_ms[worker])
        end_ms = start_ms + costs.edge_ms[stream, j]
        latency_ms = end_ms + 0.5 * costs.rtt_ms - tasks.arrival_ms[k]
        if not latency_ms <= costs.limit_ms[stream]:
            return Projection(False, 0.0, 0.0)
        scratch.edge_ms[worker] = end_ms
        gain += rounded_gain(costs, stream, j, latency_ms)
        link_paid = guide.link_paid[0 if costs.links == 1 else stream]
        paid += _paid_until(guide, link_paid, max(scratch.sent_ms[i], now_ms))
        paid -= _paid_until(guide, link_paid, max(scratch.start_ms[i], now_ms))
        paid += _paid_until(guide, guide.edge_paid, max(end_ms, now_ms))
        paid -= _paid_until(guide, guide.edge_paid, max(start_ms, now_ms))
    return Projection(True, gain, paid)


@njit(cache=True)
def _settle(instance: Instance, labels: Labels, b: int, now_ms: float, scratch: Scratch) -> None:
    """Make certain what no later decision can overtake: tasks that have been sent by now."""
    costs, _, tasks = instance
    n = _line_up(labels, b, -1, DROP, 0.0, scratch)
    _send_all(instance, labels, b, n, scratch)
    for r in range(n):
        i = scratch.order[r]
        if scratch.sent_ms[i] > now_ms:
            break
        k, j = scratch.task[i], scratch.option[i]
        stream = tasks.stream[k]
        worker = np.argmin(labels.edge_ms[b])
        end_ms = stage_end(scratch.sent_ms[i] + 0.5 * costs.rtt_ms, labels.edge_ms[b, worker], costs.edge_ms[stream, j])
        labels.edge_ms[b, worker] = end_ms
        labels.link_ms[b, 0 if costs.links == 1 else stream] = scratch.sent_ms[i]
        latency_ms = end_ms + 0.5 * costs.rtt_ms - tasks.arrival_ms[k]
        labels.gain[b] += rounded_gain(costs, stream, j, latency_ms)
    left = 0
    for i in range(n):
        if scratch.sent_ms[i] > now_ms:
            labels.task[b, left] = scratch.task[i]
            labels.option[b, left] = scratch.option[i]
            labels.ready_ms[b, left] = scratch.ready_ms[i]
            left += 1
    labels.waiting[b] = left


class Steps(NamedTuple):
    """All ways on from all labels at one decision (C,): which label and option, and what the option changes."""

    label: IntArray
    option: IntArray
    device_ms: FloatArray
    link_ms: FloatArray
    edge_ms: FloatArray
    gain: FloatArray
    future: FloatArray
    score: FloatArray


@njit(cache=True)
def _expand(
    instance: Instance,
    guide: Guide,
    labels: Labels,
    b: int,
    k: int,
    ready: bool,
    steps: Steps,
    found: int,
    scratch: Scratch,
) -> int:
    """Append all decisions on task ``k`` that label ``b`` can make to ``steps``; returns the new number of steps."""
    costs, rates, tasks = instance
    now_ms, stream, q = tasks.arrival_ms[k], tasks.stream[k], guide.place[k]
    link = 0 if costs.links == 1 else stream
    worker = np.argmin(labels.edge_ms[b])
    unpaid = guide.all_paid - _paid_by_free_times(labels, guide, b, now_ms)
    others = labels.future[b] - _future(guide, stream, q, labels.device_ms[b, stream])
    waiting = Projection(True, 0.0, 0.0)
    if ready:
        waiting = _project(instance, guide, labels, b, _line_up(labels, b, -1, DROP, 0.0, scratch), now_ms, scratch)
    for j in range(-1, costs.device_ms.shape[1]):
        device_ms, link_ms, edge_ms = labels.device_ms[b, stream], labels.link_ms[b, link], labels.edge_ms[b, worker]
        gain, sure, paid = waiting.gain, 0.0, waiting.paid
        if j != DROP:
            if not guide.usable[stream, j]:
                continue
            device_ms = stage_end(now_ms, device_ms, costs.device_ms[stream, j])
            if device_ms - now_ms > costs.limit_ms[stream]:
                continue
            if costs.payload_bits[stream, j] == 0:
                sure = rounded_gain(costs, stream, j, device_ms - now_ms)
            elif ready:
                if labels.waiting[b] >= labels.task.shape[1]:
                    continue
                n = _line_up(labels, b, k, j, device_ms, scratch)
                together = _project(instance, guide, labels, b, n, now_ms, scratch)
                if not together.feasible:
                    continue
                gain, paid = together.gain, together.paid
            else:
                before_ms = link_ms, edge_ms
                link_ms = send(rates, link, max(device_ms, link_ms), costs.payload_bits[stream, j])
                edge_ms = stage_end(link_ms + 0.5 * costs.rtt_ms, edge_ms, costs.edge_ms[stream, j])
                latency_ms = edge_ms + 0.5 * costs.rtt_ms - now_ms
                if not latency_ms <= costs.limit_ms[stream]:
                    continue
                sure = rounded_gain(costs, stream, j, latency_ms)
                paid += _paid_until(guide, guide.link_paid[link], max(link_ms, now_ms))
                paid -= _paid_until(guide, guide.link_paid[link], max(before_ms[0], now_ms))
                paid += _paid_until(guide, guide.edge_paid, max(edge_ms, now_ms))
                paid -= _paid_until(guide, guide.edge_paid, max(before_ms[1], now_ms))
        future = others + _future(guide, stream, q + 1, device_ms)
        steps.label[found], steps.option[found] = b, j
        steps.device_ms[found], steps.link_ms[found], steps.edge_ms[found] = device_ms, link_ms, edge_ms
        steps.gain[found], steps.future[found] = labels.gain[b] + sure, future
        steps.score[found] = labels.gain[b] + sure + gain + future + unpaid - paid
        found += 1
    return found


@njit(cache=True)
def _follow(
    instance: Instance, labels: Labels, after: Labels, to: int, k: int, ready: bool, steps: Steps, c: int
) -> None:
    """Write the label that step ``c`` leads to into row ``to`` of ``after``."""
    costs, _, tasks = instance
    b, j, stream = steps.label[c], steps.option[c], tasks.stream[k]
    for i in range(labels.device_ms.shape[1]):
        after.device_ms[to, i] = labels.device_ms[b, i]
    for i in range(labels.link_ms.shape[1]):
        after.link_ms[to, i] = labels.link_ms[b, i]
    for i in range(labels.edge_ms.shape[1]):
        after.edge_ms[to, i] = labels.edge_ms[b, i]
    after.device_ms[to, stream] = steps.device_ms[c]
    after.gain[to], after.future[to], after.score[to] = steps.gain[c], steps.future[c], steps.score[c]
    n = labels.waiting[b]
    after.waiting[to] = n
    for i in range(n):
        after.task[to, i] = labels.task[b, i]
        after.option[to, i] = labels.option[b, i]
        after.ready_ms[to, i] = labels.ready_ms[b, i]
    if j == DROP or costs.payload_bits[stream, j] == 0:
        return
    if not ready:
        after.link_ms[to, 0 if costs.links == 1 else stream] = steps.link_ms[c]
        after.edge_ms[to, np.argmin(labels.edge_ms[b])] = steps.edge_ms[c]
        return
    at = n
    while at > 0 and after.ready_ms[to, at - 1] > steps.device_ms[c]:
        after.task[to, at] = after.task[to, at - 1]
        after.option[to, at] = after.option[to, at - 1]
        after.ready_ms[to, at] = after.ready_ms[to, at - 1]
        at -= 1
    after.task[to, at], after.option[to, at], after.ready_ms[to, at] = k, j, steps.device_ms[c]
    after.waiting[to] = n + 1


@njit(cache=True)
def _twins(labels: Labels, a: int, b: int, now_ms: float) -> bool:
    """Whether two labels are in the same state as seen from now."""
    for i in range(labels.device_ms.shape[1]):
        if abs(max(labels.device_ms[a, i], now_ms) - max(labels.device_ms[b, i], now_ms)) > TWIN_MS:
            return False
    for i in range(labels.link_ms.shape[1]):
        if abs(max(labels.link_ms[a, i], now_ms) - max(labels.link_ms[b, i], now_ms)) > TWIN_MS:
            return False
    difference_ms = 0.0
    for i in range(labels.edge_ms.shape[1]):  # workers are interchangeable, and equal sums of them hardly a chance
        difference_ms += max(labels.edge_ms[a, i], now_ms) - max(labels.edge_ms[b, i], now_ms)
    if abs(difference_ms) > TWIN_MS:
        return False
    if labels.waiting[a] != labels.waiting[b]:
        return False
    for i in range(labels.waiting[a]):
        if abs(labels.ready_ms[a, i] - labels.ready_ms[b, i]) > TWIN_MS or labels.option[a, i] != labels.option[b, i]:
            return False
    return True


@njit(cache=True)
def _threshold(score: FloatArray, found: int, wanted: int) -> float:
    """A score that at least ``wanted`` of the first ``found`` reach, and few more: the edge of a histogram's bin."""
    lowest, highest = np.inf, -np.inf
    for c in range(found):
        lowest, highest = min(lowest, score[c]), max(highest, score[c])
    if found <= wanted or highest <= lowest:
        return lowest
    bins = np.zeros(HISTOGRAM_BINS, np.int64)
    per_score = (HISTOGRAM_BINS - 1) / (highest - lowest)
    for c in range(found):
        bins[int((score[c] - lowest) * per_score)] += 1
    at, reached = HISTOGRAM_BINS, 0
    while reached < wanted:
        at -= 1
        reached += bins[at]
    return min(lowest + at / per_score, highest) - TWIN_SCORE


@njit(cache=True)
def _keep_best(
    instance: Instance,
    labels: Labels,
    after: Labels,
    k: int,
    ready: bool,
    steps: Steps,
    found: int,
    parent: Any,
    taken: Any,
) -> Any:
    """Fill ``after`` with the best of ``found`` steps, one of each state; returns their number and the best cut."""
    width = len(labels.gain)
    now_ms = instance.tasks.arrival_ms[k]
    least = _threshold(steps.score, found, 2 * width)
    likely = np.empty(found, np.int64)
    minus = np.empty(found)
    candidates, kept, cut = 0, 0, -np.inf
    for c in range(found):
        if steps.score[c] < least:
            cut = max(cut, steps.score[c])
            continue
        likely[candidates], minus[candidates] = c, -steps.score[c]
        candidates += 1
    for r in np.argsort(minus[:candidates]):
        c = likely[r]
        if kept == width:
            cut = max(cut, steps.score[c])
            break
        _follow(instance, labels, after, kept, k, ready, steps, c)
        twin = False
        before = kept - 1
        while before >= 0 and after.score[before] <= steps.score[c] + TWIN_SCORE and not twin:
            twin = _twins(after, before, kept, now_ms)
            before -= 1
        if not twin:
            parent[k, kept], taken[k, kept] = steps.label[c], steps.option[c]
            kept += 1
    return kept, cut


def _new_labels(width: int, streams: int, links: int, workers: int, waiting: int) -> Labels:
    return Labels(
        device_ms=np.zeros((width, streams)),
        link_ms=np.zeros((width, links)),
        edge_ms=np.zeros((width, workers)),
        gain=np.zeros(width),
        future=np.zeros(width),
        score=np.zeros(width),
        waiting=np.zeros(width, np.int64),
        task=np.zeros((width, waiting), np.int64),
        option=np.zeros((width, waiting), np.int64),
        ready_ms=np.zeros((width, waiting)),
    )


def _new_scratch(waiting: int, links: int, workers: int) -> Scratch:
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


def _new_steps(most: int) -> Steps:
    return Steps(
        label=np.zeros(most, np.int64),
        option=np.zeros(most, np.int64),
        device_ms=np.zeros(most),
        link_ms=np.zeros(most),
        edge_ms=np.zeros(most),
        gain=np.zeros(most),
        future=np.zeros(most),
        score=np.zeros(most),
    )


@njit(cache=True)
def _first_future(guide: Guide, stream_first: IntArray) -> Any:
    """What all streams alone can gain from an empty system."""
    total = 0.0
    for m in range(len(stream_first)):
        total += _future(guide, m, stream_first[m], 0.0)
    return total


@njit(cache=True)
def _advance(
    instance: Instance, guide: Guide, labels: Labels, after: Labels, count: int, begin: int, end: int, ready: bool,
    steps: Steps, scratch: Scratch, parent: Any, taken: Any,
) -> Any:  # fmt: skip
    """Decide tasks ``begin`` to ``end``; returns how many labels there are now and the best cut.

    The labels take turns in ``labels`` and ``after``: after an odd number of tasks they are in ``after``.
    """
    cut = -np.inf
    for k in range(begin, end):
        found = 0
        for b in range(count):
            if ready:
                _settle(instance, labels, b, instance.tasks.arrival_ms[k], scratch)
            found = _expand(instance, guide, labels, b, k, ready, steps, found, scratch)
        count, missed = _keep_best(instance, labels, after, k, ready, steps, found, parent, taken)
        cut = max(cut, missed)
        labels, after = after, labels
    return count, cut


@njit(cache=True)
def _best_label(instance: Instance, labels: Labels, count: int, ready: bool, scratch: Scratch) -> Any:
    """The label that has gained most when all its sent tasks are answered."""
    best, best_gain = 0, -np.inf
    for b in range(count):
        if ready:
            _settle(instance, labels, b, np.inf, scratch)
        if labels.gain[b] > best_gain:
            best, best_gain = b, labels.gain[b]
    return best, best_gain
