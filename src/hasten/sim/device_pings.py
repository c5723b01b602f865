"""The pings of simulated devices, compiled: sent by the schedule of real ones, ``core.ping_schedule``.

A ping waits on its link for the frames ahead of it and tells the edge's load when it was there. It takes none of the
link's time from others: pings are few bytes.
"""

from __future__ import annotations

import numpy as np

from hasten.core import ping_schedule
from hasten.core.compiled import compiled, inlined
from hasten.core.estimators import SOONER_SHARE, median_of
from hasten.core.ping_schedule import PING_BITS, PING_BYTES, WATCH_EVERY_MS, pong_bytes, probe_padding_bytes
from hasten.core.timing import half_way, predict_latency
from hasten.sim.arrays import NOBODY, FloatArray, IntArray
from hasten.sim.beliefs import (
    BITS,
    CLEAN,
    CLEAN_MS,
    DUE_MS,
    FIRST,
    IS_SENT,
    LEFT_MS,
    MOST_PENDING,
    NEXT_OWN,
    OVERHEAD_MS,
    OVERTAKEN,
    PING_BEHIND_MS,
    PINGED_MS,
    PINGS,
    PREDICTED_MS,
    RATE,
    RATE_MS,
    RTT_MS,
    SAVED_BYTES,
    SAVED_MS,
    SENT_MS,
    TRIPS,
    USED_MS,
    WAITED_MS,
    WANTED_MS,
)
from hasten.sim.contacts import contact_of, edge_at, edge_of, edges_of, link_of, workers_at
from hasten.sim.event_heap import PING, TICK, push
from hasten.sim.service import transfer
from hasten.sim.world import Lane, World


@inlined
def forgotten(mark: IntArray, workers: int) -> bool:
    """Whether a frame is taken for lost: as many sent later as there are workers have been answered."""
    return bool(mark[OVERTAKEN] >= workers)


@inlined
def probe_waits(pending: FloatArray) -> bool:
    """Whether a ping that measures the rate is not answered yet."""
    waits = False
    for i in range(MOST_PENDING):
        waits = waits or (pending[i, SENT_MS] < np.inf and pending[i, BITS] > PING_BITS)
    return waits


@inlined
def link_idle(lane: Lane, c: int, world: World) -> bool:
    """Whether, as far as a stream knows, no frame of its own is on its way up to the edge of contact ``c``."""
    beliefs, workers = world.beliefs, workers_at(edge_of(c, world), world)
    if probe_waits(beliefs.pending[lane.row, c]):
        return False
    k = beliefs.counts[lane.row, c, FIRST]
    while k != NOBODY:
        slot = lane.first_slot + k
        mark = beliefs.mark[slot]
        if mark[IS_SENT] == 1 and beliefs.frame[slot, DUE_MS] == np.inf and not forgotten(mark, workers):
            return False
        k = mark[NEXT_OWN]
    return True


@compiled
def send_ping(lane: Lane, c: int, now_ms: float, padding_bytes: int, world: World) -> None:
    """Send a ping to the edge of contact ``c``; it arrives half a round trip after the frames before it, and itself,
    have left.
    """
    beliefs, link = world.beliefs, link_of(c, world)
    own, pending = beliefs.numbers[lane.row, c], beliefs.pending[lane.row, c]
    at = 0
    while at < MOST_PENDING and pending[at, SENT_MS] < np.inf:
        at += 1
    if at == MOST_PENDING:
        return
    clean = padding_bytes == 0 and link_idle(lane, c, world)
    bits = PING_BITS + 8.0 * padding_bytes
    ping = pending[at]
    ping[SENT_MS], ping[BITS], ping[CLEAN], ping[PING_BEHIND_MS] = now_ms, bits, 1.0 if clean else 0.0, own[LEFT_MS]
    if now_ms < 0.0:  # before a run the link is idle, and its first rate holds
        left_ms = now_ms + transfer(0.0, bits, world.links, lane.row, link)
    else:
        start_ms = max(now_ms, world.state.uplink_free_ms[lane.row, link])
        left_ms = transfer(start_ms, bits, world.links, lane.row, link)
    arrives_ms, index = half_way(left_ms, world.rules.ways.rtt_ms[edge_of(c, world)]), c * MOST_PENDING + at
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], arrives_ms, PING, index)
    own[PINGED_MS] = now_ms
    if clean:
        own[CLEAN_MS] = now_ms


@inlined
def reckon_trip(own: FloatArray, pings: int) -> None:
    """The round trip anew from the last pings, and from one that is not answered for long."""
    if own[WAITED_MS] > 0:
        own[TRIPS + pings] = own[WAITED_MS]
        pings += 1
    own[RTT_MS] = median_of(own[TRIPS:], pings)


