"""Which of the tasks that wait an edge runs at once, and how long that takes: the only copy, of the runtime's edge and
of the simulator's.

Tasks of one kind (package, cut and exit) may be run at once, by times measured by number (``core.profile``). A batch is
worth while if it takes less than its tasks one by one. It must make nobody late: neither a task in it, which ends with
the whole batch, nor one that waits and is overtaken. Times are in milliseconds on any common clock; a task's ``latest``
is by when its answer must leave the edge. Sequences may be lists or arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hasten.core.jit import jitable, jitable_inline

WINDOW = 64
"""So many waiting tasks, the next in turn, are looked at."""
BY_ITSELF = -1
"""The kind of a task that is run by itself."""


class BatchTimes(NamedTuple):
    """Of S kinds of tasks; sequences are (S, K), the last entry may be repeated."""

    sizes: Any
    """Measured numbers of tasks at once, ascending from 1 on."""
    factors: Any
    """How many times as long as one alone so many take."""


class Waiting(NamedTuple):
    """Tasks in order of service, the first of which has its turn. Functions below say how many there are."""

    work_ms: Any
    """What each takes alone."""
    latest_ms: Any
    kind: Any
    joins: Any
    """Whether each is run with the first: written by :func:`choose_batch`."""


@jitable
def batch_factor(sizes: Any, factors: Any, count: int) -> float:
    """How many times as long as one alone so many take at once: between two measured sizes the larger counts."""
    i = 0
    while sizes[i] < count:
        i += 1
    return float(factors[i])


@jitable_inline
def take_soonest(free_ms: Any, work_ms: float) -> float:
    """Give work to the worker that is free first, keep the times (W,) ascending; returns when it starts."""
    start_ms = free_ms[0]
    end_ms, i = start_ms + work_ms, 0
    while i + 1 < len(free_ms) and free_ms[i + 1] < end_ms:
        free_ms[i] = free_ms[i + 1]
        i += 1
    free_ms[i] = end_ms
    return float(start_ms)


@jitable
def choose_batch(waiting: Waiting, count: int, now_ms: float, times: BatchTimes, busy_ms: Any, room_ms: Any) -> int:
    """How many tasks the first of ``count`` is best run with at once, itself included; marks those that join it.

    Of the numbers that make none in the batch late, that which takes least per task: of the measured ones, between
    which the time is that of the next, and of all that there are. Where ``busy_ms`` (W,) tells what is left of what
    each worker runs, ascending, the one that is to serve in front, none that is overtaken is made late either.
    ``room_ms`` (2, W) is written over.
    """
    kind, best = waiting.kind[0], 1
    if kind == BY_ITSELF:
        _mark(waiting, count, 1, now_ms)
        return 1
    sizes, factors, head_ms = times.sizes[kind], times.factors[kind], waiting.work_ms[0]
    alike = 0
    for i in range(count):
        alike += 1 if waiting.kind[i] == kind else 0
    most = min(alike, sizes[-1])
    least = 1.0
    for i in range(len(sizes) + 1):
        size = sizes[i] if i < len(sizes) else most
        if size < 2 or size > most:
            continue
        factor = batch_factor(sizes, factors, size)
        ends_ms = now_ms + factor * head_ms
        if factor / size >= least or ends_ms > waiting.latest_ms[0]:
            continue
        if _mark(waiting, count, size, ends_ms) < size:
            continue
        if len(busy_ms) == 0 or not _makes_late(waiting, count, now_ms, factor * head_ms, busy_ms, room_ms):
            best, least = size, factor / size
    _mark(waiting, count, best, now_ms + batch_factor(sizes, factors, best) * head_ms)
    return int(best)


@jitable
def all_in_time(waiting: Waiting, count: int, times: BatchTimes, free_ms: Any, room_ms: Any) -> bool:
    """Whether all of ``count`` tasks could be in time when alike ones are run at once.

    ``free_ms`` (W,) is when each worker is free, ascending; it, the tasks and ``room_ms`` are written over.
    """
    while count > 0:
        size = choose_batch(waiting, count, free_ms[0], times, free_ms[:0], room_ms)
        took_ms = waiting.work_ms[0]
        if size > 1:
            took_ms *= batch_factor(times.sizes[waiting.kind[0]], times.factors[waiting.kind[0]], size)
        if take_soonest(free_ms, took_ms) + took_ms > waiting.latest_ms[0]:
            return False
        left = 0
        for i in range(1, count):
            if not waiting.joins[i]:
                waiting.work_ms[left], waiting.latest_ms[left] = waiting.work_ms[i], waiting.latest_ms[i]
                waiting.kind[left] = waiting.kind[i]
                left += 1
        count = left
    return True


@jitable
def _mark(waiting: Waiting, count: int, size: int, ends_ms: float) -> int:
    """Mark who is alike and in time at the end of a batch of ``size``, the first ones; returns how many it then has."""
    found = 1
    for i in range(1, count):
        joins = found < size and waiting.kind[i] == waiting.kind[0] and ends_ms <= waiting.latest_ms[i]
        waiting.joins[i] = joins
        found += 1 if joins else 0
    return found


@jitable
def _makes_late(waiting: Waiting, count: int, now_ms: float, took_ms: float, busy_ms: Any, room_ms: Any) -> bool:
    """Whether one that is overtaken by the batch, which takes so long, would be late for it, and is not otherwise."""
    before_ms, after_ms = room_ms[0], room_ms[1]
    for worker in range(len(busy_ms)):
        before_ms[worker] = now_ms + busy_ms[worker]
        after_ms[worker] = now_ms + busy_ms[worker]
    take_soonest(before_ms, waiting.work_ms[0])
    take_soonest(after_ms, took_ms)
    for i in range(1, count):
        work_ms = waiting.work_ms[i]
        last_start_ms = waiting.latest_ms[i] - work_ms
        in_time = take_soonest(before_ms, work_ms) <= last_start_ms
        if not waiting.joins[i] and take_soonest(after_ms, work_ms) > last_start_ms and in_time:
            return True
    return False
