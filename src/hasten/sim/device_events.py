"""Devices that see by themselves, compiled: all that happens to a row's tasks between decisions, in order of time.

The same happens in virtual time, where the runtime's own agents and edge run: processors work, frames travel, the edge
serves in its order, words of it come back, tasks that it fails are finished where they came from.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.estimators import has_moved
from hasten.core.options import DROP
from hasten.core.timing import half_way, predict_latency
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    ALONE,
    ANSWERED_BY,
    BEGIN,
    CUT,
    ENCODE,
    EVENTS,
    FALLBACK,
    GAINED,
    HELD,
    JOB,
    JOB_FIRST,
    JOB_MS,
    JOB_PLANNED_MS,
    LOOK,
    MOST_PENDING,
    MOVED_FROM,
    NEXT_OWN,
    NO_JOB,
    NO_WORD,
    OPEN,
    PING_REPORT,
    PLANNED_RTT_MS,
    PREDICTED_MS,
    REST_MS,
    RUNNING,
    SEEN_RATE,
    SEEN_UPLINK_MS,
    STAYS_BY,
    WAY,
    WORD,
    WORK_MS,
)
from hasten.sim.contacts import contact_at, contact_of, edge_of, edges_of, stream_of, streams_of
from hasten.sim.device_jobs import backlog_ms, begin_job, best_within, end_task, queue_job
from hasten.sim.device_pings import want_rates, watch
from hasten.sim.device_projection import believed_rtt_ms, plan_frame, project, workers_from
from hasten.sim.device_rescue import finished, last_word, look, rescue_now
from hasten.sim.device_view import forget, hand_over, hear_answer, hear_nothing, hear_pong
from hasten.sim.edge_side import arrive, end_service, make_report, pass_last_start
from hasten.sim.event_heap import (
    AT_EDGE_NOW,
    BACK,
    DECIDED,
    EDGE_END,
    INDEX_BITS,
    INDICES,
    JOB_DONE,
    JOB_END,
    LAST_START,
    LAST_WORD,
    LOOK_NOW,
    OVERDUE,
    PING,
    PONG,
    TICK,
    pop,
    push,
)
from hasten.sim.service import extra_ms, needs_column
from hasten.sim.world import Lane, World

STAY = -2
"""Less an option: a task that was decided for it, and is finished on its device as well as time allows."""


@compiled
def run_events(lane: Lane, until_ms: float, world: World) -> float:
    """All that happens in a row up to ``until_ms``, if anything is left to happen; returns the gain that has become
    certain since it was last asked for.
    """
    beliefs = world.beliefs
    event_ms, event, served = beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0]
    while served[EVENTS] > 0 and event_ms[0] <= until_ms and (until_ms < np.inf or served[OPEN] > 0):
        now_ms = event_ms[0]
        found = pop(event_ms, event, served)
        kind, at = found >> INDEX_BITS, found & (INDICES - 1)
        if kind == DECIDED:
            begin_task(lane, at, now_ms, world)
        elif kind == JOB_END:
            end_job(lane, at, now_ms, world)
        elif kind == AT_EDGE_NOW:
            arrive(lane, at, now_ms, world)
        elif kind == EDGE_END:
            end_service(lane, at, now_ms, world)
        elif kind == BACK:
            hear_answer(lane, at, now_ms, world)
        elif kind == LOOK_NOW:
            look(lane, at, now_ms, world)
        elif kind == TICK:
            watch(lane, at, now_ms, world)
        elif kind == PING:
            c = at // MOST_PENDING
            make_report(lane, c, now_ms, beliefs.pending[lane.row, c, at % MOST_PENDING, PING_REPORT:], world)
            back_ms = half_way(now_ms, world.rules.ways.rtt_ms[edge_of(c, world)])
            push(event_ms, event, served, back_ms, PONG, at)
        elif kind == PONG:
            hear_pong(lane, at // MOST_PENDING, at % MOST_PENDING, now_ms, world)
        elif kind == JOB_DONE:
            take_result(lane, at, now_ms, world)
        elif kind == LAST_START:
            pass_last_start(lane, at, now_ms, world)
        elif kind == LAST_WORD:
            last_word(lane, at, now_ms, world)
        elif kind == OVERDUE and beliefs.mark[lane.first_slot + at, WORD] == NO_WORD:
            hear_nothing(lane, at, now_ms, world)
    gain = beliefs.edge[lane.row, 0, GAINED]
    beliefs.edge[lane.row, 0, GAINED] = 0.0
    if until_ms < np.inf:
        for m in range(streams_of(world)):
            world.state.device_free_ms[lane.row, m] = until_ms + backlog_ms(lane.row, m, until_ms, world)
    return float(gain)


@inlined
def end_job(lane: Lane, m: int, now_ms: float, world: World) -> None:
    """A processor has finished a job: it begins the next one, then what came of this one is heard, perhaps later."""
    tasks, beliefs = world.tasks, world.beliefs
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    k = count[RUNNING]
    count[RUNNING] = NOBODY
    if count[JOB_FIRST] == NOBODY:
        own[WORK_MS] = 0.0
    else:
        own[WORK_MS] = max(own[WORK_MS] - own[JOB_PLANNED_MS], 0.0)
        begin_job(lane, m, now_ms, world)
    mark, column = beliefs.mark[lane.first_slot + k], world.state.column[lane.first_slot + k]
    is_frame = mark[JOB] == BEGIN and mark[WAY] != NOBODY and world.rules.needs.payload_bits[m, column] > 0
    is_frame = is_frame or mark[JOB] == ENCODE
    if (mark[JOB] == BEGIN or mark[JOB] == ALONE) and mark[WAY] != NOBODY:  # the rest is spent beside what was decided
        world.state.device_done_ms[lane.first_slot + k] = now_ms
    later_ms = 0.0 if is_frame else extra_ms(tasks, lane.first_task + k, False)
    if later_ms == 0.0:
        take_result(lane, k, now_ms, world)
    else:
        at_ms = now_ms + later_ms
        push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], at_ms, JOB_DONE, k)


@compiled
def take_result(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """What the processor was asked for is there: a frame, an answer, or that it would have been too late."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    m, slot = world.tasks.stream[lane.first_task + k], lane.first_slot + k
    mark, option = beliefs.mark[slot], state.option[slot]
    if mark[JOB] != BEGIN and mark[JOB] != ENCODE:
        finished(lane, k, now_ms, world)
        return
    moves = mark[JOB] == ENCODE
    mark[JOB] = NO_JOB
    planned, done = rules.payload_bits[m, option] > 0, mark[WAY] != NOBODY
    sends = rules.needs.payload_bits[m, state.column[slot]] > 0
    if moves or (sends and done):
        mark[CUT] = beliefs.finishes.partition[m, option]
        hand_over(lane, k, now_ms, world)
    elif done:
        if planned:  # it has stopped on its way
            forget(lane, k, contact_at(lane, k, world), world)
        end_task(lane, k, now_ms, now_ms, NOBODY, world)
    else:
        if planned:
            forget(lane, k, contact_at(lane, k, world), world)
        rescue_now(lane, k, now_ms, world)


