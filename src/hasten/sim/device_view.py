"""What a simulated device sends and hears, compiled, and what it makes of it.

The law is that of real devices (``core.estimators``), fed with what they would hear: answers with the edge's time and
load report, pongs, words of tasks that are too late.
"""

from __future__ import annotations

import numpy as np

from hasten.core import ping_schedule
from hasten.core.compiled import inlined
from hasten.core.estimators import (
    MOST_OFFLOAD_MS,
    MOST_PINGS,
    NEGLIGIBLE_MS,
    OVERHEADS_KEPT,
    due_at_edge,
    is_at_edge,
    left_at,
    median_of,
    outdated_pings,
    rate_after,
    reported_at,
)
from hasten.core.ping_schedule import PING_BITS
from hasten.core.rescue import GRACE_MS, LATENESS_KEPT
from hasten.core.timing import half_way
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    ANSWERED,
    AT_EDGE_MS,
    BEHIND_MS,
    BITS,
    CLEAN,
    CLEAN_MS,
    DUE_MS,
    ENDED,
    FALLBACK,
    FIRST,
    FRAMES,
    HEARD_MS,
    IS_SENT,
    LAST,
    LATE,
    LATE_HEARD,
    LATENESS,
    LATEST_MS,
    LEFT_MS,
    LINK_IDLE,
    MOST_PENDING,
    MOVED_FROM,
    NEXT_OWN,
    NUMBER,
    OTHERS_LOAD,
    OTHERS_RESIDUAL_MS,
    OVERHEAD_MS,
    OVERHEADS,
    OVERHEADS_HEARD,
    OVERTAKEN,
    PING_BEHIND_MS,
    PING_REPORT,
    PINGS,
    PREDICTED_MS,
    RATE,
    RATE_MS,
    RATE_THEN,
    READY_MS,
    REPORT,
    REPORT_LOAD,
    REPORT_MS,
    REPORT_RESIDUAL_MS,
    REPORTED_MS,
    RTT_MS,
    SENT_MS,
    TRIPS,
    USED_MS,
    WAITED_MS,
    WORD,
    WORKERS,
)
from hasten.sim.contacts import contact_at, edge_of, link_of, stream_of, workers_at
from hasten.sim.device_jobs import end_task
from hasten.sim.device_pings import forgotten, link_idle, reckon_trip, send_ping
from hasten.sim.device_projection import believed_rtt_ms
from hasten.sim.device_rescue import rescue_now, watch_task
from hasten.sim.event_heap import AT_EDGE_NOW, OVERDUE, push
from hasten.sim.service import too_late, transfer
from hasten.sim.world import Lane, World

CLOCK_DOUBT = 1e-4
"""A clock that was not heard of for some time may be wrong by this share of it."""


@inlined
def hand_over(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A task's frame is handed to the link, if it still makes sense."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    slot, task, c = lane.first_slot + k, lane.first_task + k, contact_at(lane, k, world)
    m, option, rtt_ms = world.tasks.stream[task], state.option[slot], rules.ways.rtt_ms[edge_of(c, world)]
    own, frame, mark = beliefs.numbers[lane.row, c], beliefs.frame[slot], beliefs.mark[slot]
    arrived_ms, edge_ms = world.tasks.arrival_ms[task], rules.edge_ms[m, option]
    if mark[ENDED] == 1 or too_late(now_ms, edge_ms + believed_rtt_ms(lane.row, c, world), arrived_ms, m, rules):
        forget(lane, k, c, world)
        rescue_now(lane, k, now_ms, world)
        return
    mark[LINK_IDLE] = 1 if link_idle(lane, c, world) else 0
    own[USED_MS] = now_ms
    if ping_schedule.rides_along(now_ms, own[CLEAN_MS]) and mark[LINK_IDLE] == 1:
        send_ping(lane, c, now_ms, 0, world)
    beliefs.counts[lane.row, c, FRAMES] += 1
    mark[IS_SENT], mark[NUMBER], frame[READY_MS] = 1, beliefs.counts[lane.row, c, FRAMES], now_ms
    frame[BEHIND_MS] = own[LEFT_MS]
    limit_ms = arrived_ms + rules.useful_ms[m]
    frame[LATEST_MS] = on_edge_clock(own, limit_ms - 0.5 * own[OVERHEAD_MS], now_ms, rtt_ms)
    link = link_of(c, world)
    sent_ms = transfer(
        max(now_ms, state.uplink_free_ms[lane.row, link]), rules.payload_bits[m, option], world.links, lane.row, link
    )
    state.uplink_free_ms[lane.row, link], state.sent[slot] = sent_ms, True
    arrives_ms = half_way(sent_ms, rtt_ms)
    event_ms, event, served = beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0]
    push(event_ms, event, served, arrives_ms, AT_EDGE_NOW, k)
    if half_way(arrives_ms, rtt_ms) > limit_ms + GRACE_MS:
        push(event_ms, event, served, limit_ms + GRACE_MS, OVERDUE, k)
    watch_task(lane, k, now_ms, world)


