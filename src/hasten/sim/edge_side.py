"""The edges of simulated devices, compiled: whom one takes, when each runs, and the load that it tells.

The law is that of ``runtime.edge`` in either order of service, one by one or alike tasks at once, with place for all
that wait. A task is taken if it can be in time without making one late that waits already and could be; else it is told
LATE at once, unless one of a device that has asked for much more gives way to it. Served by deadline it may have to
leave room.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.edge_batches import take_soonest
from hasten.core.estimators import begun, faded
from hasten.core.timing import half_way
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    ALL_LOAD,
    ALL_MS,
    ALL_RESIDUAL_MS,
    ARRIVED_MS,
    AT_EDGE_MS,
    BEGUN_LOAD,
    BEGUN_MS,
    BEGUN_RESIDUAL_MS,
    DONE,
    EDGE_WORKERS,
    GIVES_WAY,
    LATE,
    LATEST_MS,
    NEXT_WAITING,
    REPORT,
    REPORT_LOAD,
    REPORT_MS,
    REPORT_RESIDUAL_MS,
    RUNS,
    SERVED,
    WAITING_MS,
    WAITS,
    WAITS_FIRST,
    WITHIN_MS,
    WORD,
)
from hasten.sim.contacts import contact_at, contact_of, edge_at, edge_of, most_workers, workers_at
from hasten.sim.edge_queue import (
    hindered,
    last_start_ms,
    lay_out_running,
    turn_of,
    unfairest,
    work_of,
)
from hasten.sim.edge_room import finds_room, note_arrival
from hasten.sim.edge_together import batch_factor_of, count_alike, fit_together
from hasten.sim.event_heap import BACK, EDGE_END, LAST_START, push
from hasten.sim.service import extra_ms, taken_at_edge_ms
from hasten.sim.world import Lane, World


@compiled
def make_report(lane: Lane, c: int, now_ms: float, report: FloatArray, world: World) -> None:
    """An edge's load as told to contact ``c``: what the others bring, and each worker's work before another task of it.

    That is one with as much time as its last.
    """
    beliefs, at = world.beliefs, edge_of(c, world)
    edge, own = beliefs.edge[lane.row, at], beliefs.numbers[lane.row, c]
    all_age_ms, own_age_ms = now_ms - edge[ALL_MS], now_ms - own[BEGUN_MS]
    load = faded(edge[ALL_LOAD], all_age_ms) - faded(own[BEGUN_LOAD], own_age_ms)
    residual_ms = faded(edge[ALL_RESIDUAL_MS], all_age_ms) - faded(own[BEGUN_RESIDUAL_MS], own_age_ms)
    report[REPORT_LOAD], report[REPORT_RESIDUAL_MS] = max(load, 0.0), max(residual_ms, 0.0)
    backlog_ms = report[REPORT_MS : REPORT_MS + workers_at(at, world)]
    lay_out_running(lane.row, at, now_ms, backlog_ms, world)
    last_turn = now_ms + own[WITHIN_MS] if world.rules.ways.by_deadline[at] else np.inf
    k = beliefs.served[lane.row, at, WAITS_FIRST]
    while k != NOBODY and turn_of(lane, k, world) <= last_turn:
        take_soonest(backlog_ms, work_of(lane, k, world))
        k = beliefs.mark[lane.first_slot + k, NEXT_WAITING]


@compiled
def reply(lane: Lane, k: int, now_ms: float, word: int, world: World) -> None:
    """Word of a task leaves its edge, with a report."""
    beliefs, slot, c = world.beliefs, lane.first_slot + k, contact_at(lane, k, world)
    frame = beliefs.frame[slot]
    beliefs.mark[slot, WORD] = word
    frame[AT_EDGE_MS] = now_ms - frame[ARRIVED_MS]
    make_report(lane, c, now_ms, frame[REPORT:], world)
    back_ms = half_way(now_ms, world.rules.ways.rtt_ms[edge_of(c, world)])
    back_ms += extra_ms(world.tasks, lane.first_task + k, True)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], back_ms, BACK, k)


@compiled
def serve_now(lane: Lane, first: int, worker: int, now_ms: float, world: World) -> None:
    """A worker of its edge begins a task, or those that are chained from ``first`` on at once."""
    tasks, beliefs, rules, at = world.tasks, world.beliefs, world.rules, edge_at(lane, first, world)
    edge, served = beliefs.edge[lane.row, at], beliefs.served[lane.row, at]
    size, k = 0, first
    while k != NOBODY:
        size, k = size + 1, beliefs.mark[lane.first_slot + k, NEXT_WAITING]
    factor, longest_ms, work_ms, k = batch_factor_of(lane, first, size, world), 0.0, 0.0, first
    edge[ALL_LOAD] = faded(edge[ALL_LOAD], now_ms - edge[ALL_MS])
    edge[ALL_RESIDUAL_MS] = faded(edge[ALL_RESIDUAL_MS], now_ms - edge[ALL_MS])
    edge[ALL_MS] = now_ms
    while k != NOBODY:
        m = tasks.stream[lane.first_task + k]
        own, work_ms = beliefs.numbers[lane.row, contact_of(at, m, world)], work_of(lane, k, world) * factor
        more, more_ms = begun(work_ms / size)
        edge[ALL_LOAD] += more
        edge[ALL_RESIDUAL_MS] += more_ms
        own[BEGUN_LOAD] = faded(own[BEGUN_LOAD], now_ms - own[BEGUN_MS]) + more
        own[BEGUN_RESIDUAL_MS] = faded(own[BEGUN_RESIDUAL_MS], now_ms - own[BEGUN_MS]) + more_ms
        own[BEGUN_MS] = now_ms
        needs_ms = rules.needs.edge_ms[m, world.state.column[lane.first_slot + k]]
        longest_ms = max(longest_ms, taken_at_edge_ms(needs_ms, tasks, lane.first_task + k, at))
        beliefs.mark[lane.first_slot + k, WORD] = RUNS
        k = beliefs.mark[lane.first_slot + k, NEXT_WAITING]
    served[SERVED + worker] = first
    most = most_workers(world)
    edge[EDGE_WORKERS + worker], edge[EDGE_WORKERS + most + worker] = now_ms, work_ms
    end_ms, index = now_ms + factor * longest_ms, at * most + worker
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], end_ms, EDGE_END, index)


@inlined
def arrive(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A frame is at its edge."""
    beliefs, slot, c = world.beliefs, lane.first_slot + k, contact_at(lane, k, world)
    at, by_deadline = edge_of(c, world), world.rules.ways.by_deadline[edge_of(c, world)]
    frame, served = beliefs.frame[slot], beliefs.served[lane.row, at]
    frame[ARRIVED_MS] = now_ms
    beliefs.numbers[lane.row, c, WITHIN_MS] = frame[LATEST_MS] - now_ms
    free = NOBODY
    for w in range(workers_at(at, world)):
        if served[SERVED + w] == NOBODY:
            free = w
    if by_deadline:
        note_arrival(lane, k, now_ms, world)
    taken = now_ms <= last_start_ms(lane, k, world)
    if free == NOBODY:
        fits = not by_deadline or finds_room(lane, k, now_ms, world)
        taken = make_way(lane, k, now_ms, world) if fits else False
    if not taken:
        reply(lane, k, now_ms, LATE, world)
    elif free != NOBODY:  # then nobody waits
        beliefs.mark[slot, NEXT_WAITING] = NOBODY
        serve_now(lane, k, free, now_ms, world)
    else:
        wait(lane, k, world)


