"""How simulated devices come to know their links before a run, compiled: by the pings that real ones begin with.

They connect one after the other, as runs in virtual time do; see ``runtime.device.probing``. Until the run begins a
link's first rate holds, and pings take none of its time.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.estimators import MOST_PINGS, PROFILE_COUNTS, rate_after
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
from hasten.sim.contacts import contact_of, edge_of, edges_of, link_of, most_workers, stream_of, streams_of
from hasten.sim.event_heap import PING, TICK, push
from hasten.sim.world import World

LEAD_MS = 300.0
"""Devices are ready so long before a run begins."""


@inlined
def begin_beliefs(row: int, world: World) -> None:
    """What devices believe that have measured their links, one after the other, and idle edges."""
    beliefs = world.beliefs
    beliefs.edge[row, :, :], beliefs.served[row, :, :] = 0.0, 0
    for edge in range(edges_of(world)):
        beliefs.served[row, edge, WAITS_FIRST] = NOBODY
        for worker in range(most_workers(world)):
            beliefs.served[row, edge, SERVED + worker] = NOBODY
    ready_ms = -LEAD_MS
    for m in range(streams_of(world) - 1, -1, -1):
        ready_ms = connect(row, m, ready_ms, world)
    for m in range(streams_of(world)):
        push(beliefs.event_ms[row], beliefs.event[row], beliefs.served[row, 0], WATCH_EVERY_MS - LEAD_MS, TICK, m)


@inlined
def connect(row: int, m: int, ready_ms: float, world: World) -> float:
    """Stream ``m`` is ready at ``ready_ms``, before the run; returns when it began to connect.

    It connects to all edges at once; when it has it measures one link after the other.
    """
    connecting_ms, measuring_ms = 0.0, 0.0
    for edge in range(edges_of(world)):
        connecting_ms = max(connecting_ms, connecting_of(row, contact_of(edge, m, world), world))
        measuring_ms += measuring_of(first_times(row, contact_of(edge, m, world), world))
    began_ms = ready_ms - measuring_ms - connecting_ms
    begin_ms = ready_ms - measuring_ms
    for edge in range(edges_of(world)):
        c = contact_of(edge, m, world)
        end_ms = begin_ms + measuring_of(first_times(row, c, world))
        warm_up(row, c, began_ms + connecting_of(row, c, world), (begin_ms, end_ms), world)
        begin_ms = end_ms
    return began_ms


@compiled
def first_times(row: int, c: int, world: World) -> tuple[float, float, float]:
    """Of the link of contact ``c``: its rate before the run, and how long a ping and a first probe take."""
    links, link, trip_ms = world.links, link_of(c, world), world.rules.ways.rtt_ms[edge_of(c, world)]
    begin, end = links.begin[row, link], links.end[row, link]
    rate = rate_at(0.0, links.from_ms[begin:end], links.bits_per_ms[begin:end], links.period_ms[row, link])
    if rate <= 0:
        return 0.0, trip_ms, trip_ms
    trip_ms += PING_BITS / rate
    return rate, trip_ms, trip_ms + world.beliefs.finishes.probe_bits[stream_of(c, world)] / rate


@inlined
def measuring_of(times: tuple[float, float, float]) -> float:
    """How long a device measures a link before it is ready."""
    _, trip_ms, probe_ms = times
    took_ms = WARM_UP_PINGS * (trip_ms + WARM_UP_PAUSE_MS) + WARM_UP_PROBES * (probe_ms + WARM_UP_PAUSE_MS)
    return float(min(took_ms, WARM_UP_MS))


@compiled
def connecting_of(row: int, c: int, world: World) -> float:
    """How long it takes to be connected to the edge of contact ``c``."""
    rate, _, _ = first_times(row, c, world)
    hello_ms = world.beliefs.finishes.hello_bits[stream_of(c, world)] / rate if rate > 0 else 0.0
    return float(2.0 * world.rules.ways.rtt_ms[edge_of(c, world)] + hello_ms)


@inlined
def warm_up(row: int, c: int, connected_ms: float, measures_ms: tuple[float, float], world: World) -> None:
    """What contact ``c`` is at the start of a run. It is connected at ``connected_ms``, and measures its link from the
    first of ``measures_ms`` to the second.
    """
    beliefs, rtt_ms = world.beliefs, world.rules.ways.rtt_ms[edge_of(c, world)]
    own, count, pending = beliefs.numbers[row, c], beliefs.counts[row, c], beliefs.pending[row, c]
    own[:], count[:], pending[:, :] = 0.0, 0, 0.0
    count[FIRST], count[LAST], count[JOB_FIRST], count[RUNNING] = NOBODY, NOBODY, NOBODY, NOBODY
    for at in range(MOST_PENDING):
        pending[at, SENT_MS] = np.inf
    rate, trip_ms, probe_ms = first_times(row, c, world)
    bits, (begin_ms, end_ms) = beliefs.finishes.probe_bits[stream_of(c, world)], measures_ms
    own[WITHIN_MS] = np.inf
    count[OVERHEADS_HEARD] = PROFILE_COUNTS  # of nothing beyond the profile
    own[RTT_MS], own[PLANNED_RTT_MS] = trip_ms, trip_ms
    own[USED_MS], own[SAVED_MS], own[SAVED_BYTES] = connected_ms, connected_ms, BUDGET_BYTES
    answer_pings(row, c, (connected_ms, begin_ms), trip_ms, probe_ms, world)
    # Probes of a link that is slow against the pauses meet, and of one that is slower still are not answered before.
    own[RATE_MS], own[WANTED_MS], own[LEFT_MS] = -np.inf, -np.inf, -np.inf
    send_ms = connected_ms
    for probe in range(1 + WARM_UP_PROBES):
        if send_ms > end_ms:
            break
        own[PINGED_MS] = send_ms
        if rate <= 0 or send_ms + probe_ms > -LEAD_MS:
            if rate > 0:
                pending[probe, SENT_MS], pending[probe, BITS] = send_ms, PING_BITS + bits
                pending[probe, PING_BEHIND_MS] = own[LEFT_MS]
                arrives_ms, index = half_way(send_ms + probe_ms, -rtt_ms), c * MOST_PENDING + probe
                push(beliefs.event_ms[row], beliefs.event[row], beliefs.served[row, 0], arrives_ms, PING, index)
        else:
            left_ms = send_ms + bits / rate
            start_ms = max(send_ms, own[LEFT_MS])
            own[RATE] = rate_after(own[RATE], own[RATE_MS], start_ms, left_ms, bits)
            own[RATE_MS], own[LEFT_MS] = left_ms, left_ms
            own[HEARD_MS] = max(own[HEARD_MS], send_ms + probe_ms)
            own[REPORTED_MS] = half_way(own[HEARD_MS], -rtt_ms)
        send_ms = send_ms + probe_ms if probe > 0 else begin_ms + WARM_UP_PINGS * (trip_ms + WARM_UP_PAUSE_MS)
        send_ms += WARM_UP_PAUSE_MS if probe > 0 else 0.0


@inlined
def answer_pings(row: int, c: int, from_ms: tuple[float, float], trip_ms: float, probe_ms: float, world: World) -> None:
    """Two pings when it connected, then one after the other; those that meet the first probe do not count.

    ``from_ms``: when it was connected, and when it began to measure.
    """
    own, count, (connected_ms, begin_ms) = world.beliefs.numbers[row, c], world.beliefs.counts[row, c], from_ms
    for i in range(2):
        own[TRIPS + i], own[ANSWERED + i] = trip_ms, connected_ms + trip_ms
    count[PINGS] = 2
    for i in range(WARM_UP_PINGS):
        sent_ms = begin_ms + i * (trip_ms + WARM_UP_PAUSE_MS)
        if i < 2 and sent_ms < connected_ms + probe_ms:
            continue
        if count[PINGS] == MOST_PINGS:
            for kept in range(1, MOST_PINGS):
                own[TRIPS + kept - 1], own[ANSWERED + kept - 1] = own[TRIPS + kept], own[ANSWERED + kept]
            count[PINGS] -= 1
        own[TRIPS + count[PINGS]], own[ANSWERED + count[PINGS]] = trip_ms, sent_ms + trip_ms
        own[CLEAN_MS], own[HEARD_MS] = sent_ms, sent_ms + trip_ms
        count[PINGS] += 1