@inlined
def see(lane: Lane, c: int, now_ms: float, world: World) -> float:
    """What is believed of the edge of contact ``c`` at ``now_ms``, up to which everything has happened: returns when
    the uplink is free.

    Leaves what is seen among the contact's numbers: SEEN_RATE, and the times when workers are free. The round trip to
    edge 0 is a fact of a plan, those to others are seen as they are.
    """
    own, rtt_ms = world.beliefs.numbers[lane.row, c], believed_rtt_ms(lane.row, c, world)
    deadline_ms = world.rules.deadline_ms[stream_of(c, world)]
    if edge_of(c, world) > 0 or has_moved(rtt_ms, own[PLANNED_RTT_MS], deadline_ms):
        own[PLANNED_RTT_MS] = rtt_ms
    return project(lane, c, now_ms, world)


@inlined
def decide_task(lane: Lane, k: int, decided: int, world: World) -> None:
    """Note what was decided for a lane's k-th task, whose device has just been seen: it is done as time passes."""
    beliefs, slot = world.beliefs, lane.first_slot + k
    mark = beliefs.mark[slot]
    new_task(lane, k, STAY - decided if decided <= STAY else decided, world)
    if decided <= STAY:
        mark[STAYS_BY] = 0
    now_ms = world.tasks.arrival_ms[lane.first_task + k]
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], now_ms, DECIDED, k)