@inlined
def wait(lane: Lane, k: int, world: World) -> None:
    """Queue a task, behind those whose turn is not after its own."""
    beliefs, c = world.beliefs, contact_at(lane, k, world)
    served, own = beliefs.served[lane.row, edge_of(c, world)], beliefs.numbers[lane.row, c]
    before, after, turn = NOBODY, served[WAITS_FIRST], turn_of(lane, k, world)
    while after != NOBODY and turn_of(lane, after, world) <= turn:
        before, after = after, beliefs.mark[lane.first_slot + after, NEXT_WAITING]
    beliefs.mark[lane.first_slot + k, NEXT_WAITING] = after
    if before == NOBODY:
        served[WAITS_FIRST] = k
    else:
        beliefs.mark[lane.first_slot + before, NEXT_WAITING] = k
    beliefs.mark[lane.first_slot + k, WORD] = WAITS
    own[WAITING_MS] += work_of(lane, k, world)
    at_ms = last_start_ms(lane, k, world)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], at_ms, LAST_START, k)


@compiled
def leave(lane: Lane, k: int, world: World) -> None:
    """Take a task out of those that wait."""
    beliefs, c = world.beliefs, contact_at(lane, k, world)
    served, own = beliefs.served[lane.row, edge_of(c, world)], beliefs.numbers[lane.row, c]
    before, at = NOBODY, served[WAITS_FIRST]
    while at != k:
        before, at = at, beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    after = beliefs.mark[lane.first_slot + k, NEXT_WAITING]
    if before == NOBODY:
        served[WAITS_FIRST] = after
    else:
        beliefs.mark[lane.first_slot + before, NEXT_WAITING] = after
    own[WAITING_MS] = max(own[WAITING_MS] - work_of(lane, k, world), 0.0)