@inlined
def on_edge_clock(own: FloatArray, limit_ms: float, now_ms: float, rtt_ms: float) -> float:
    """When an answer must leave the edge, as a device says that knows its clock by pings: see ``runtime.device``.

    ``rtt_ms`` is the true round trip.

    A ping that waited on its way up makes the edge's clock seem fast, by half of that.
    """
    fastest_ms = np.inf
    for i in range(MOST_PINGS):
        if own[TRIPS + i] > 0.0:
            fastest_ms = min(fastest_ms, own[TRIPS + i])
    seems_fast_ms = 0.5 * (fastest_ms - rtt_ms)
    return float(limit_ms + seems_fast_ms - 0.5 * own[RTT_MS] + CLOCK_DOUBT * max(now_ms - own[HEARD_MS], 0.0))


@inlined
def hear_answer(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """Word comes of a frame: an answer, or that it is too late for one."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    slot, c = lane.first_slot + k, contact_at(lane, k, world)
    own, frame, mark = beliefs.numbers[lane.row, c], beliefs.frame[slot], beliefs.mark[slot]
    bits, late = rules.payload_bits[stream_of(c, world), state.option[slot]], mark[WORD] == LATE
    own[HEARD_MS] = now_ms
    learn_rate(lane, c, frame[READY_MS], frame[BEHIND_MS], left_at(now_ms, frame[AT_EDGE_MS], own[RTT_MS]), bits, world)
    take_report(own, frame[REPORT:], now_ms)
    learn_lateness(lane, c, np.inf if late else now_ms - frame[PREDICTED_MS], world)
    overtake(lane, k, c, world)
    forget(lane, k, c, world)
    if mark[ENDED] == 1:
        return
    if mark[LINK_IDLE] == 1 and frame[RATE_THEN] > 0:
        spent_ms = frame[AT_EDGE_MS] + own[RTT_MS] + bits / frame[RATE_THEN]
        learn_overhead(lane, c, now_ms - frame[READY_MS] - spent_ms, world)
    if late:
        rescue_now(lane, k, now_ms, world)
    else:
        mark[FALLBACK] = 1 if mark[MOVED_FROM] != NOBODY else 0
        end_task(lane, k, now_ms, now_ms, NOBODY, world)


@inlined
def overtake(lane: Lane, k: int, c: int, world: World) -> None:
    """Note of the frames of contact ``c`` that were sent before the k-th task's that this one is answered first."""
    beliefs, at = world.beliefs, world.beliefs.counts[lane.row, c, FIRST]
    number = beliefs.mark[lane.first_slot + k, NUMBER]
    while at != NOBODY:
        mark = beliefs.mark[lane.first_slot + at]
        mark[OVERTAKEN] += mark[IS_SENT] == 1 and mark[NUMBER] < number
        at = mark[NEXT_OWN]


@inlined
def hear_nothing(lane: Lane, k: int, now_ms: float, world: World) -> None:
    """A frame's answer is not waited for any longer."""
    beliefs, slot = world.beliefs, lane.first_slot + k
    learn_lateness(lane, contact_at(lane, k, world), np.inf, world)
    if beliefs.mark[slot, ENDED] == 0:
        end_task(lane, k, np.inf, now_ms, NOBODY, world)


@inlined
def hear_pong(lane: Lane, c: int, at: int, now_ms: float, world: World) -> None:
    """A ping to the edge of contact ``c`` is answered: see ``runtime.device.probing``."""
    rules, beliefs, m = world.rules, world.beliefs, stream_of(c, world)
    own, ping = beliefs.numbers[lane.row, c], beliefs.pending[lane.row, c, at]
    sent_ms, bits, clean = ping[SENT_MS], ping[BITS], ping[CLEAN] > 0
    ping[SENT_MS] = np.inf
    own[HEARD_MS] = now_ms
    if bits > PING_BITS:
        learn_rate(lane, c, sent_ms, ping[PING_BEHIND_MS], left_at(now_ms, 0.0, own[RTT_MS]), bits - PING_BITS, world)
    elif clean:
        learn_trip(lane, c, sent_ms, now_ms, world)
    longest_ms = ping[PING_REPORT + REPORT_MS + workers_at(edge_of(c, world), world) - 1]
    reported_ms = reported_at(now_ms, own[RTT_MS])
    k = beliefs.counts[lane.row, c, FIRST]
    while k != NOBODY:
        slot = lane.first_slot + k
        frame, mark = beliefs.frame[slot], beliefs.mark[slot]
        if mark[IS_SENT] == 1 and frame[DUE_MS] == np.inf and is_at_edge(frame[READY_MS], sent_ms):
            frame[DUE_MS] = due_at_edge(reported_ms, longest_ms, rules.edge_ms[m, world.state.option[slot]])
        k = mark[NEXT_OWN]
    take_report(own, ping[PING_REPORT:], now_ms)


@inlined
def learn_rate(
    lane: Lane, c: int, ready_ms: float, behind_ms: float, left_ms: float, bits: float, world: World
) -> None:
    """Take an answered transfer into account, which left at ``left_ms``: see ``runtime.device.backlog_estimate``."""
    beliefs = world.beliefs
    own, pending = beliefs.numbers[lane.row, c], beliefs.pending[lane.row, c]
    in_order, workers = True, workers_at(edge_of(c, world), world)
    for i in range(MOST_PENDING):
        if pending[i, SENT_MS] < np.inf and pending[i, BITS] > PING_BITS:
            in_order = in_order and pending[i, SENT_MS] >= ready_ms
            if pending[i, SENT_MS] >= ready_ms:
                pending[i, PING_BEHIND_MS] = max(pending[i, PING_BEHIND_MS], left_ms)
    k = beliefs.counts[lane.row, c, FIRST]
    while k != NOBODY:
        mark, frame = beliefs.mark[lane.first_slot + k], beliefs.frame[lane.first_slot + k]
        if mark[IS_SENT] == 1 and not forgotten(mark, workers):
            in_order = in_order and frame[READY_MS] >= ready_ms
            if frame[READY_MS] >= ready_ms:
                frame[BEHIND_MS] = max(frame[BEHIND_MS], left_ms)
        k = mark[NEXT_OWN]
    if in_order:
        own[RATE] = rate_after(own[RATE], own[RATE_MS], max(ready_ms, behind_ms), left_ms, bits)
        own[RATE_MS] = left_ms
    own[LEFT_MS] = max(own[LEFT_MS], left_ms)


@inlined
def learn_trip(lane: Lane, c: int, sent_ms: float, received_ms: float, world: World) -> None:
    """Take a ping that found the link idle into account."""
    own, count = world.beliefs.numbers[lane.row, c], world.beliefs.counts[lane.row, c]
    trip_ms, answered_ms = own[TRIPS:], own[ANSWERED:]
    outdated = outdated_pings(answered_ms, count[PINGS], received_ms)
    kept = count[PINGS] - outdated
    for i in range(kept):
        trip_ms[i], answered_ms[i] = trip_ms[i + outdated], answered_ms[i + outdated]
    trip_ms[kept], answered_ms[kept] = received_ms - sent_ms, received_ms
    count[PINGS] = kept + 1
    for i in range(kept + 1, MOST_PINGS + 1):
        trip_ms[i] = 0.0
    own[WAITED_MS] = 0.0
    reckon_trip(own, kept + 1)


@inlined
def learn_lateness(lane: Lane, c: int, late_ms: float, world: World) -> None:
    """An answer came so much after its predicted time, or (infinity) did not."""
    count = world.beliefs.counts[lane.row, c]
    world.beliefs.numbers[lane.row, c, LATENESS + count[LATE_HEARD] % LATENESS_KEPT] = late_ms
    count[LATE_HEARD] += 1


@inlined
def learn_overhead(lane: Lane, c: int, took_ms: float, world: World) -> None:
    """A frame that found the link idle took so much longer than expected: see ``runtime.device.overheads``."""
    own, count = world.beliefs.numbers[lane.row, c], world.beliefs.counts[lane.row, c]
    if took_ms > MOST_OFFLOAD_MS:
        return
    own[OVERHEADS + count[OVERHEADS_HEARD] % OVERHEADS_KEPT] = max(took_ms, 0.0)
    count[OVERHEADS_HEARD] += 1
    middle_ms = median_of(own[OVERHEADS:], min(count[OVERHEADS_HEARD], OVERHEADS_KEPT))
    own[OVERHEAD_MS] = middle_ms if middle_ms > NEGLIGIBLE_MS else 0.0


@inlined
def take_report(own: FloatArray, report: FloatArray, now_ms: float) -> None:
    """The edge's load report is here."""
    for worker in range(len(report) - REPORT_MS):
        own[WORKERS + worker] = report[REPORT_MS + worker]
    own[OTHERS_LOAD], own[OTHERS_RESIDUAL_MS] = report[REPORT_LOAD], report[REPORT_RESIDUAL_MS]
    own[REPORTED_MS] = reported_at(now_ms, own[RTT_MS])


@inlined
def forget(lane: Lane, k: int, c: int, world: World) -> None:
    """Take a frame out of the list of contact ``c``."""
    beliefs = world.beliefs
    count, after = beliefs.counts[lane.row, c], beliefs.mark[lane.first_slot + k, NEXT_OWN]
    before, at = NOBODY, count[FIRST]
    while at != k:
        before, at = at, beliefs.mark[lane.first_slot + at, NEXT_OWN]
    if before == NOBODY:
        count[FIRST] = after
    else:
        beliefs.mark[lane.first_slot + before, NEXT_OWN] = after
    if after == NOBODY:
        count[LAST] = before
