"""Simulated devices finish tasks that their edge fails, compiled: ``runtime.device.rescue`` does the same with objects.

The law is in ``core.rescue``.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.rescue import (
    GRACE_MS,
    HOPELESS,
    LAST_WORD_MS,
    LATENESS_KEPT,
    answer_chance,
    last_look_ms,
    look_ms,
    takes_back,
)
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    ALONE,
    CUT,
    ENDED,
    FALLBACK,
    FINISH,
    FIRST,
    HELD,
    IS_SENT,
    JOB,
    JOB_MS,
    LATE_HEARD,
    LATENESS,
    LOOK,
    NEXT_OWN,
    NO_JOB,
    PREDICTED_MS,
    READY_MS,
    RESCUING,
    WAY,
)
from hasten.sim.contacts import contact_at, stream_of
from hasten.sim.device_jobs import best_within, end_task, is_idle, queue_job, running_left_ms
from hasten.sim.device_moving import move
from hasten.sim.event_heap import LAST_WORD, LOOK_NOW, push
from hasten.sim.world import Lane, World


@compiled
def rescue_now(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task cannot go on as decided: finish it here or elsewhere, or end it if that is too late."""
    mark = world.beliefs.mark[lane.first_slot + k]
    if mark[ENDED] == 1:
        return
    if mark[HELD] != NOBODY:
        mark[FALLBACK] = 1
        end_task(lane, k, now_ms, now_ms, mark[HELD], world)
    elif mark[RESCUING] == 1:
        mark[FALLBACK] = 1
    elif mark[FALLBACK] == 0 and not move(lane, k, now_ms, world):
        take_back(lane, k, now_ms, world)
        mark[FALLBACK] = 1
        if mark[RESCUING] == 0:
            end_task(lane, k, np.inf, now_ms, NOBODY, world)


