"""The edge of simulated devices, compiled: whom it takes, when each runs, and the load that it tells.

The law is that of ``runtime.edge`` in order of arrival, with tasks run one by one and room for all that wait. A task
that could not be in time beside those already here is told LATE at once, unless one of a device that has asked for
much more gives way to it.
"""

from __future__ import annotations

from hasten.core.compiled import inlined, shared
from hasten.core.estimators import FORECAST_MEMORY_MS, UNFAIR, begun, faded
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
    StreamBeliefs,
)
from hasten.sim.event_heap import BACK, EDGE_END, LAST_START, push
from hasten.sim.service import extra_ms, taken_ms
from hasten.sim.world import Lane, World


@inlined
def workers_of(beliefs: StreamBeliefs) -> int:
    """How many workers the edge has."""
    return int(beliefs.served.shape[1]) - SERVED


@inlined
def work_of(lane: Lane, k: int, world: World) -> float:
    """How long the edge is predicted to be at work on a task."""
    return float(world.rules.edge_ms[world.tasks.stream[lane.first_task + k], world.state.option[lane.first_slot + k]])


@inlined
def last_start_ms(lane: Lane, k: int, world: World) -> float:
    """Started later, a task could not be in time."""
    return float(world.beliefs.frame[lane.first_slot + k, LATEST_MS] - work_of(lane, k, world))


@inlined
def take_soonest(free_ms: FloatArray, work_ms: float) -> float:
    """Give work to the worker that is free first, keep the times (W,) ascending; returns when it starts."""
    start_ms = free_ms[0]
    end_ms, i = start_ms + work_ms, 0
    while i + 1 < len(free_ms) and free_ms[i + 1] < end_ms:
        free_ms[i] = free_ms[i + 1]
        i += 1
    free_ms[i] = end_ms
    return float(start_ms)


@inlined
def lay_out_running(row: int, now_ms: float, free_ms: FloatArray, world: World) -> None:
    """When each worker (W,), ascending, is done with what it runs; what is overdue should take as long again."""
    edge, served = world.beliefs.edge[row], world.beliefs.served[row]
    workers = len(free_ms)
    for w in range(workers):
        left_ms = 0.0
        if served[SERVED + w] != NOBODY:
            left_ms = abs(edge[EDGE_WORKERS + w] + edge[EDGE_WORKERS + workers + w] - now_ms)
        i = w
        while i > 0 and free_ms[i - 1] > left_ms:
            free_ms[i] = free_ms[i - 1]
            i -= 1
        free_ms[i] = left_ms


@shared
def make_report(lane: Lane, m: int, now_ms: float, report: FloatArray, world: World) -> None:
    """The load as told to stream ``m``: what the others bring, and each worker's work before another task of it."""
    beliefs = world.beliefs
    edge, own = beliefs.edge[lane.row], beliefs.numbers[lane.row, m]
    all_age_ms, own_age_ms = now_ms - edge[ALL_MS], now_ms - own[BEGUN_MS]
    load = faded(edge[ALL_LOAD], all_age_ms) - faded(own[BEGUN_LOAD], own_age_ms)
    residual_ms = faded(edge[ALL_RESIDUAL_MS], all_age_ms) - faded(own[BEGUN_RESIDUAL_MS], own_age_ms)
    report[REPORT_LOAD], report[REPORT_RESIDUAL_MS] = max(load, 0.0), max(residual_ms, 0.0)
    backlog_ms = report[REPORT_MS:]
    lay_out_running(lane.row, now_ms, backlog_ms, world)
    k = beliefs.served[lane.row, WAITS_FIRST]
    while k != NOBODY:
        take_soonest(backlog_ms, work_of(lane, k, world))
        k = beliefs.mark[lane.first_slot + k, NEXT_WAITING]


@shared
def reply(lane: Lane, k: int, now_ms: float, word: int, world: World) -> None:
    """Word of a task leaves the edge, with a report."""
    rules, beliefs = world.rules, world.beliefs
    slot, m = lane.first_slot + k, world.tasks.stream[lane.first_task + k]
    frame = beliefs.frame[slot]
    beliefs.mark[slot, WORD] = word
    frame[AT_EDGE_MS] = now_ms - frame[ARRIVED_MS]
    make_report(lane, m, now_ms, frame[REPORT:], world)
    back_ms = half_way(now_ms, rules.rtt_ms) + extra_ms(world.tasks, lane.first_task + k, True)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row], back_ms, BACK, k)


