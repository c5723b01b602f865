"""What a device sees, compiled: it hears of its frames and pings in order of time, and projects what it believes.

The law is that of real devices (``core.estimators``), fed with what they would hear: answers with the edge's time and
load report, pongs, words of cancelled tasks. A task that would start too late is told LATE when it reaches the edge.
"""

from __future__ import annotations

import numpy as np

from hasten.core import ping_schedule
from hasten.core.compiled import compiled, inlined
from hasten.core.estimators import (
    FEWEST_PINGS,
    begun,
    due_at_edge,
    faded,
    is_at_edge,
    left_at,
    outdated_pings,
    rate_after,
    reported_at,
)
from hasten.core.ping_schedule import BUDGET_BYTES, PING_BITS, WATCH_EVERY_MS
from hasten.core.timing import rate_at
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    ANSWERED,
    ARRIVED_MS,
    AT_EDGE_MS,
    BACK_MS,
    BEGUN_MS,
    BEST_RATE,
    BITS,
    CLEAN,
    CLEAN_MS,
    DUE_MS,
    EVER_USED,
    FIRST,
    FREE_MS,
    IS_SENT,
    LAST,
    LEFT_EDGE_MS,
    LEFT_MS,
    NEXT_AT_EDGE,
    NEXT_OWN,
    OTHERS_LOAD,
    OTHERS_MS,
    OTHERS_RESIDUAL_MS,
    OVERTAKEN,
    PENDING,
    PINGS,
    PONG_MS,
    RATE,
    RATE_MS,
    REPORTED_MS,
    RTT_MS,
    SAVED_BYTES,
    SEEN_AT_EDGE,
    SEEN_BEGUN,
    SEEN_ON_LINK,
    SENT_MS,
    TICK_MS,
    TRIPS,
    USED_MS,
    WAITED_MS,
    WORKERS,
)
from hasten.sim.device_pings import link_idle, reckon_trip, send_ping, watch, workers_of
from hasten.sim.device_projection import project
from hasten.sim.service import too_late
from hasten.sim.stages import settle
from hasten.sim.world import Lane, World

PREPARED_MS = 300.0
"""Devices have measured the rate so long before a run begins."""


@compiled
def begin_beliefs(row: int, world: World) -> None:
    """What devices that have just measured their link believe of it and of an idle edge."""
    rules, links, beliefs = world.rules, world.links, world.beliefs
    beliefs.ends[row, :, :] = NOBODY
    for m in range(beliefs.numbers.shape[1]):
        link = 0 if rules.shared else m
        begin, end = links.begin[row, link], links.end[row, link]
        own, count = beliefs.numbers[row, m], beliefs.counts[row, m]
        own[:] = 0.0
        own[RATE] = rate_at(0.0, links.from_ms[begin:end], links.bits_per_ms[begin:end], links.period_ms[row, link])
        own[BEST_RATE], own[RATE_MS] = own[RATE], -PREPARED_MS
        own[RTT_MS] = rules.rtt_ms + (PING_BITS / own[RATE] if own[RATE] > 0 else 0.0)
        own[SAVED_BYTES], own[TICK_MS] = BUDGET_BYTES, WATCH_EVERY_MS
        count[FIRST], count[LAST], count[SEEN_ON_LINK], count[SEEN_AT_EDGE] = NOBODY, NOBODY, NOBODY, NOBODY
        count[SEEN_BEGUN] = NOBODY
        count[PINGS], count[PENDING], count[EVER_USED] = FEWEST_PINGS, 0, 0
        for i in range(FEWEST_PINGS):
            own[TRIPS + i] = own[RTT_MS]


@compiled
def believe(lane: Lane, m: int, now_ms: float, world: World) -> float:
    """What stream ``m`` believes at ``now_ms``: returns when its uplink is free.

    Leaves what it sees among the stream's numbers: SEEN_RATE, and the times when workers are free.
    """
    if world.rules.ready:
        settle(lane, now_ms, world)
    hear(lane, m, now_ms, world)
    return project(lane, m, now_ms, world)