@compiled
def take_back(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """Finish a task here before what is queued, if a way is still in time."""
    tasks, beliefs = world.tasks, world.beliefs
    m, slot = tasks.stream[lane.first_task + k], lane.first_slot + k
    mark = beliefs.mark[slot]
    ends_ms = tasks.arrival_ms[lane.first_task + k] + world.rules.deadline_ms[m]
    left_ms = ends_ms - now_ms - running_left_ms(lane.row, m, now_ms, world)
    way = best_within(m, mark[CUT], left_ms, world)
    if way != NOBODY:
        mark[RESCUING], mark[JOB], mark[WAY] = 1, FINISH, way
        beliefs.frame[slot, JOB_MS] = beliefs.finishes.device_ms[m, mark[CUT], way]
        queue_job(lane, k, now_ms, True, world)


@inlined
def look(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """The last moment of a way to finish a task that is away: take it back, or look again."""
    rules, tasks, beliefs, finishes = world.rules, world.tasks, world.beliefs, world.beliefs.finishes
    m, slot, c = tasks.stream[lane.first_task + k], lane.first_slot + k, contact_at(lane, k, world)
    mark, frame, own = beliefs.mark[slot], beliefs.frame[slot], beliefs.numbers[lane.row, c]
    if mark[ENDED] == 1 or mark[FALLBACK] == 1 or mark[RESCUING] == 1:
        return
    due_ms = frame[PREDICTED_MS]
    ends_ms = tasks.arrival_ms[lane.first_task + k] + rules.deadline_ms[m]
    heard = min(beliefs.counts[lane.row, c, LATE_HEARD], LATENESS_KEPT)
    later = later_than(lane, c, now_ms, ends_ms - due_ms, world)
    chance = answer_chance(own[LATENESS:], heard, later, now_ms - due_ms, ends_ms - due_ms, due_ms - frame[READY_MS])
    cut, way = mark[CUT], mark[LOOK]
    shorter = way - 1
    while shorter >= 0 and finishes.worth_it[m, cut, shorter] == 0:
        shorter -= 1
    next_accuracy = finishes.accuracy[m, cut, shorter] if shorter >= 0 else 0.0
    edge_accuracy = finishes.option_accuracy[m, world.state.option[slot]]
    if takes_back(chance, finishes.accuracy[m, cut, way], edge_accuracy, next_accuracy, is_idle(lane.row, m, world)):
        take_back(lane, k, now_ms, world)
        if mark[RESCUING] == 1:
            mark[FALLBACK] = 0 if chance > HOPELESS else 1
            return
    look_again(lane, k, way, now_ms, world)


@inlined
def later_than(lane: Lane, c: int, now_ms: float, slack_ms: float, world: World) -> int:
    """How many answers to contact ``c`` are not here, though predicted for more than ``slack_ms`` ago."""
    beliefs, useful_ms = world.beliefs, world.rules.useful_ms[stream_of(c, world)]
    found, k = 0, beliefs.counts[lane.row, c, FIRST]
    while k != NOBODY:
        slot = lane.first_slot + k
        waited_for = now_ms <= world.tasks.arrival_ms[lane.first_task + k] + useful_ms + GRACE_MS
        late = now_ms - beliefs.frame[slot, PREDICTED_MS] > slack_ms
        found += beliefs.mark[slot, IS_SENT] == 1 and late and waited_for
        k = beliefs.mark[slot, NEXT_OWN]
    return found


@inlined
def watch_task(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task has been sent: look at it again while it could still be finished here, if nobody does yet."""
    m, mark = world.tasks.stream[lane.first_task + k], world.beliefs.mark[lane.first_slot + k]
    if mark[LOOK] == NOBODY:
        look_again(lane, k, world.beliefs.finishes.ways[m, mark[CUT]], now_ms, world)


@compiled
def look_again(lane: Lane, k: int, way: int, now_ms: float, world: World) -> None:
    """Look at a task at the last moment of the next shorter way; after that of the shortest once more."""
    rules, beliefs, finishes = world.rules, world.beliefs, world.beliefs.finishes
    m, mark = world.tasks.stream[lane.first_task + k], beliefs.mark[lane.first_slot + k]
    cut, ends_ms = mark[CUT], world.tasks.arrival_ms[lane.first_task + k] + rules.deadline_ms[m]
    at_ms = -np.inf
    while way > 0 and at_ms <= now_ms:
        way -= 1
        if finishes.worth_it[m, cut, way] == 1:
            mark[LOOK] = way
            at_ms = look_ms(ends_ms, finishes.device_ms[m, cut, way], rules.deadline_ms[m])
    if at_ms <= now_ms:
        at_ms = last_look_ms(ends_ms, finishes.device_ms[m, cut, mark[LOOK]])
    if at_ms > now_ms:
        push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], at_ms, LOOK_NOW, k)


@inlined
def finished(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """The device has finished a task by a way of its own, or found at its turn that none is in time."""
    tasks, beliefs, finishes = world.tasks, world.beliefs, world.beliefs.finishes
    m, slot = tasks.stream[lane.first_task + k], lane.first_slot + k
    mark = beliefs.mark[slot]
    alone, way = mark[JOB] == ALONE, mark[WAY]
    mark[JOB], mark[RESCUING] = NO_JOB, 0
    if mark[ENDED] == 1:
        return
    if way == NOBODY:
        if mark[FALLBACK] == 1:
            end_task(lane, k, np.inf, now_ms, NOBODY, world)
        return
    last_ms = tasks.arrival_ms[lane.first_task + k] + world.rules.deadline_ms[m] - LAST_WORD_MS
    accuracy = finishes.accuracy[m, mark[CUT], way]
    edge_accuracy = finishes.option_accuracy[m, world.state.option[slot]]
    if alone or mark[FALLBACK] == 1 or accuracy >= edge_accuracy or now_ms >= last_ms:
        mark[FALLBACK] = 1
        end_task(lane, k, now_ms, now_ms, way, world)
    else:
        mark[HELD] = way
        push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], last_ms, LAST_WORD, k)


@inlined
def last_word(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """The edge's answer has not come: the one held here is given."""
    mark = world.beliefs.mark[lane.first_slot + k]
    if mark[ENDED] == 0:
        mark[FALLBACK] = 1
        end_task(lane, k, now_ms, now_ms, mark[HELD], world)
