"""Plans for ready order on a shared uplink: a beam search that decides tasks in the order of their turns.

A tensor takes its turn when it is ready. If every decision is taken no sooner than that, in order of these moments and
not of arrivals, then nothing that is decided later can overtake, and a label knows exactly what its tasks gain and when
uplink and edge are free. At each moment at which a task could become ready, through one option or another, a label
branches: take an option, or let the moment pass. A task may be dropped when its stream's next one could start.

A label's rank is what it has gained, plus what each stream alone can still gain at the guide's prices with the moments
that have not passed, less the price of all uplink and edge time that is gone or taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.options import DROP
from hasten.core.timing import offload_ends
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.bound.decomposition import Prices
from hasten.offline.instance import Instance, rounded_gain, send
from hasten.offline.limits import TimeLimit
from hasten.offline.search.guide import Guide, future, paid_until

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEPS_PER_DEADLINE = 150
"""Labels are compared at steps of time of this share of a deadline."""
CAUTION = 5.0
"""A label is not needed when another leads by this times what is worse about the other, at the guide's prices."""
WAITING = 0.2
"""A millisecond that uplink or a worker is free later counts as at least this share of a task's worth per deadline."""
CHANCE = 0.25
"""A chance to decide on a task that another label no longer has counts as at least this share of a task's worth."""
ROUNDING = 1e-9
NEVER = -1e9
"""Worth of moments that do not exist."""
MOST_WORTHS = 1e8
"""No more worths of moments than this are kept at once."""
RECORD_ROOM = 200_000
"""Most decisions recorded in one stretch of compiled code."""
WORK_PER_CALL = 2_000_000
"""Comparisons of labels in one stretch of compiled code, in which neither a time limit nor Ctrl-C is noticed."""


class Moments(NamedTuple):
    """When tasks become ready: options of a stream by device time, of which there are G at most."""

    stage_ms: FloatArray
    """(M, G): device times, ascending; infinity beyond the last one."""
    group: IntArray
    """(M, J): which of these an option has, or -1 if it is not usable."""
    arrival_ms: FloatArray
    """(Q,): tasks by stream, then by arrival."""
    task: IntArray
    """(Q,): their index in order of arrival."""
    worth: NDArray[np.float32]
    """(Q, G, C): the most a stream can gain from a task on at the prices, if the task is taken through an option of
    this or a longer device time, by the device's backlog in ``stride`` cells."""
    stride: int
    least_gain: float
    """Least worth of a moment that has not passed, likewise."""
    least_price: float
    """Least price of a millisecond of uplink or edge for telling whether a label is needed: where load is light the
    guide's prices are nothing, yet it matters who has to wait."""


class Labels(NamedTuple):
    """Partial plans; the first dimension is the label."""

    gain: FloatArray
    link_ms: FloatArray
    edge_ms: FloatArray
    """(B, W): ascending."""
    score: FloatArray
    paid: FloatArray
    node: IntArray
    """(B,): last decision in the record, -1 without one."""
    at: IntArray
    """(B, M): the stream's next task (Q); likewise when its device is free, ..."""
    free_ms: FloatArray
    group: IntArray
    """... the next device time at which it could be ready, ..."""
    kept: NDArray[np.bool_]
    """... whether the moment to drop it has passed, ..."""
    ahead: FloatArray
    """... what the stream alone can still gain, and the next moment at which there is something to decide."""
    next_ms: FloatArray


class Steps(NamedTuple):
    """Ways on from all labels (C,): the deciding stream's columns of the label that each leads to."""

    label: IntArray
    stream: IntArray
    """(C,): -1 for a label that waits."""
    option: IntArray
    """(C,): NOTHING where no option is taken."""
    gain: FloatArray
    link_ms: FloatArray
    edge_end_ms: FloatArray
    """(C,): when the first free worker is free again."""
    at: IntArray
    free_ms: FloatArray
    group: IntArray
    kept: NDArray[np.bool_]
    ahead: FloatArray
    next_ms: FloatArray
    paid: FloatArray
    score: FloatArray


class Turn(NamedTuple):
    """Where a stream stands."""

    at: int
    group: int
    kept: bool
    ahead: float
    next_ms: float