@shared
def serve_now(lane: Lane, k: int, worker: int, now_ms: float, world: World) -> None:
    """A worker begins a task."""
    tasks, beliefs = world.tasks, world.beliefs
    m, edge, served = tasks.stream[lane.first_task + k], beliefs.edge[lane.row], beliefs.served[lane.row]
    own = beliefs.numbers[lane.row, m]
    work_ms = work_of(lane, k, world)
    more, more_ms = begun(work_ms)
    edge[ALL_LOAD] = faded(edge[ALL_LOAD], now_ms - edge[ALL_MS]) + more
    edge[ALL_RESIDUAL_MS] = faded(edge[ALL_RESIDUAL_MS], now_ms - edge[ALL_MS]) + more_ms
    own[BEGUN_LOAD] = faded(own[BEGUN_LOAD], now_ms - own[BEGUN_MS]) + more
    own[BEGUN_RESIDUAL_MS] = faded(own[BEGUN_RESIDUAL_MS], now_ms - own[BEGUN_MS]) + more_ms
    edge[ALL_MS], own[BEGUN_MS] = now_ms, now_ms
    beliefs.mark[lane.first_slot + k, WORD] = RUNS
    served[SERVED + worker] = k
    workers = workers_of(world.beliefs)
    edge[EDGE_WORKERS + worker], edge[EDGE_WORKERS + workers + worker] = now_ms, work_ms
    needs_ms = world.rules.needs.edge_ms[m, world.state.column[lane.first_slot + k]]
    end_ms = now_ms + taken_ms(needs_ms, tasks.edge_factor, lane.first_task + k)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], served, end_ms, EDGE_END, worker)