@compiled
def hindering(lane: Lane, k: int, now_ms: float, world: World) -> int:
    """How many that wait are in the way of taking a task in, also where alike ones are run at once; NOBODY if none."""
    in_the_way = hindered(lane, k, now_ms, world)
    return NOBODY if in_the_way != NOBODY and fit_together(lane, k, now_ms, world) else in_the_way


@inlined
def make_way(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Whether a task can be in time, others giving way to it if need be; these leave, and are told LATE."""
    beliefs = world.beliefs
    gone, in_the_way = 0, hindering(lane, k, now_ms, world)
    while in_the_way != NOBODY:
        victim = unfairest(lane, k, now_ms, in_the_way, world)
        if victim == NOBODY:
            break
        beliefs.mark[lane.first_slot + victim, WORD] = GIVES_WAY
        gone += 1
        in_the_way = hindering(lane, k, now_ms, world)
    fitting = in_the_way == NOBODY
    at = beliefs.served[lane.row, edge_at(lane, k, world), WAITS_FIRST] if gone > 0 else NOBODY
    while at != NOBODY:
        after = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
        if beliefs.mark[lane.first_slot + at, WORD] == GIVES_WAY:
            if fitting:
                leave(lane, at, world)
                reply(lane, at, now_ms, LATE, world)
            else:  # it would be in vain
                beliefs.mark[lane.first_slot + at, WORD] = WAITS
        at = after
    return fitting


@inlined
def end_service(lane: Lane, index: int, now_ms: float, world: World) -> None:
    """A worker has finished: it gets its next task, or several at once, then what it had is answered.

    ``index`` counts the workers edge by edge, as many of each as one has at most.
    """
    beliefs, worker = world.beliefs, index % most_workers(world)
    served = beliefs.served[lane.row, index // most_workers(world)]
    done, took = served[SERVED + worker], False
    served[SERVED + worker] = NOBODY
    while served[WAITS_FIRST] != NOBODY and not took:
        k = served[WAITS_FIRST]
        leave(lane, k, world)
        took = now_ms <= last_start_ms(lane, k, world)
        if took:
            serve_now(lane, with_companions(lane, k, now_ms, world), worker, now_ms, world)
        else:
            reply(lane, k, now_ms, LATE, world)
    while done != NOBODY:
        after = beliefs.mark[lane.first_slot + done, NEXT_WAITING]
        reply(lane, done, now_ms, DONE, world)
        done = after


@compiled
def with_companions(lane: Lane, k: int, now_ms: float, world: World) -> int:
    """Chain those to a task, whose turn it is, that are run with it at once; returns the first of them, it is last."""
    mark, joins = world.beliefs.mark, world.rules.batches.waiting.joins
    mark[lane.first_slot + k, NEXT_WAITING] = NOBODY
    count = count_alike(lane, k, now_ms, world)
    first, at, i = k, world.beliefs.served[lane.row, edge_at(lane, k, world), WAITS_FIRST], 1
    while i < count:
        after = mark[lane.first_slot + at, NEXT_WAITING]
        if joins[i]:
            leave(lane, at, world)
            mark[lane.first_slot + at, NEXT_WAITING] = first
            first = at
        at, i = after, i + 1
    return first


@inlined
def pass_last_start(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task that still waits at its last moment to start, where it has one there, is told LATE."""
    waits = world.beliefs.mark[lane.first_slot + k, WORD] == WAITS
    if waits and now_ms >= last_start_ms(lane, k, world):  # or it was at another edge
        leave(lane, k, world)
        reply(lane, k, now_ms, LATE, world)