@inlined
def begin_task(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """Do what was decided for a task; a device that keeps it to itself may want to know more of its link."""
    rules, beliefs = world.rules, world.beliefs
    slot, m = lane.first_slot + k, world.tasks.stream[lane.first_task + k]
    mark, option = beliefs.mark[slot], world.state.option[slot]
    if option == DROP:
        end_task(lane, k, np.inf, now_ms, NOBODY, world)
    elif mark[STAYS_BY] != NOBODY:
        stay(lane, k, now_ms, world)
    else:
        predict(lane, k, m, option, world)
        mark[JOB], beliefs.frame[slot, JOB_MS] = BEGIN, rules.device_ms[m, option]
        queue_job(lane, k, now_ms, False, world)
    sends = option != DROP and rules.payload_bits[m, option] > 0
    goes = sends and mark[STAYS_BY] == NOBODY and world.state.option[slot] != DROP
    if not goes or edges_of(world) > 1:
        want_rates(lane, k, NOBODY if sends and not goes else option, goes, world)


@inlined
def stay(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task that was decided for the edge is finished here as well as time allows, or dropped."""
    beliefs, slot, m = world.beliefs, lane.first_slot + k, world.tasks.stream[lane.first_task + k]
    mark = beliefs.mark[slot]
    way = best_within(m, 0, world.rules.deadline_ms[m] - backlog_ms(lane.row, m, now_ms, world), world)
    mark[STAYS_BY] = way
    if way == NOBODY:
        world.state.option[slot], world.state.column[slot] = DROP, DROP
        end_task(lane, k, np.inf, now_ms, NOBODY, world)
    else:
        mark[JOB], mark[WAY], mark[FALLBACK] = ALONE, way, 1
        beliefs.frame[slot, JOB_MS] = beliefs.finishes.device_ms[m, 0, way]
        queue_job(lane, k, now_ms, False, world)


@inlined
def new_task(lane: Lane, k: int, option: int, world: World) -> None:
    """Nothing has happened to a task yet."""
    beliefs, slot = world.beliefs, lane.first_slot + k
    mark = beliefs.mark[slot]
    world.state.option[slot], world.state.column[slot], world.state.device_done_ms[slot] = option, DROP, np.nan
    if option != DROP:
        task = lane.first_task + k
        world.state.column[slot] = needs_column(task, world.tasks.stream[task], option, world.tasks, world.rules)
    world.state.finish_ms[slot], world.state.known_ms[slot] = np.nan, np.nan
    for i in range(len(mark)):
        mark[i] = 0
    mark[HELD], mark[LOOK], mark[ANSWERED_BY], mark[STAYS_BY], mark[NEXT_OWN] = NOBODY, NOBODY, NOBODY, NOBODY, NOBODY
    mark[MOVED_FROM] = NOBODY
    beliefs.served[lane.row, 0, OPEN] += 1


@inlined
def predict(lane: Lane, k: int, m: int, option: int, world: World) -> None:
    """Note what the device expects of an option; a frame joins those that have no answer yet."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    now_ms, frame = world.tasks.arrival_ms[lane.first_task + k], beliefs.frame[lane.first_slot + k]
    frame[REST_MS] = 0.0
    if rules.payload_bits[m, option] == 0:
        return
    c, wait_ms = contact_at(lane, k, world), max(state.device_free_ms[lane.row, m] - now_ms, 0.0)
    rtt_ms = believed_rtt_ms(lane.row, c, world)
    frame[REST_MS] = rules.edge_ms[m, option] + rtt_ms
    plan_frame(lane, k, c, now_ms, now_ms + wait_ms + rules.device_ms[m, option], world)
    frame[PREDICTED_MS] = now_ms + expected_ms(lane, m, now_ms, option, rtt_ms, world)


@inlined
def expected_ms(lane: Lane, m: int, now_ms: float, option: int, rtt_ms: float, world: World) -> float:
    """The latency of an option by what stream ``m`` has just seen, with a given round trip."""
    rules, c = world.rules, contact_of(world.rules.ways.edge[m, option], m, world)
    own = world.beliefs.numbers[lane.row, c]
    return float(
        predict_latency(
            max(world.state.device_free_ms[lane.row, m] - now_ms, 0.0),
            max(own[SEEN_UPLINK_MS] - now_ms, 0.0),
            max(own[workers_from(world)] - now_ms, 0.0),
            rules.device_ms[m, option],
            rules.payload_bits[m, option],
            rules.edge_ms[m, option],
            max(own[SEEN_RATE], DEAD_LINK_BITS_PER_MS),
            rtt_ms,
        )
    )
