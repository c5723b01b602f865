"""A simulated device's processor, compiled: one job at a time, in order but for urgent ones, and how tasks end there.

The law is that of ``runtime.device.stages``. A job that could not be useful any more at its turn takes no time.
"""

from __future__ import annotations

from hasten.core.compiled import compiled, inlined
from hasten.core.gain import task_gain
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    ANSWERED_BY,
    BEGIN,
    CUT,
    ENCODE,
    ENDED,
    GAINED,
    JOB,
    JOB_FIRST,
    JOB_FROM_MS,
    JOB_LAST,
    JOB_MS,
    JOB_PLANNED_MS,
    NEXT_JOB,
    OPEN,
    REST_MS,
    RUNNING,
    WAY,
    WORK_MS,
)
from hasten.sim.event_heap import JOB_END, push
from hasten.sim.service import taken_ms, too_late
from hasten.sim.world import Lane, World


@inlined
def backlog_ms(row: int, m: int, now_ms: float, world: World) -> float:
    """Planned work that stream ``m``'s processor has left."""
    own, count = world.beliefs.numbers[row, m], world.beliefs.counts[row, m]
    served_ms = min(now_ms - own[JOB_FROM_MS], own[JOB_PLANNED_MS]) if count[RUNNING] != NOBODY else 0.0
    return float(max(own[WORK_MS] - served_ms, 0.0))


@inlined
def running_left_ms(row: int, m: int, now_ms: float, world: World) -> float:
    """What remains of the running job: how long an urgent one waits."""
    own, count = world.beliefs.numbers[row, m], world.beliefs.counts[row, m]
    if count[RUNNING] == NOBODY:
        return 0.0
    return float(max(own[JOB_FROM_MS] + own[JOB_PLANNED_MS] - now_ms, 0.0))


@inlined
def is_idle(row: int, m: int, world: World) -> bool:
    """Whether nothing runs and nothing waits."""
    return bool(world.beliefs.counts[row, m, RUNNING] == NOBODY)


@inlined
def best_within(m: int, cut: int, left_ms: float, world: World) -> int:
    """The most accurate way to finish from a partition in so much time; NOBODY without any."""
    finishes = world.beliefs.finishes
    for way in range(finishes.ways[m, cut] - 1, -1, -1):
        if finishes.device_ms[m, cut, way] <= left_ms:
            return way
    return NOBODY


@compiled
def queue_job(lane: Lane, k: int, now_ms: float, urgent: bool, world: World) -> None:
    """Queue what is noted as the task's job, planned for its JOB_MS; an urgent one goes to the front."""
    beliefs = world.beliefs
    m, slot = world.tasks.stream[lane.first_task + k], lane.first_slot + k
    own, count, mark = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m], beliefs.mark[slot]
    own[WORK_MS] += beliefs.frame[slot, JOB_MS]
    if count[JOB_FIRST] == NOBODY:
        count[JOB_FIRST], count[JOB_LAST], mark[NEXT_JOB] = k, k, NOBODY
    elif urgent:
        mark[NEXT_JOB] = count[JOB_FIRST]
        count[JOB_FIRST] = k
    else:
        beliefs.mark[lane.first_slot + count[JOB_LAST], NEXT_JOB] = k
        count[JOB_LAST], mark[NEXT_JOB] = k, NOBODY
    if count[RUNNING] == NOBODY:
        begin_job(lane, m, now_ms, world)


@compiled
def begin_job(lane: Lane, m: int, now_ms: float, world: World) -> None:
    """Take the next job. Its way is NOBODY if it could not be useful any more."""
    rules, tasks, beliefs, finishes = world.rules, world.tasks, world.beliefs, world.beliefs.finishes
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    k = count[JOB_FIRST]
    slot, task = lane.first_slot + k, lane.first_task + k
    mark = beliefs.mark[slot]
    count[JOB_FIRST], count[RUNNING] = mark[NEXT_JOB], k
    own[JOB_FROM_MS], own[JOB_PLANNED_MS] = now_ms, beliefs.frame[slot, JOB_MS]
    way, spent_ms, arrived_ms = NOBODY, 0.0, tasks.arrival_ms[task]
    if mark[JOB] == ENCODE:
        way, spent_ms = 0, finishes.encode_ms[m, mark[CUT]]
    elif mark[ENDED] == 0:
        if mark[JOB] == BEGIN:
            device_ms = rules.device_ms[m, world.state.option[slot]]
            needs_ms = rules.needs.device_ms[m, world.state.column[slot]]
            if not too_late(now_ms, device_ms + beliefs.frame[slot, REST_MS], arrived_ms, m, rules):
                way, spent_ms = 0, needs_ms
        else:
            way, cut = mark[WAY], mark[CUT]
            if too_late(now_ms, finishes.device_ms[m, cut, way], arrived_ms, m, rules):
                way = best_within(m, cut, arrived_ms + rules.deadline_ms[m] - now_ms, world)
            if way != NOBODY:
                spent_ms = finishes.device_ms[m, cut, way]
    mark[WAY] = way
    end_ms = now_ms + taken_ms(spent_ms, tasks.device_factor, task)
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], end_ms, JOB_END, m)


@compiled
def end_task(lane: Lane, k: int, finish_ms: float, now_ms: float, way: int, world: World) -> None:
    """A task has its outcome: the answer decided on, one by a way of the device's own, or (infinitely late) none."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    m, slot = world.tasks.stream[lane.first_task + k], lane.first_slot + k
    state.finish_ms[slot], state.known_ms[slot] = finish_ms, now_ms
    beliefs.mark[slot, ENDED], beliefs.mark[slot, ANSWERED_BY] = 1, way
    beliefs.served[lane.row, 0, OPEN] -= 1
    latency_ms = finish_ms - world.tasks.arrival_ms[lane.first_task + k]
    worth = worth_of(slot, m, world)
    beliefs.edge[lane.row, 0, GAINED] += task_gain(
        worth, latency_ms, rules.deadline_ms[m], rules.time_weight, rules.late_gain, rules.fade
    )


@inlined
def worth_of(slot: int, m: int, world: World) -> float:
    """What a task's answer is worth: that of its option, or of the way by which the device has finished it."""
    rules, mark, option = world.rules, world.beliefs.mark[slot], max(world.state.option[slot], 0)
    finishes = world.beliefs.finishes
    if mark[ANSWERED_BY] == NOBODY:
        return float(rules.needs.worth[m, max(world.state.column[slot], 0)])
    return float(
        rules.worth[m, option]
        + finishes.accuracy[m, mark[CUT], mark[ANSWERED_BY]]
        - finishes.option_accuracy[m, option]
    )