@inlined
def hear(lane: Lane, m: int, now_ms: float, world: World) -> None:
    """All that happened to stream ``m`` up to ``now_ms``, in order of time."""
    state, beliefs = world.state, world.beliefs
    own, count, pending = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m], beliefs.pending[lane.row, m]
    while True:
        sending, answered, sends_ms, answered_ms = NOBODY, NOBODY, np.inf, np.inf
        k = count[FIRST]
        while k != NOBODY:
            slot = lane.first_slot + k
            if beliefs.mark[slot, IS_SENT] == 0:  # nor are those behind it
                sending, sends_ms = k, state.device_done_ms[slot]
                break
            if beliefs.frame[slot, BACK_MS] < answered_ms:
                answered, answered_ms = k, beliefs.frame[slot, BACK_MS]
            k = beliefs.mark[slot, NEXT_OWN]
        pong_ms = pending[0, PONG_MS] if count[PENDING] > 0 else np.inf
        next_ms = min(min(sends_ms, answered_ms), min(pong_ms, own[TICK_MS]))
        if next_ms > now_ms:
            return
        if sends_ms == next_ms:
            hand_over(lane, sending, m, world)
        elif answered_ms == next_ms:
            hear_answer(lane, answered, m, world)
        elif pong_ms == next_ms:
            hear_pong(lane, m, world)
        else:
            watch(lane, m, world)


@inlined
def hand_over(lane: Lane, k: int, m: int, world: World) -> None:
    """The device's part is done: the frame is handed to the link, if it still makes sense."""
    rules, beliefs = world.rules, world.beliefs
    slot, task = lane.first_slot + k, lane.first_task + k
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    now_ms, option = world.state.device_done_ms[slot], world.state.option[slot]
    if too_late(now_ms, rules.edge_ms[m, option] + rules.rtt_ms, world.tasks.arrival_ms[task], m, rules):
        forget(lane, k, m, world)
        return
    own[USED_MS], count[EVER_USED] = now_ms, 1
    if ping_schedule.rides_along(now_ms, own[CLEAN_MS]) and link_idle(lane, m, world):
        send_ping(lane, m, now_ms, 0, world)
    beliefs.mark[slot, IS_SENT] = 1


@inlined
def hear_answer(lane: Lane, k: int, m: int, world: World) -> None:
    """Word comes of a frame: an answer, or that it is too late for one."""
    rules, state, beliefs = world.rules, world.state, world.beliefs
    slot = lane.first_slot + k
    own, frame = beliefs.numbers[lane.row, m], beliefs.frame[slot]
    now_ms, at_edge_ms = frame[BACK_MS], frame[AT_EDGE_MS]
    learn_rate(own, state.device_done_ms[slot], now_ms, at_edge_ms, rules.payload_bits[m, state.option[slot]])
    left_first = beliefs.counts[lane.row, m, FIRST]
    while left_first != k:  # sent before, and not answered yet
        beliefs.mark[lane.first_slot + left_first, OVERTAKEN] += 1
        left_first = beliefs.mark[lane.first_slot + left_first, NEXT_OWN]
    forget(lane, k, m, world)
    take_report(lane, m, frame[LEFT_EDGE_MS], now_ms, world)


@inlined
def hear_pong(lane: Lane, m: int, world: World) -> None:
    """The oldest ping is answered: see ``runtime.device.probing``."""
    rules, beliefs = world.rules, world.beliefs
    own, count, pending = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m], beliefs.pending[lane.row, m]
    sent_ms, now_ms, bits, clean = pending[0, SENT_MS], pending[0, PONG_MS], pending[0, BITS], pending[0, CLEAN] > 0
    count[PENDING] -= 1
    for i in range(count[PENDING]):
        for j in range(pending.shape[1]):
            pending[i, j] = pending[i + 1, j]
    if bits > PING_BITS:
        learn_rate(own, sent_ms, now_ms, 0.0, bits - PING_BITS)
    elif clean:
        learn_trip(lane, m, sent_ms, now_ms, world)
    take_report(lane, m, now_ms - 0.5 * rules.rtt_ms, now_ms, world)
    longest_ms = own[WORKERS + workers_of(beliefs) - 1]
    k = count[FIRST]
    while k != NOBODY:
        slot = lane.first_slot + k
        if beliefs.mark[slot, IS_SENT] == 0:
            break
        frame = beliefs.frame[slot]
        if frame[DUE_MS] == np.inf and is_at_edge(world.state.device_done_ms[slot], sent_ms):
            frame[DUE_MS] = due_at_edge(own[REPORTED_MS], longest_ms, rules.edge_ms[m, world.state.option[slot]])
        k = beliefs.mark[slot, NEXT_OWN]