@inlined
def arrive(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A frame is at the edge."""
    beliefs = world.beliefs
    slot, m = lane.first_slot + k, world.tasks.stream[lane.first_task + k]
    frame, served = beliefs.frame[slot], beliefs.served[lane.row]
    frame[ARRIVED_MS] = now_ms
    beliefs.numbers[lane.row, m, WITHIN_MS] = frame[LATEST_MS] - now_ms
    free = NOBODY
    for w in range(workers_of(world.beliefs)):
        if served[SERVED + w] == NOBODY:
            free = w
    in_time = now_ms <= last_start_ms(lane, k, world) if free != NOBODY else make_way(lane, k, now_ms, world)
    if not in_time:
        reply(lane, k, now_ms, LATE, world)
    elif free != NOBODY:  # then nobody waits
        serve_now(lane, k, free, now_ms, world)
    else:
        wait(lane, k, world)


@inlined
def wait(lane: Lane, k: int, world: World) -> None:
    """Queue a task: served first come, first served."""
    beliefs = world.beliefs
    served, own = beliefs.served[lane.row], beliefs.numbers[lane.row, world.tasks.stream[lane.first_task + k]]
    before, after = NOBODY, served[WAITS_FIRST]
    while after != NOBODY:
        before, after = after, beliefs.mark[lane.first_slot + after, NEXT_WAITING]
    beliefs.mark[lane.first_slot + k, NEXT_WAITING] = after
    if before == NOBODY:
        served[WAITS_FIRST] = k
    else:
        beliefs.mark[lane.first_slot + before, NEXT_WAITING] = k
    beliefs.mark[lane.first_slot + k, WORD] = WAITS
    own[WAITING_MS] += work_of(lane, k, world)
    at_ms = last_start_ms(lane, k, world)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], served, at_ms, LAST_START, k)


@shared
def leave(lane: Lane, k: int, world: World) -> None:
    """Take a task out of those that wait."""
    beliefs = world.beliefs
    served, own = beliefs.served[lane.row], beliefs.numbers[lane.row, world.tasks.stream[lane.first_task + k]]
    before, at = NOBODY, served[WAITS_FIRST]
    while at != k:
        before, at = at, beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    after = beliefs.mark[lane.first_slot + k, NEXT_WAITING]
    if before == NOBODY:
        served[WAITS_FIRST] = after
    else:
        beliefs.mark[lane.first_slot + before, NEXT_WAITING] = after
    own[WAITING_MS] = max(own[WAITING_MS] - work_of(lane, k, world), 0.0)


@inlined
def make_way(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Whether a task can be in time, others giving way to it if need be; these leave, and are told LATE."""
    beliefs = world.beliefs
    gone, fitting = 0, fits(lane, k, now_ms, world)
    while not fitting:
        victim = unfairest(lane, k, now_ms, world)
        if victim == NOBODY:
            break
        beliefs.mark[lane.first_slot + victim, WORD] = GIVES_WAY
        gone += 1
        fitting = fits(lane, k, now_ms, world)
    at = beliefs.served[lane.row, WAITS_FIRST] if gone > 0 else NOBODY
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
def fits(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Whether a task would start in time behind all that wait and do not give way."""
    beliefs = world.beliefs
    workers = workers_of(world.beliefs)
    free_ms = beliefs.edge[lane.row, EDGE_WORKERS + 2 * workers : EDGE_WORKERS + 3 * workers]
    lay_out_running(lane.row, now_ms, free_ms, world)
    at = beliefs.served[lane.row, WAITS_FIRST]
    while at != NOBODY:
        if beliefs.mark[lane.first_slot + at, WORD] != GIVES_WAY:
            take_soonest(free_ms, work_of(lane, at, world))
        at = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    return bool(now_ms + free_ms[0] <= last_start_ms(lane, k, world))


@inlined
def unfairest(lane: Lane, k: int, now_ms: float, world: World) -> int:
    """The last waiting task of the device that has asked for most, if that is unfair to the one that sends."""
    tasks, beliefs = world.tasks, world.beliefs
    new = tasks.stream[lane.first_task + k]
    most_ms, victim = UNFAIR * (asked_ms(lane.row, new, now_ms, world) + work_of(lane, k, world)), NOBODY
    at = beliefs.served[lane.row, WAITS_FIRST]
    while at != NOBODY:
        other = tasks.stream[lane.first_task + at]
        if other != new and beliefs.mark[lane.first_slot + at, WORD] != GIVES_WAY:
            given_up_ms, each = 0.0, beliefs.served[lane.row, WAITS_FIRST]
            while each != NOBODY:
                mark = beliefs.mark[lane.first_slot + each]
                if mark[WORD] == GIVES_WAY and tasks.stream[lane.first_task + each] == other:
                    given_up_ms += work_of(lane, each, world)
                each = mark[NEXT_WAITING]
            left_ms = asked_ms(lane.row, other, now_ms, world) - given_up_ms - work_of(lane, at, world)
            if left_ms >= most_ms:
                most_ms, victim = left_ms, at
        at = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    return victim


@inlined
def asked_ms(row: int, m: int, now_ms: float, world: World) -> float:
    """Work of a stream lately begun and work that waits."""
    own = world.beliefs.numbers[row, m]
    return float(faded(own[BEGUN_LOAD], now_ms - own[BEGUN_MS]) * FORECAST_MEMORY_MS + own[WAITING_MS])


@inlined
def end_service(lane: Lane, worker: int, now_ms: float, world: World) -> None:
    """A worker has finished a task: it gets its next one, then the task is answered."""
    beliefs = world.beliefs
    served = beliefs.served[lane.row]
    done, took = served[SERVED + worker], False
    served[SERVED + worker] = NOBODY
    while served[WAITS_FIRST] != NOBODY and not took:
        k = served[WAITS_FIRST]
        leave(lane, k, world)
        took = now_ms <= last_start_ms(lane, k, world)
        if took:
            serve_now(lane, k, worker, now_ms, world)
        else:
            reply(lane, k, now_ms, LATE, world)
    reply(lane, done, now_ms, DONE, world)


@inlined
def pass_last_start(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task that still waits at its last moment to start is told LATE."""
    if world.beliefs.mark[lane.first_slot + k, WORD] == WAITS:
        leave(lane, k, world)
        reply(lane, k, now_ms, LATE, world)
