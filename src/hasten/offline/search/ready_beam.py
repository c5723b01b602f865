"""Plans for ready order on dedicated uplinks: a guided beam search over partial plans (``ready_labels``).

A label's rank is what its tasks gain if nothing else is decided, plus what each stream alone can still gain from its
device's free time on, less the price of all uplink and edge time that is then taken or gone. It is no bound, because
a projected task may still change its place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled
from hasten.core.options import DROP
from hasten.core.timing import stage_end
from hasten.offline.instance import Instance, rounded_gain
from hasten.offline.search.heuristic import Heuristic, value_to_go
from hasten.offline.search.ready_labels import (
    ProjectedLabels,
    Scratch,
    line_up,
    new_labels,
    new_scratch,
    paid_by_free_times,
    project,
    settle,
)
from hasten.offline.time_limit import TimeLimit, paced

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_WAITING = 192
"""Tasks that a label may hold whose place is not certain; a decision beyond that is not considered."""
CAUTION = 5.0
"""A label is dominated when another leads by this times what is worse about the other, at the heuristic's prices."""
CANDIDATES = 8
"""The best decisions are looked at, this many for each label that may be kept."""
ROUNDING = 1e-9
HISTOGRAM_BINS = 1024
TASKS_PER_CALL = 256
"""Most tasks decided in one stretch of compiled code, in which neither a time limit nor Ctrl-C is noticed."""
FIRST_TASKS = 4
"""Tasks decided in the first stretch."""


def ready_beam(instance: Instance, heuristic: Heuristic, width: int, limit: TimeLimit, start: IntArray) -> IntArray:
    """Columns (N,) of the instance's options, or DROP, found with ``width`` labels.

    When the time is up or the user interrupts, the tasks that are left are decided as in ``start`` (N,).
    """
    costs, _, tasks = instance
    n, streams, options = len(tasks.arrival_ms), costs.streams, costs.device_ms.shape[1]
    labels = new_labels(width, streams, costs.links, costs.workers, MOST_WAITING)
    after = new_labels(width, streams, costs.links, costs.workers, MOST_WAITING)
    scratch = new_scratch(MOST_WAITING + 1, costs.links, costs.workers)
    successors = _new_successors(width * (options + 1))
    parent, taken = np.zeros((n, width), np.int32), np.full((n, width), DROP, np.int16)
    for m in range(streams):
        labels.ahead[0, m] = value_to_go(heuristic, m, heuristic.stream_first[m], 0.0)
    count, decided, several = 1, 0, FIRST_TASKS
    while decided < n and not limit.expired:
        began_s = limit.spent_s
        end = min(decided + several, n)
        count = _advance(instance, heuristic, labels, after, count, decided, end, successors, scratch, parent, taken)
        if (end - decided) % 2:
            labels, after = after, labels
        decided = end
        several = paced(several, limit.spent_s - began_s, TASKS_PER_CALL)
    best = _best_label(instance, labels, count, scratch)
    chosen = start.copy()
    for k in range(decided - 1, -1, -1):
        chosen[k] = taken[k, best]
        best = parent[k, best]
    return chosen


class Successors(NamedTuple):
    """All ways on from all labels at one decision (C,): which label and option, and what the option changes."""

    label: IntArray
    option: IntArray
    device_ms: FloatArray
    gain: FloatArray
    ahead: FloatArray
    """(C,): of the deciding stream."""
    total: FloatArray
    paid: FloatArray
    score: FloatArray


@compiled
def _expand(
    instance: Instance,
    heuristic: Heuristic,
    labels: ProjectedLabels,
    b: int,
    k: int,
    successors: Successors,
    found: int,
    scratch: Scratch,
) -> int:
    """Append all decisions on task ``k`` that label ``b`` can make to ``successors``; returns their new number."""
    costs, _, tasks = instance
    now_ms, stream, case, q = tasks.arrival_ms[k], tasks.stream[k], tasks.case[k], heuristic.place[k]
    gone = paid_by_free_times(labels, heuristic, b, now_ms)
    others = 0.0
    for m in range(labels.ahead.shape[1]):
        if m != stream:
            others += labels.ahead[b, m]
    waiting = project(instance, heuristic, labels, b, line_up(labels, b, -1, DROP, 0.0, scratch), now_ms, scratch)
    for j in range(-1, costs.device_ms.shape[1]):
        device_ms, sure = labels.device_ms[b, stream], 0.0
        gain, paid = waiting.gain, waiting.paid
        if j != DROP:
            if not heuristic.usable[case, j]:
                continue
            device_ms = stage_end(now_ms, device_ms, costs.device_ms[case, j])
            if device_ms - now_ms > costs.limit_ms[case, j]:
                continue
            if costs.payload_bits[case, j] == 0:
                sure = rounded_gain(costs, case, j, device_ms - now_ms)
            else:
                if labels.waiting[b] >= labels.task.shape[1]:
                    continue
                n = line_up(labels, b, k, j, device_ms, scratch)
                together = project(instance, heuristic, labels, b, n, now_ms, scratch)
                if not together.feasible:
                    continue
                gain, paid = together.gain, together.paid
        ahead = value_to_go(heuristic, stream, q + 1, device_ms)
        successors.label[found], successors.option[found], successors.device_ms[found] = b, j, device_ms
        successors.gain[found], successors.ahead[found] = labels.gain[b] + sure, ahead
        successors.total[found], successors.paid[found] = labels.gain[b] + sure + gain, gone + paid
        successors.score[found] = successors.total[found] - successors.paid[found] + others + ahead
        found += 1
    return found


