"""How simulated devices come to know their link before a run, compiled: by the pings that real ones begin with.

They connect one after the other, as runs in virtual time do; see ``runtime.device.probing``. Until the run begins the
link's first rate holds, and pings take none of its time.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import inlined
from hasten.core.estimators import PROFILE_COUNTS, rate_after
from hasten.core.ping_schedule import (
    BUDGET_BYTES,
    PING_BITS,
    WARM_UP_MS,
    WARM_UP_PAUSE_MS,
    WARM_UP_PINGS,
    WARM_UP_PROBES,
    WATCH_EVERY_MS,
)
from hasten.core.timing import half_way, rate_at
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    ANSWERED,
    BITS,
    CLEAN_MS,
    FIRST,
    HEARD_MS,
    JOB_FIRST,
    LAST,
    LEFT_MS,
    MOST_PENDING,
    OVERHEADS_HEARD,
    PING_BEHIND_MS,
    PINGED_MS,
    PINGS,
    PLANNED_RTT_MS,
    RATE,
    RATE_MS,
    REPORTED_MS,
    RTT_MS,
    RUNNING,
    SAVED_BYTES,
    SAVED_MS,
    SENT_MS,
    SERVED,
    TRIPS,
    USED_MS,
    WAITS_FIRST,
    WANTED_MS,
    WITHIN_MS,
)
from hasten.sim.edge_queue import workers_of
from hasten.sim.event_heap import PING, TICK, push
from hasten.sim.world import World

LEAD_MS = 300.0
"""Devices are ready so long before a run begins."""


@inlined
def begin_beliefs(row: int, world: World) -> None:
    """What devices believe that have measured their link, one after the other, and an idle edge."""
    beliefs = world.beliefs
    beliefs.edge[row, :], beliefs.served[row, :] = 0.0, 0
    beliefs.served[row, WAITS_FIRST] = NOBODY
    for worker in range(workers_of(beliefs)):
        beliefs.served[row, SERVED + worker] = NOBODY
    streams = beliefs.numbers.shape[1]
    ready_ms = -LEAD_MS
    for m in range(streams - 1, -1, -1):
        ready_ms = warm_up(row, m, ready_ms, world)
    for m in range(streams):
        push(beliefs.event_ms[row], beliefs.event[row], beliefs.served[row], WATCH_EVERY_MS - LEAD_MS, TICK, m)


@inlined
def warm_up(row: int, m: int, ready_ms: float, world: World) -> float:
    """Stream ``m`` is ready at ``ready_ms``, before the run; returns when it began to connect."""
    rules, links, beliefs = world.rules, world.links, world.beliefs
    link = 0 if rules.shared else m
    begin, end = links.begin[row, link], links.end[row, link]
    own, count, pending = beliefs.numbers[row, m], beliefs.counts[row, m], beliefs.pending[row, m]
    own[:], count[:], pending[:, :] = 0.0, 0, 0.0
    count[FIRST], count[LAST], count[JOB_FIRST], count[RUNNING] = NOBODY, NOBODY, NOBODY, NOBODY
    for at in range(MOST_PENDING):
        pending[at, SENT_MS] = np.inf
    rate = rate_at(0.0, links.from_ms[begin:end], links.bits_per_ms[begin:end], links.period_ms[row, link])
    own[WITHIN_MS] = np.inf
    count[OVERHEADS_HEARD] = PROFILE_COUNTS  # of nothing beyond the profile
    trip_ms, transfer_ms, hello_ms = rules.rtt_ms, 0.0, 0.0
    if rate > 0:
        trip_ms += PING_BITS / rate
        transfer_ms, hello_ms = beliefs.finishes.probe_bits[m] / rate, beliefs.finishes.hello_bits[m] / rate
    probe_ms = trip_ms + transfer_ms
    took_ms = min(
        WARM_UP_PINGS * (trip_ms + WARM_UP_PAUSE_MS) + WARM_UP_PROBES * (probe_ms + WARM_UP_PAUSE_MS), WARM_UP_MS
    )
    connected_ms = ready_ms - took_ms
    own[RTT_MS], own[PLANNED_RTT_MS] = trip_ms, trip_ms
    own[USED_MS], own[SAVED_MS], own[SAVED_BYTES] = connected_ms, connected_ms, BUDGET_BYTES
    answer_pings(row, m, connected_ms, trip_ms, probe_ms, world)
    # Probes of a link that is slow against the pauses meet, and of one that is slower still are not answered before.
    own[RATE_MS], own[WANTED_MS], own[LEFT_MS] = -np.inf, -np.inf, -np.inf
    send_ms, took_ms = connected_ms, 0.0
    for probe in range(1 + WARM_UP_PROBES):
        if send_ms > ready_ms:
            break
        own[PINGED_MS] = send_ms
        if rate <= 0 or send_ms + probe_ms > -LEAD_MS:
            if rate > 0:
                pending[probe, SENT_MS], pending[probe, BITS] = send_ms, PING_BITS + beliefs.finishes.probe_bits[m]
                pending[probe, PING_BEHIND_MS] = own[LEFT_MS]
                arrives_ms, index = half_way(send_ms + probe_ms, -rules.rtt_ms), m * MOST_PENDING + probe
                push(beliefs.event_ms[row], beliefs.event[row], beliefs.served[row], arrives_ms, PING, index)
        else:
            left_ms = send_ms + transfer_ms
            start_ms = max(send_ms, own[LEFT_MS])
            own[RATE] = rate_after(own[RATE], own[RATE_MS], start_ms, left_ms, beliefs.finishes.probe_bits[m])
            own[RATE_MS], own[LEFT_MS] = left_ms, left_ms
            own[HEARD_MS] = max(own[HEARD_MS], send_ms + probe_ms)
            own[REPORTED_MS] = half_way(own[HEARD_MS], -rules.rtt_ms)
        send_ms += probe_ms + WARM_UP_PAUSE_MS if probe > 0 else WARM_UP_PINGS * (trip_ms + WARM_UP_PAUSE_MS)
    return connected_ms - 2.0 * rules.rtt_ms - hello_ms


@inlined
def answer_pings(row: int, m: int, connected_ms: float, trip_ms: float, probe_ms: float, world: World) -> None:
    """Two pings when it connected, then one after the other; those that meet the first probe do not count."""
    own, count = world.beliefs.numbers[row, m], world.beliefs.counts[row, m]
    for i in range(2):
        own[TRIPS + i], own[ANSWERED + i] = trip_ms, connected_ms + trip_ms
    count[PINGS] = 2
    for i in range(1 if probe_ms <= trip_ms + WARM_UP_PAUSE_MS else 2, WARM_UP_PINGS):
        sent_ms = connected_ms + i * (trip_ms + WARM_UP_PAUSE_MS)
        own[TRIPS + count[PINGS]], own[ANSWERED + count[PINGS]] = trip_ms, sent_ms + trip_ms
        own[CLEAN_MS], own[HEARD_MS] = sent_ms, sent_ms + trip_ms
        count[PINGS] += 1