@inlined
def learn_rate(own: FloatArray, ready_ms: float, answered_ms: float, at_edge_ms: float, bits: float) -> None:
    """Take an answered transfer into account."""
    left_ms = left_at(answered_ms, at_edge_ms, own[RTT_MS])
    own[RATE] = rate_after(own[RATE], own[RATE_MS], max(ready_ms, own[LEFT_MS]), left_ms, bits)
    own[BEST_RATE] = max(own[BEST_RATE], own[RATE])
    own[RATE_MS] = left_ms
    own[LEFT_MS] = max(own[LEFT_MS], left_ms)


@inlined
def learn_trip(lane: Lane, m: int, sent_ms: float, received_ms: float, world: World) -> None:
    """Take a ping that found the link idle into account."""
    beliefs = world.beliefs
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    trip_ms, answered_ms = own[TRIPS:], own[ANSWERED:]
    outdated = outdated_pings(answered_ms, count[PINGS], received_ms)
    kept = count[PINGS] - outdated
    for i in range(kept):
        trip_ms[i], answered_ms[i] = trip_ms[i + outdated], answered_ms[i + outdated]
    trip_ms[kept], answered_ms[kept] = received_ms - sent_ms, received_ms
    count[PINGS] = kept + 1
    own[WAITED_MS] = 0.0
    reckon_trip(own, kept + 1)


@inlined
def take_report(lane: Lane, m: int, made_ms: float, now_ms: float, world: World) -> None:
    """The edge's report made at ``made_ms`` is here: the work of the frames that were there then."""
    beliefs = world.beliefs
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    seen, after = count[SEEN_AT_EDGE], beliefs.ends[lane.row, beliefs.ends.shape[1] - 1, 0]
    if seen != NOBODY:
        after = beliefs.mark[lane.first_slot + seen, NEXT_AT_EDGE]
    while after != NOBODY and beliefs.frame[lane.first_slot + after, ARRIVED_MS] <= made_ms:
        seen, after = after, beliefs.mark[lane.first_slot + after, NEXT_AT_EDGE]
    count[SEEN_AT_EDGE] = seen
    for worker in range(workers_of(beliefs)):
        free_ms = made_ms if seen == NOBODY else beliefs.frame[lane.first_slot + seen, FREE_MS + worker]
        own[WORKERS + worker] = max(free_ms - made_ms, 0.0)
    own[REPORTED_MS] = reported_at(now_ms, own[RTT_MS])
    take_forecast(lane, m, made_ms, world)


@inlined
def take_forecast(lane: Lane, m: int, made_ms: float, world: World) -> None:
    """The report's forecast: what workers had begun by ``made_ms`` for other streams (``runtime.edge.carried``)."""
    rules, beliefs = world.rules, world.beliefs
    own, count = beliefs.numbers[lane.row, m], beliefs.counts[lane.row, m]
    load, residual_ms, at_ms = own[OTHERS_LOAD], own[OTHERS_RESIDUAL_MS], own[OTHERS_MS]
    last, after = count[SEEN_BEGUN], beliefs.ends[lane.row, beliefs.ends.shape[1] - 1, 0]
    if last != NOBODY:
        after = beliefs.mark[lane.first_slot + last, NEXT_AT_EDGE]
    while after != NOBODY:
        begun_ms, other = beliefs.frame[lane.first_slot + after, BEGUN_MS], world.tasks.stream[lane.first_task + after]
        if begun_ms > made_ms:
            break
        if other != m and not np.isnan(begun_ms):
            more, more_ms = begun(rules.edge_ms[other, world.state.option[lane.first_slot + after]])
            load, residual_ms = faded(load, begun_ms - at_ms) + more, faded(residual_ms, begun_ms - at_ms) + more_ms
            at_ms = begun_ms
        last, after = after, beliefs.mark[lane.first_slot + after, NEXT_AT_EDGE]
    count[SEEN_BEGUN] = last
    own[OTHERS_LOAD], own[OTHERS_RESIDUAL_MS] = faded(load, made_ms - at_ms), faded(residual_ms, made_ms - at_ms)
    own[OTHERS_MS] = made_ms


@inlined
def forget(lane: Lane, k: int, m: int, world: World) -> None:
    """Take a frame out of its stream's list."""
    beliefs = world.beliefs
    count, after = beliefs.counts[lane.row, m], beliefs.mark[lane.first_slot + k, NEXT_OWN]
    before, at = NOBODY, count[FIRST]
    while at != k:
        before, at = at, beliefs.mark[lane.first_slot + at, NEXT_OWN]
    if before == NOBODY:
        count[FIRST] = after
    else:
        beliefs.mark[lane.first_slot + before, NEXT_OWN] = after
    if after == NOBODY:
        count[LAST] = before
