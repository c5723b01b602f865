"""Tasks that a simulated edge runs at once, compiled; the law is that of ``runtime.edge.together``."""

from __future__ import annotations

from hasten.core.compiled import compiled, inlined
from hasten.core.edge_batches import BY_ITSELF, WINDOW, all_in_time, batch_factor, choose_batch
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import GIVES_WAY, LATEST_MS, NEXT_WAITING, WAITS_FIRST, WORD
from hasten.sim.contacts import edge_at
from hasten.sim.edge_queue import lay_out_running, turn_of, work_of
from hasten.sim.world import Lane, World


@inlined
def kind_of(lane: Lane, k: int, world: World) -> int:
    """What tasks that may be run at once with this one share."""
    kind = world.rules.batches.kind
    if len(kind) == 0:
        return BY_ITSELF
    return int(kind[world.tasks.stream[lane.first_task + k], world.state.option[lane.first_slot + k]])


@inlined
def batch_factor_of(lane: Lane, k: int, size: int, world: World) -> float:
    """How many times as long as it alone so many tasks like it take at once."""
    if size == 1:
        return 1.0
    kind, times = kind_of(lane, k, world), world.rules.batches.times
    return batch_factor(times.sizes[kind], times.factors[kind], size)


@inlined
def lay_out_task(lane: Lane, k: int, place: int, world: World) -> None:
    """Lay a task out at its place in order of service."""
    waiting = world.rules.batches.waiting
    waiting.work_ms[place] = work_of(lane, k, world)
    waiting.latest_ms[place] = world.beliefs.frame[lane.first_slot + k, LATEST_MS]
    waiting.kind[place] = kind_of(lane, k, world)


@compiled
def count_alike(lane: Lane, k: int, now_ms: float, world: World) -> int:
    """Find who is run at once with a task whose turn it is, at a worker that runs nothing.

    Returns how many were laid out, the task in front and those that wait behind it; who joins it is marked there.
    """
    batches, beliefs, edge = world.rules.batches, world.beliefs, edge_at(lane, k, world)
    if kind_of(lane, k, world) == BY_ITSELF:
        return 1
    lay_out_task(lane, k, 0, world)
    count, at = 1, beliefs.served[lane.row, edge, WAITS_FIRST]
    while at != NOBODY and count <= WINDOW:
        lay_out_task(lane, at, count, world)
        count, at = count + 1, beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    lay_out_running(lane.row, edge, now_ms, batches.busy_ms, world)
    choose_batch(batches.waiting, count, now_ms, batches.times, batches.busy_ms, batches.room_ms)
    return count


@compiled
def fit_together(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Whether a task, and all that wait and do not give way, could be in time when alike ones are run at once."""
    batches, beliefs, edge = world.rules.batches, world.beliefs, edge_at(lane, k, world)
    if kind_of(lane, k, world) == BY_ITSELF:
        return False
    turn, is_laid_out, waits, alike, count = turn_of(lane, k, world), False, 0, 0, 0
    at = beliefs.served[lane.row, edge, WAITS_FIRST]
    while at != NOBODY:
        waits += 1
        if waits >= WINDOW:
            return False
        alike += 1 if kind_of(lane, at, world) != BY_ITSELF else 0
        if not is_laid_out and turn_of(lane, at, world) > turn:
            lay_out_task(lane, k, count, world)
            is_laid_out, count = True, count + 1
        if beliefs.mark[lane.first_slot + at, WORD] != GIVES_WAY:
            lay_out_task(lane, at, count, world)
            count += 1
        at = beliefs.mark[lane.first_slot + at, NEXT_WAITING]
    if alike == 0:
        return False
    if not is_laid_out:
        lay_out_task(lane, k, count, world)
        count += 1
    lay_out_running(lane.row, edge, now_ms, batches.busy_ms, world)
    for worker in range(len(batches.busy_ms)):
        batches.busy_ms[worker] += now_ms
    return bool(all_in_time(batches.waiting, count, batches.times, batches.busy_ms, batches.room_ms))