@inlined
def watch(lane: Lane, m: int, now_ms: float, world: World) -> None:
    """Stream ``m`` looks whether pings are due."""
    beliefs, next_ms = world.beliefs, now_ms + WATCH_EVERY_MS
    push(beliefs.event_ms[lane.row], beliefs.event[lane.row], beliefs.served[lane.row, 0], next_ms, TICK, m)
    for edge in range(edges_of(world)):
        watch_link(lane, contact_of(edge, m, world), now_ms, world)


@inlined
def watch_link(lane: Lane, c: int, now_ms: float, world: World) -> None:
    """Look whether one is due to the edge of contact ``c``: see ``runtime.device.probing``."""
    beliefs = world.beliefs
    own, count, pending = beliefs.numbers[lane.row, c], beliefs.counts[lane.row, c], beliefs.pending[lane.row, c]
    none_waits, oldest_ms = True, np.inf
    for i in range(MOST_PENDING):
        none_waits = none_waits and pending[i, SENT_MS] == np.inf
        if pending[i, CLEAN] > 0:
            oldest_ms = min(oldest_ms, pending[i, SENT_MS])
    if now_ms - oldest_ms > max(own[RTT_MS], own[WAITED_MS]):
        own[WAITED_MS] = now_ms - oldest_ms
        reckon_trip(own, count[PINGS])
    frames_wait, k = False, count[FIRST]
    while k != NOBODY and not frames_wait:
        frames_wait, k = beliefs.mark[lane.first_slot + k, IS_SENT] == 1, beliefs.mark[lane.first_slot + k, NEXT_OWN]
    pause_ms = ping_schedule.pause_ms(now_ms, own[USED_MS], True)
    due = none_waits and ping_schedule.is_due(now_ms, own[PINGED_MS], pause_ms, frames_wait)
    if frames_wait:
        if due:
            send_ping(lane, c, now_ms, 0, world)
        return
    own[SAVED_BYTES] = ping_schedule.saved_bytes(own[SAVED_BYTES], own[SAVED_MS], now_ms)
    own[SAVED_MS] = now_ms
    plain_bytes = PING_BYTES + pong_bytes(workers_at(edge_of(c, world), world))
    if due and own[SAVED_BYTES] >= plain_bytes:
        padding_bytes = probe_padding_bytes(own[RATE])
        own[SAVED_BYTES] -= plain_bytes
        send_ping(lane, c, now_ms, 0, world)
        if ping_schedule.is_stale(now_ms, own[RATE_MS]) and own[SAVED_BYTES] >= plain_bytes + padding_bytes:
            own[SAVED_BYTES] -= plain_bytes + padding_bytes
            send_ping(lane, c, now_ms, padding_bytes, world)


@inlined
def want_rates(lane: Lane, k: int, option: int, sent: bool, world: World) -> None:
    """Of edges that a task is not sent to probe a rate that is old, if on a fast enough link it would be better off.

    ``option`` is the one decided on, or none; ``sent`` tells whether it goes to its edge.
    """
    m = world.tasks.stream[lane.first_task + k]
    for edge in range(edges_of(world)):
        if not sent or edge != edge_at(lane, k, world):
            want_rate(lane, k, option, sent, contact_of(edge, m, world), world)


@inlined
def want_rate(lane: Lane, k: int, option: int, sent: bool, c: int, world: World) -> None:
    """The same of the edge of contact ``c``. Better than what is sent elsewhere is also the same much sooner."""
    rules, beliefs, m = world.rules, world.beliefs, world.tasks.stream[lane.first_task + k]
    now_ms, edge, own = world.tasks.arrival_ms[lane.first_task + k], edge_of(c, world), beliefs.numbers[lane.row, c]
    looked_ms = max(own[RATE_MS], own[WANTED_MS])
    pause_ms = ping_schedule.pause_ms(now_ms, own[USED_MS], True)
    if not ping_schedule.may_want(now_ms, looked_ms, pause_ms) or probe_waits(beliefs.pending[lane.row, c]):
        return
    worth = rules.worth[m, option] if option >= 0 else -np.inf
    sooner_ms = -np.inf
    if sent:
        sooner_ms = beliefs.frame[lane.first_slot + k, PREDICTED_MS] - now_ms - SOONER_SHARE * rules.deadline_ms[m]
    device_wait_ms = max(world.state.device_free_ms[lane.row, m] - now_ms, 0.0)
    for j in range(rules.worth.shape[1]):
        there = rules.payload_bits[m, j] > 0 and rules.ways.edge[m, j] == edge
        if there and rules.worth[m, j] >= worth:
            latency_ms = predict_latency(
                device_wait_ms,
                0.0,
                0.0,
                rules.device_ms[m, j],
                rules.payload_bits[m, j],
                rules.edge_ms[m, j],
                np.inf,
                own[RTT_MS] + own[OVERHEAD_MS],
            )
            better = rules.worth[m, j] > worth or latency_ms < sooner_ms
            if better and latency_ms <= rules.deadline_ms[m]:
                own[WANTED_MS] = now_ms
                send_ping(lane, c, now_ms, 0, world)
                send_ping(lane, c, now_ms, probe_padding_bytes(own[RATE]), world)
                return
