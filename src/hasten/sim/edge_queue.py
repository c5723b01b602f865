"""What waits at the edges of simulated devices, compiled: whose turn it is, and who is in whose way.

The law is that of ``runtime.edge.queue`` and ``runtime.edge.admission``.
"""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.core.edge_admission import UNFAIR, may_give_way
from hasten.core.edge_batches import take_soonest
from hasten.core.edge_order import earliest_deadline, first_come
from hasten.core.estimators import FORECAST_MEMORY_MS, faded
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    ARRIVED_MS,
    BEGUN_LOAD,
    BEGUN_MS,
    EDGE_WORKERS,
    GIVES_WAY,
    LATEST_MS,
    NEXT_WAITING,
    SERVED,
    WAITING_MS,
    WAITS_FIRST,
    WORD,
)
from hasten.sim.contacts import contact_at, edge_at, edge_of, most_workers, workers_at
from hasten.sim.world import Lane, World


@inlined
def work_of(lane: Lane, k: int, world: World) -> float:
    """How long the edge is predicted to be at work on a task."""
    return float(world.rules.edge_ms[world.tasks.stream[lane.first_task + k], world.state.option[lane.first_slot + k]])


@inlined
def last_start_ms(lane: Lane, k: int, world: World) -> float:
    """Started later, a task could not be in time."""
    return float(world.beliefs.frame[lane.first_slot + k, LATEST_MS] - work_of(lane, k, world))


@inlined
def turn_of(lane: Lane, k: int, world: World) -> float:
    """What a task at the edge is served by, the smallest first."""
    frame = world.beliefs.frame[lane.first_slot + k]
    if world.rules.ways.by_deadline[edge_at(lane, k, world)]:
        return float(earliest_deadline(frame[ARRIVED_MS], frame[LATEST_MS]))
    return float(first_come(frame[ARRIVED_MS], frame[LATEST_MS]))


@inlined
def lay_out_running(row: int, at: int, now_ms: float, free_ms: FloatArray, world: World) -> None:
    """When each worker (W,) of edge ``at``, ascending, is done with what it runs; what is overdue should take as long
    again.
    """
    edge, served = world.beliefs.edge[row, at], world.beliefs.served[row, at]
    for w in range(len(free_ms)):
        left_ms = 0.0
        if served[SERVED + w] != NOBODY:
            left_ms = abs(edge[EDGE_WORKERS + w] + edge[EDGE_WORKERS + most_workers(world) + w] - now_ms)
        i = w
        while i > 0 and free_ms[i - 1] > left_ms:
            free_ms[i] = free_ms[i - 1]
            i -= 1
        free_ms[i] = left_ms


@inlined
def hindered(lane: Lane, k: int, now_ms: float, world: World) -> int:
    """How many that wait, in order of service, are in the way of taking a task in, others having given way.

    NOBODY if none is: it would start in time, and so would all that it overtakes and that would without it.
    """
    beliefs, edge = world.beliefs, edge_at(lane, k, world)
    by_deadline, workers = world.rules.ways.by_deadline[edge], workers_at(edge, world)
    room_ms = beliefs.edge[lane.row, edge, EDGE_WORKERS + 2 * most_workers(world) :]
    with_it_ms, without_ms = room_ms[:workers], room_ms[workers : 2 * workers]
    lay_out_running(lane.row, edge, now_ms, with_it_ms, world)
    if by_deadline:  # else it overtakes nobody
        lay_out_running(lane.row, edge, now_ms, without_ms, world)
    turn, overtakes, was_late, passed = turn_of(lane, k, world), False, False, 0
    at = beliefs.served[lane.row, edge, WAITS_FIRST]
    while at != NOBODY:
        if by_deadline and not overtakes and turn_of(lane, at, world) > turn:
            overtakes = True
            if now_ms + take_soonest(with_it_ms, work_of(lane, k, world)) > last_start_ms(lane, k, world):
                return passed
        if by_deadline:
            was_late = now_ms + take_soonest(without_ms, work_of(lane, at, world)) > last_start_ms(lane, at, world)
        if beliefs.mark[lane.first_slot + at, WORD] != GIVES_WAY:
            start_ms = now_ms + take_soonest(with_it_ms, work_of(lane, at, world))
            if overtakes and not was_late and start_ms > last_start_ms(lane, at, world):
                return passed + 1
        passed += 1
        at = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    if not overtakes and now_ms + with_it_ms[0] > last_start_ms(lane, k, world):
        return passed
    return NOBODY


@inlined
def unfairest(lane: Lane, k: int, now_ms: float, in_the_way: int, world: World) -> int:
    """Of the first so many in order of service that are not told too late, the last of who has asked for most.

    NOBODY if that is not unfair to the one that sends.
    """
    beliefs, new = world.beliefs, contact_at(lane, k, world)
    waits_first = beliefs.served[lane.row, edge_of(new, world), WAITS_FIRST]
    most_ms, victim = UNFAIR * (asked_ms(lane.row, new, now_ms, world) + work_of(lane, k, world)), NOBODY
    at, passed = waits_first, 0
    while at != NOBODY and passed < in_the_way:
        other = contact_at(lane, at, world)
        frame = beliefs.frame[lane.first_slot + at]
        early = may_give_way(frame[ARRIVED_MS], frame[LATEST_MS], now_ms)
        if early and other != new and beliefs.mark[lane.first_slot + at, WORD] != GIVES_WAY:
            given_up_ms, each = 0.0, waits_first
            while each != NOBODY:
                mark = beliefs.mark[lane.first_slot + each]
                if mark[WORD] == GIVES_WAY and contact_at(lane, each, world) == other:
                    given_up_ms += work_of(lane, each, world)
                each = mark[NEXT_WAITING]
            left_ms = asked_ms(lane.row, other, now_ms, world) - given_up_ms - work_of(lane, at, world)
            if left_ms >= most_ms:
                most_ms, victim = left_ms, at
        at, passed = beliefs.mark[lane.first_slot + at, NEXT_WAITING], passed + 1
    return victim


@inlined
def asked_ms(row: int, c: int, now_ms: float, world: World) -> float:
    """Work of a stream lately begun at the edge of contact ``c`` and work that waits there."""
    own = world.beliefs.numbers[row, c]
    return float(faded(own[BEGUN_LOAD], now_ms - own[BEGUN_MS]) * FORECAST_MEMORY_MS + own[WAITING_MS])
