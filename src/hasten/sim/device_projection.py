"""What a device makes of what it has heard, compiled: its own frames projected onto link and edge.

The law is that of real devices (``core.estimators``); ``runtime.device.backlog_estimate`` does the same with objects.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import inlined
from hasten.core.estimators import hold_up, project_frame, rate_bound, unseen_wait, worker_free
from hasten.core.ping_schedule import PING_BITS
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    BEHIND_MS,
    BITS,
    DUE_MS,
    FIRST,
    IS_SENT,
    LAST,
    LEFT_MS,
    MOST_PENDING,
    NEXT_OWN,
    NO_WORD,
    OTHERS_LOAD,
    OTHERS_RESIDUAL_MS,
    OVERHEAD_MS,
    OVERTAKEN,
    PING_BEHIND_MS,
    PLANNED_MS,
    RATE,
    RATE_THEN,
    READY_MS,
    REPORTED_MS,
    RTT_MS,
    SEEN_RATE,
    SEEN_UPLINK_MS,
    SENT_MS,
    UNSEEN_MS,
    WORD,
    WORKERS,
)
from hasten.sim.contacts import edge_of, most_workers, stream_of, workers_at
from hasten.sim.device_pings import forgotten
from hasten.sim.world import Lane, World


@inlined
def believed_rtt_ms(row: int, c: int, world: World) -> float:
    """What a task offloaded to the edge of contact ``c`` is believed to spend beside its stages."""
    own = world.beliefs.numbers[row, c]
    return float(max(own[RTT_MS] + own[OVERHEAD_MS], 0.0))


@inlined
def workers_from(world: World) -> int:
    """Where in a contact's numbers those begin that say when workers were last seen to be free, ascending."""
    return WORKERS + most_workers(world)


@inlined
def project(lane: Lane, c: int, now_ms: float, world: World) -> float:
    """When the uplink to the edge of contact ``c`` seems to be free; leaves the rate that the device believes, and when
    workers are free.
    """
    rules, state, beliefs = world.rules, world.state, world.beliefs
    own, count, pending = beliefs.numbers[lane.row, c], beliefs.counts[lane.row, c], beliefs.pending[lane.row, c]
    report_ms, first, m = own[WORKERS:], workers_from(world), stream_of(c, world)
    workers = own[first : first + workers_at(edge_of(c, world), world)]
    rtt_ms, reported_ms = own[RTT_MS], own[REPORTED_MS]
    rate, uplink_free_ms, overdue = own[RATE], own[LEFT_MS], 0
    for worker in range(len(workers)):
        workers[worker] = worker_free(reported_ms, report_ms[worker], now_ms, own[OTHERS_LOAD], len(workers))
    own[UNSEEN_MS] = unseen_wait(own[OTHERS_LOAD], own[OTHERS_RESIDUAL_MS], len(workers))
    k, probe = count[FIRST], next_probe(pending, -np.inf)
    while k != NOBODY and forgotten(beliefs.mark[lane.first_slot + k], len(workers)):
        k = beliefs.mark[lane.first_slot + k, NEXT_OWN]
    if rate > 0 and is_before(lane, probe, k, pending, world):
        ping = pending[probe]
        sent_ms, bits = max(ping[SENT_MS], ping[PING_BEHIND_MS]), ping[BITS] - PING_BITS
        rate = min(rate, rate_bound(sent_ms, bits, now_ms, rtt_ms + report_ms[0]))
    elif rate > 0 and k != NOBODY:
        slot = lane.first_slot + k
        option = state.option[slot]
        if beliefs.mark[slot, IS_SENT] == 1 and beliefs.frame[slot, DUE_MS] == np.inf:
            spent_ms = rtt_ms + rules.edge_ms[m, option] + report_ms[0]
            sent_ms = max(beliefs.frame[slot, READY_MS], beliefs.frame[slot, BEHIND_MS])
            rate = min(rate, rate_bound(sent_ms, rules.payload_bits[m, option], now_ms, spent_ms))
    own[SEEN_RATE] = rate
    while rate > 0 and (k != NOBODY or probe != NOBODY):
        if is_before(lane, probe, k, pending, world):
            ready_ms, took_ms = pending[probe, SENT_MS], (pending[probe, BITS] - PING_BITS) / rate
            uplink_free_ms = project_frame(workers, uplink_free_ms, ready_ms, took_ms, 0.0, rtt_ms, reported_ms)
            probe = next_probe(pending, ready_ms)
        else:
            slot = lane.first_slot + k
            option, frame, mark = state.option[slot], beliefs.frame[slot], beliefs.mark[slot]
            if not forgotten(mark, len(workers)):
                if frame[DUE_MS] < np.inf:
                    overdue += hold_up(workers, overdue, frame[DUE_MS], now_ms)
                else:
                    took_ms, edge_ms = rules.payload_bits[m, option] / rate, rules.edge_ms[m, option]
                    ready_ms = frame[READY_MS]
                    uplink_free_ms = project_frame(
                        workers, uplink_free_ms, ready_ms, took_ms, edge_ms, rtt_ms, reported_ms
                    )
            k = mark[NEXT_OWN]
    sort_ascending(workers)
    own[SEEN_UPLINK_MS] = uplink_free_ms
    return float(uplink_free_ms)


@inlined
def next_probe(pending: FloatArray, after_ms: float) -> int:
    """The first ping that measures the rate, sent later than that, and is not answered yet; NOBODY if there is none."""
    found = NOBODY
    for i in range(MOST_PENDING):
        sent_ms = pending[i, SENT_MS]
        counts = after_ms < sent_ms and sent_ms < np.inf and pending[i, BITS] > PING_BITS
        if counts and (found == NOBODY or sent_ms < pending[found, SENT_MS]):
            found = i
    return found


@inlined
def is_before(lane: Lane, probe: int, k: int, pending: FloatArray, world: World) -> bool:
    """Whether there is such a ping, sent before the next frame was planned."""
    if probe == NOBODY:
        return False
    return bool(k == NOBODY or pending[probe, SENT_MS] < world.beliefs.frame[lane.first_slot + k, PLANNED_MS])


@inlined
def sort_ascending(values: FloatArray) -> None:
    """Sort a few values that are nearly in order, in place."""
    for i in range(1, len(values)):
        value, at = values[i], i
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@inlined
def plan_frame(lane: Lane, k: int, c: int, now_ms: float, ready_ms: float, world: World) -> None:
    """A task is to be sent to the edge of contact ``c``, as just seen: its frame joins those without an answer yet."""
    beliefs, slot = world.beliefs, lane.first_slot + k
    count, frame, mark = beliefs.counts[lane.row, c], beliefs.frame[slot], beliefs.mark[slot]
    frame[PLANNED_MS], frame[READY_MS], frame[DUE_MS] = now_ms, ready_ms, np.inf
    frame[RATE_THEN] = beliefs.numbers[lane.row, c, SEEN_RATE]
    mark[IS_SENT], mark[OVERTAKEN], mark[WORD], mark[NEXT_OWN] = 0, 0, NO_WORD, NOBODY
    if count[FIRST] == NOBODY:
        count[FIRST] = k
    else:
        beliefs.mark[lane.first_slot + count[LAST], NEXT_OWN] = k
    count[LAST] = k