def moments_of(instance: Instance, guide: Guide, relaxation: Relaxation, prices: Prices) -> Moments:
    """Lay out the device times of all streams and what they are worth at the prices."""
    costs, _, tasks = instance
    streams, options = costs.device_ms.shape
    stages = [np.unique(costs.device_ms[m, guide.usable[m]]) for m in range(streams)]
    stage_ms = np.full((streams, max(1, *(len(stage) for stage in stages))), np.inf)
    group = np.full((streams, options), -1)
    for m, stage in enumerate(stages):
        stage_ms[m, : len(stage)] = stage
        group[m] = np.where(guide.usable[m], np.searchsorted(stage, costs.device_ms[m]), -1)
    task = np.empty(len(guide.place), dtype=np.int64)
    task[guide.place] = np.arange(len(task))
    width = guide.values.shape[1]
    cells = max(1, min(width, int(MOST_WORTHS / max(len(task) * stage_ms.shape[1], 1))))
    worth = np.full((len(task), stage_ms.shape[1], cells), NEVER, dtype=np.float32)
    relaxation.worth_by_stage(prices.link, prices.edge, guide.values, group, worth)
    most = float(np.max(costs.worth[guide.usable], initial=0.0))
    least_price = WAITING * most / float(costs.deadline_ms.min())
    return Moments(stage_ms, group, tasks.arrival_ms[task], task, worth, -(-width // cells), CHANCE * most, least_price)


def turn_beam(instance: Instance, guide: Guide, moments: Moments, width: int, limit: TimeLimit) -> IntArray:
    """Columns (N,) of the instance's options, or DROP, found with ``width`` labels.

    When the time is up a single label goes on; when the user interrupts, the tasks that are left are dropped.
    """
    costs, _, tasks = instance
    n, streams = len(tasks.arrival_ms), len(costs.options)
    labels, after = (_new_labels(width, streams, costs.workers) for _ in range(2))
    steps = _new_steps(width * (costs.device_ms.shape[1] + 2))
    for m in range(streams):
        labels.at[0, m] = guide.stream_first[m]
        turn = Turn(*_look(instance, guide, moments, m, labels.at[0, m], 0.0, 0, False, -np.inf))
        labels.at[0, m], labels.group[0, m], labels.kept[0, m] = turn.at, turn.group, turn.kept
        labels.ahead[0, m], labels.next_ms[0, m] = turn.ahead, turn.next_ms
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
            instance, guide, moments, labels, after, count, width, step_ms, steps, record, recorded,
            recorded + RECORD_ROOM, WORK_PER_CALL,
        )  # fmt: skip
        if swapped:
            labels, after = after, labels
    node = labels.node[np.argmax(labels.gain[:count])]
    while node >= 0:
        chosen[record[node, 1]] = record[node, 2]
        node = record[node, 0]
    return chosen


def _new_labels(width: int, streams: int, workers: int) -> Labels:
    return Labels(
        gain=np.zeros(width),
        link_ms=np.zeros(width),
        edge_ms=np.zeros((width, workers)),
        score=np.zeros(width),
        paid=np.zeros(width),
        node=np.full(width, -1),
        at=np.zeros((width, streams), np.int64),
        free_ms=np.zeros((width, streams)),
        group=np.zeros((width, streams), np.int64),
        kept=np.zeros((width, streams), np.bool_),
        ahead=np.zeros((width, streams)),
        next_ms=np.full((width, streams), np.inf),
    )


def _new_steps(most: int) -> Steps:
    return Steps(
        label=np.zeros(most, np.int64),
        stream=np.zeros(most, np.int64),
        option=np.zeros(most, np.int64),
        gain=np.zeros(most),
        link_ms=np.zeros(most),
        edge_end_ms=np.zeros(most),
        at=np.zeros(most, np.int64),
        free_ms=np.zeros(most),
        group=np.zeros(most, np.int64),
        kept=np.zeros(most, np.bool_),
        ahead=np.zeros(most),
        next_ms=np.zeros(most),
        paid=np.zeros(most),
        score=np.zeros(most),
    )


@compiled
def _look(
    instance: Instance, guide: Guide, moments: Moments, m: int, at: int, free_ms: float, group: int, kept: bool,
    now_ms: float,
) -> Any:  # fmt: skip
    """A :class:`Turn`: where stream ``m`` stands at ``now_ms`` if moments before that have passed."""
    end = guide.stream_end[m]
    stages = moments.stage_ms.shape[1]
    while at < end:
        arrival_ms = moments.arrival_ms[at]
        base_ms = max(arrival_ms, free_ms)
        while group < stages and base_ms + moments.stage_ms[m, group] < now_ms:
            group += 1
        if group < stages and base_ms + moments.stage_ms[m, group] <= arrival_ms + instance.costs.limit_ms[m]:
            cell = int(base_ms / guide.cell_ms) - guide.origin_cell - guide.first_cell[at]
            worth = moments.worth[at, group, min(max(cell, 0) // moments.stride, moments.worth.shape[2] - 1)]
            next_ms = base_ms + moments.stage_ms[m, group]
            dropped = future(guide, m, at + 1, max(free_ms, now_ms) if kept else free_ms)
            if not kept and at + 1 < end:
                next_ms = min(next_ms, max(max(moments.arrival_ms[at + 1], free_ms), now_ms))
            return at, group, kept, max(worth, dropped), next_ms
        at, group, kept = at + 1, 0, False
    return at, 0, False, 0.0, np.inf


@inlined
def _paid(guide: Guide, link_ms: float, edge_ms: FloatArray, edge_end_ms: float, now_ms: float) -> Any:
    """Price of uplink and edge time that is gone or taken when the first worker is free from ``edge_end_ms``."""
    paid = paid_until(guide, guide.link_paid[0], max(link_ms, now_ms))
    paid += paid_until(guide, guide.edge_paid, max(edge_end_ms, now_ms))
    for w in range(1, len(edge_ms)):
        paid += paid_until(guide, guide.edge_paid, max(edge_ms[w], now_ms))
    return paid


@compiled
def _branch(
    instance: Instance, guide: Guide, moments: Moments, labels: Labels, b: int, until_ms: float, steps: Steps, n: int
) -> int:
    """Append to the ``n`` steps every way on from label ``b`` at its next moment before ``until_ms``."""
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
        steps.label[n], steps.stream[n] = b, -1
        steps.gain[n], steps.link_ms[n], steps.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
        steps.paid[n] = _paid(guide, link_ms, edge_ms, edge_ms[0], until_ms)
        steps.score[n] = labels.gain[b] + others - steps.paid[n]
        return n + 1
    others -= labels.ahead[b, m]
    at, group, kept, free_ms = labels.at[b, m], labels.group[b, m], labels.kept[b, m], labels.free_ms[b, m]
    arrival_ms = moments.arrival_ms[at]
    ready_ms = max(arrival_ms, free_ms) + moments.stage_ms[m, group]
    first = n
    if ready_ms <= now_ms:
        k = moments.task[at]
        after_at, after_group, after_kept, after_ahead, after_next_ms = _look(
            instance, guide, moments, m, at + 1, ready_ms, 0, False, ready_ms
        )
        for j in range(costs.options[m]):
            if moments.group[m, j] != group:
                continue
            sent_ms, end_ms, answer_ms = link_ms, edge_ms[0], ready_ms
            if costs.payload_bits[m, j] > 0:
                sent_ms, end_ms, answer_ms = offload_ends(
                    ready_ms, link_ms, edge_ms[0], costs.payload_bits[m, j], costs.edge_ms[m, j], costs.rtt_ms, send,
                    rates, 0,
                )  # fmt: skip
            if answer_ms - tasks.arrival_ms[k] > costs.limit_ms[m]:
                continue
            steps.option[n], steps.link_ms[n], steps.edge_end_ms[n] = j, sent_ms, end_ms
            steps.gain[n] = labels.gain[b] + rounded_gain(costs, m, j, answer_ms - arrival_ms)
            steps.at[n], steps.group[n], steps.kept[n] = after_at, after_group, after_kept
            steps.free_ms[n], steps.ahead[n], steps.next_ms[n] = ready_ms, after_ahead, after_next_ms
            n += 1
        group += 1
    else:
        steps.at[n], steps.group[n], steps.kept[n], steps.ahead[n], steps.next_ms[n] = _look(
            instance, guide, moments, m, at + 1, free_ms, 0, False, now_ms
        )
        steps.option[n], steps.free_ms[n] = DROP, free_ms
        steps.gain[n], steps.link_ms[n], steps.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
        n += 1
        kept = True
    # let the moment pass
    steps.at[n], steps.group[n], steps.kept[n], steps.ahead[n], steps.next_ms[n] = _look(
        instance, guide, moments, m, at, free_ms, group, kept, now_ms
    )
    steps.option[n], steps.free_ms[n] = DROP, free_ms
    steps.gain[n], steps.link_ms[n], steps.edge_end_ms[n] = labels.gain[b], link_ms, edge_ms[0]
    n += 1
    for c in range(first, n):
        steps.label[c], steps.stream[c] = b, m
        steps.paid[c] = _paid(guide, steps.link_ms[c], edge_ms, steps.edge_end_ms[c], until_ms)
        steps.score[c] = steps.gain[c] + others + steps.ahead[c] - steps.paid[c]
    return n


@compiled
def _follow(labels: Labels, after: Labels, to: int, steps: Steps, c: int) -> None:
    """Write the label that step ``c`` leads to into row ``to`` of ``after``."""
    b, m = steps.label[c], steps.stream[c]
    for i in range(labels.at.shape[1]):
        after.at[to, i] = labels.at[b, i]
        after.free_ms[to, i] = labels.free_ms[b, i]
        after.group[to, i] = labels.group[b, i]
        after.kept[to, i] = labels.kept[b, i]
        after.ahead[to, i] = labels.ahead[b, i]
        after.next_ms[to, i] = labels.next_ms[b, i]
    after.gain[to], after.link_ms[to] = steps.gain[c], steps.link_ms[c]
    after.paid[to], after.score[to], after.node[to] = steps.paid[c], steps.score[c], labels.node[b]
    w = 0
    workers = labels.edge_ms.shape[1]
    while w + 1 < workers and labels.edge_ms[b, w + 1] < steps.edge_end_ms[c]:
        after.edge_ms[to, w] = labels.edge_ms[b, w + 1]
        w += 1
    after.edge_ms[to, w] = steps.edge_end_ms[c]
    for i in range(w + 1, workers):
        after.edge_ms[to, i] = labels.edge_ms[b, i]
    if m >= 0:
        after.at[to, m], after.free_ms[to, m], after.group[to, m] = steps.at[c], steps.free_ms[c], steps.group[c]
        after.kept[to, m], after.ahead[to, m], after.next_ms[to, m] = steps.kept[c], steps.ahead[c], steps.next_ms[c]


@compiled
def _unneeded(moments: Moments, labels: Labels, count: int, b: int, now_ms: float) -> bool:
    """Whether one of the first ``count`` labels has gained more than all that is worse about it may cost."""
    for a in range(count):
        lead = labels.gain[a] - labels.gain[b] + ROUNDING
        if lead < 0.0:
            continue
        owed = CAUTION * max(labels.paid[a] - labels.paid[b], 0.0)
        owed += moments.least_price * max(labels.link_ms[a] - max(labels.link_ms[b], now_ms), 0.0)
        for w in range(labels.edge_ms.shape[1]):
            owed += moments.least_price * max(labels.edge_ms[a, w] - max(labels.edge_ms[b, w], now_ms), 0.0)
        for m in range(labels.ahead.shape[1]):
            if owed > lead:
                break
            owed += CAUTION * max(labels.ahead[b, m] - labels.ahead[a, m], 0.0)
            behind = labels.at[a, m] - labels.at[b, m]
            lost = behind > 0 or (labels.kept[a, m] and (behind < 0 or not labels.kept[b, m]))
            if lost or (behind == 0 and labels.group[a, m] > labels.group[b, m]):
                owed += moments.least_gain
            if behind == 0:
                owed += moments.least_price * max(labels.free_ms[a, m] - max(labels.free_ms[b, m], now_ms), 0.0)
        if owed <= lead:
            return True
    return False


@compiled
def next_step_ms(now_ms: float, step_ms: float) -> float:
    """The first multiple of ``step_ms`` after ``now_ms``, or the second where rounding puts the first at ``now_ms``."""
    after_ms = (np.floor(now_ms / step_ms) + 1.0) * step_ms
    return float(after_ms if after_ms > now_ms else after_ms + step_ms)


@allocating
def _advance(
    instance: Instance, guide: Guide, moments: Moments, labels: Labels, after: Labels, count: int, width: int,
    step_ms: float, steps: Steps, record: Any, recorded: int, most_recorded: int,
    most_work: int,
) -> Any:  # fmt: skip
    """Decide until so much is recorded or done, or nothing is left.

    Returns how many labels there are, the record's length, and whether the labels are now in ``after``.
    """
    swapped, work = False, 0
    while True:
        earliest_ms = np.inf
        for b in range(count):
            for m in range(labels.next_ms.shape[1]):
                earliest_ms = min(earliest_ms, labels.next_ms[b, m])
        if earliest_ms == np.inf or recorded >= most_recorded or work >= most_work:
            break
        until_ms = next_step_ms(earliest_ms, step_ms)
        found = 0
        for b in range(count):
            found = _branch(instance, guide, moments, labels, b, until_ms, steps, found)
        kept = 0
        for c in np.argsort(-steps.score[:found]):
            if kept == width:
                break
            _follow(labels, after, kept, steps, c)
            if _unneeded(moments, after, kept, kept, until_ms):
                continue
            if steps.stream[c] >= 0 and steps.option[c] != DROP:
                b, m = steps.label[c], steps.stream[c]
                record[recorded, 0] = labels.node[b]
                record[recorded, 1] = moments.task[labels.at[b, m]]
                record[recorded, 2] = steps.option[c]
                after.node[kept] = recorded
                recorded += 1
            kept += 1
        work += count + found + kept * kept
        labels, after = after, labels
        swapped = not swapped
        count = kept
    return count, recorded, swapped
