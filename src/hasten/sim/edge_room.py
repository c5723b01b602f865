"""Who is to leave room at the edge of simulated devices, compiled: ``runtime.edge.offers`` does the same with objects.

The law is in ``core.edge_admission``.
"""

from __future__ import annotations

from hasten.core.compiled import compiled, inlined
from hasten.core.edge_admission import BUCKETS, ROOM, note_offer, room_share, standing
from hasten.core.edge_batches import BY_ITSELF, take_soonest
from hasten.core.estimators import FORECAST_MEMORY_MS, faded
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    ACTIVE_UNTIL_MS,
    ALL_LOAD,
    ALL_MS,
    EDGE_WORKERS,
    MOST,
    NEXT_WAITING,
    OFFERED,
    OFFERED_AT_MS,
    WAITING_MS,
    WAITS_FIRST,
)
from hasten.sim.contacts import (
    contact_at,
    contact_of,
    edge_at,
    edge_of,
    most_workers,
    stream_of,
    streams_of,
    workers_at,
)
from hasten.sim.edge_queue import (
    asked_ms,
    last_start_ms,
    lay_out_running,
    turn_of,
    work_of,
)
from hasten.sim.edge_together import kind_of
from hasten.sim.world import Lane, World


@inlined
def least_of(lane: Lane, k: int, world: World) -> float:
    """What of a worker's time a task takes at least: its part of as many as may be run at once."""
    work_ms, kind, times = work_of(lane, k, world), kind_of(lane, k, world), world.rules.batches.times
    if kind == BY_ITSELF:
        return work_ms
    return float(work_ms * (times.factors[kind, -1] / times.sizes[kind, -1]))


@compiled
def note_arrival(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task has come, whether it will be taken or not."""
    beliefs, c, work_ms = world.beliefs, contact_at(lane, k, world), work_of(lane, k, world)
    edge, served = beliefs.edge[lane.row, edge_of(c, world)], beliefs.served[lane.row, edge_of(c, world)]
    if now_ms <= last_start_ms(lane, k, world):
        offered, as_of_ms = edge[OFFERED : OFFERED + BUCKETS], edge[OFFERED_AT_MS : OFFERED_AT_MS + BUCKETS]
        note_offer(offered, as_of_ms, least_of(lane, k, world), now_ms)
    beliefs.numbers[lane.row, c, ACTIVE_UNTIL_MS] = now_ms + FORECAST_MEMORY_MS
    most = contact_of(edge_of(c, world), served[MOST], world)
    if asked_ms(lane.row, c, now_ms, world) + work_ms >= asked_ms(lane.row, most, now_ms, world):
        served[MOST] = stream_of(c, world)


@compiled
def finds_room(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Whether a task that comes leaves the room that it is to leave; one may always wait."""
    if world.beliefs.served[lane.row, edge_at(lane, k, world), WAITS_FIRST] == NOBODY:
        return True
    wait_ms = work_before(lane, k, now_ms, world)
    slack_ms = last_start_ms(lane, k, world) - now_ms
    if wait_ms <= ROOM * slack_ms:
        return True
    share = share_of_room(lane, k, now_ms, world)
    return bool(share >= 1.0 or wait_ms <= share * slack_ms)


@inlined
def work_before(lane: Lane, k: int, now_ms: float, world: World) -> float:
    """How long a task that comes would wait."""
    beliefs, edge = world.beliefs, edge_at(lane, k, world)
    first = EDGE_WORKERS + 2 * most_workers(world)
    free_ms = beliefs.edge[lane.row, edge, first : first + workers_at(edge, world)]
    lay_out_running(lane.row, edge, now_ms, free_ms, world)
    turn, at = turn_of(lane, k, world), beliefs.served[lane.row, edge, WAITS_FIRST]
    while at != NOBODY and turn_of(lane, at, world) <= turn:
        take_soonest(free_ms, work_of(lane, at, world))
        at = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    return float(free_ms[0])


@inlined
def share_of_room(lane: Lane, k: int, now_ms: float, world: World) -> float:
    """Which part of the time that a task can wait the work before it may take up."""
    beliefs, new, work_ms = world.beliefs, contact_at(lane, k, world), work_of(lane, k, world)
    at = edge_of(new, world)
    edge, served = beliefs.edge[lane.row, at], beliefs.served[lane.row, at]
    all_ms, active = faded(edge[ALL_LOAD], now_ms - edge[ALL_MS]) * FORECAST_MEMORY_MS, 0
    for m in range(streams_of(world)):
        all_ms += beliefs.numbers[lane.row, contact_of(at, m, world), WAITING_MS]
        active += beliefs.numbers[lane.row, contact_of(at, m, world), ACTIVE_UNTIL_MS] > now_ms
    asked, most = asked_ms(lane.row, new, now_ms, world) + work_ms, contact_of(at, served[MOST], world)
    most_ms = 0.0 if most == new else asked_ms(lane.row, most, now_ms, world)
    offered, as_of_ms = edge[OFFERED : OFFERED + BUCKETS], edge[OFFERED_AT_MS : OFFERED_AT_MS + BUCKETS]
    stands = standing(asked, most_ms, all_ms + work_ms, active)
    return room_share(offered, as_of_ms, least_of(lane, k, world), now_ms, workers_at(at, world), stands)