@compiled
def _follow(
    instance: Instance, labels: ProjectedLabels, after: ProjectedLabels, to: int, k: int, successors: Successors, c: int
) -> None:
    """Write the label that successor ``c`` is into row ``to`` of ``after``."""
    costs, _, tasks = instance
    b, j, stream = successors.label[c], successors.option[c], tasks.stream[k]
    for i in range(labels.device_ms.shape[1]):
        after.device_ms[to, i] = labels.device_ms[b, i]
        after.ahead[to, i] = labels.ahead[b, i]
    for i in range(labels.link_ms.shape[1]):
        after.link_ms[to, i] = labels.link_ms[b, i]
    for i in range(labels.edge_ms.shape[1]):
        after.edge_ms[to, i] = labels.edge_ms[b, i]
    after.device_ms[to, stream], after.ahead[to, stream] = successors.device_ms[c], successors.ahead[c]
    after.gain[to], after.total[to] = successors.gain[c], successors.total[c]
    after.paid[to], after.score[to] = successors.paid[c], successors.score[c]
    n = labels.waiting[b]
    after.waiting[to] = n
    for i in range(n):
        after.task[to, i] = labels.task[b, i]
        after.option[to, i] = labels.option[b, i]
        after.ready_ms[to, i] = labels.ready_ms[b, i]
    if j == DROP or costs.payload_bits[tasks.case[k], j] == 0:
        return
    at = n
    while at > 0 and after.ready_ms[to, at - 1] > successors.device_ms[c]:
        after.task[to, at] = after.task[to, at - 1]
        after.option[to, at] = after.option[to, at - 1]
        after.ready_ms[to, at] = after.ready_ms[to, at - 1]
        at -= 1
    after.task[to, at], after.option[to, at], after.ready_ms[to, at] = k, j, successors.device_ms[c]
    after.waiting[to] = n + 1


@compiled
def _heuristically_dominated(labels: ProjectedLabels, count: int, b: int) -> bool:
    """Whether one of the first ``count`` labels has gained more than all that is worse about it may cost."""
    for a in range(count):
        lead = labels.total[a] - labels.total[b] + ROUNDING
        if lead < 0.0:
            continue
        owed = CAUTION * max(labels.paid[a] - labels.paid[b], 0.0)
        for m in range(labels.ahead.shape[1]):
            if owed > lead:
                break
            owed += CAUTION * max(labels.ahead[b, m] - labels.ahead[a, m], 0.0)
        if owed <= lead:
            return True
    return False


@allocating
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
    return min(lowest + at / per_score, highest) - ROUNDING


@allocating
def _keep_best(
    instance: Instance,
    labels: ProjectedLabels,
    after: ProjectedLabels,
    k: int,
    successors: Successors,
    found: int,
    parent: Any,
    taken: Any,
) -> int:
    """Fill ``after`` with the best of ``found`` successors that are not dominated; returns their number."""
    width = len(labels.gain)
    least = _threshold(successors.score, found, CANDIDATES * width)
    promising = np.empty(found, np.int64)
    minus = np.empty(found)
    candidates, kept = 0, 0
    for c in range(found):
        if successors.score[c] >= least:
            promising[candidates], minus[candidates] = c, -successors.score[c]
            candidates += 1
    for r in np.argsort(minus[:candidates]):
        if kept == width:
            break
        c = promising[r]
        _follow(instance, labels, after, kept, k, successors, c)
        if not _heuristically_dominated(after, kept, kept):
            parent[k, kept], taken[k, kept] = successors.label[c], successors.option[c]
            kept += 1
    return kept


def _new_successors(most: int) -> Successors:
    return Successors(
        label=np.zeros(most, np.int64),
        option=np.zeros(most, np.int64),
        device_ms=np.zeros(most),
        gain=np.zeros(most),
        ahead=np.zeros(most),
        total=np.zeros(most),
        paid=np.zeros(most),
        score=np.zeros(most),
    )


@allocating
def _advance(
    instance: Instance,
    heuristic: Heuristic,
    labels: ProjectedLabels,
    after: ProjectedLabels,
    count: int,
    begin: int,
    end: int,
    successors: Successors,
    scratch: Scratch,
    parent: Any,
    taken: Any,
) -> Any:
    """Decide tasks ``begin`` to ``end``; returns how many labels there are now.

    The labels are in ``labels`` and ``after`` alternately: after an odd number of tasks they are in ``after``.
    """
    for k in range(begin, end):
        found = 0
        for b in range(count):
            settle(instance, labels, b, instance.tasks.arrival_ms[k], scratch)
            found = _expand(instance, heuristic, labels, b, k, successors, found, scratch)
        count = _keep_best(instance, labels, after, k, successors, found, parent, taken)
        labels, after = after, labels
    return count


@compiled
def _best_label(instance: Instance, labels: ProjectedLabels, count: int, scratch: Scratch) -> Any:
    """The label that has gained most when all its sent tasks are answered."""
    best, best_gain = 0, -np.inf
    for b in range(count):
        settle(instance, labels, b, np.inf, scratch)
        if labels.gain[b] > best_gain:
            best, best_gain = b, labels.gain[b]
    return best
