"""Tasks that their edge has failed go on at another one, compiled: ``runtime.device.moving`` does so with objects."""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled
from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.timing import predict_latency
from hasten.sim.arrays import NOBODY
from hasten.sim.beliefs import (
    CUT,
    ENCODE,
    JOB,
    JOB_MS,
    MOVED_FROM,
    PREDICTED_MS,
    SEEN_RATE,
    SEEN_UPLINK_MS,
)
from hasten.sim.contacts import contact_at, contact_of, edge_at, edges_of
from hasten.sim.device_jobs import best_within, queue_job, running_left_ms
from hasten.sim.device_projection import believed_rtt_ms, plan_frame, project, workers_from
from hasten.sim.service import needs_column
from hasten.sim.world import Lane, World


@compiled
def move(lane: Lane, k: int, now_ms: float, world: World) -> bool:
    """Send a task on to another edge, once at most, from what the device has of it; returns whether it is worth it.

    It is where the answer is in time, and better than what the device itself can still give.
    """
    rules, beliefs = world.rules, world.beliefs
    slot, m = lane.first_slot + k, world.tasks.stream[lane.first_task + k]
    mark, frame, option = beliefs.mark[slot], beliefs.frame[slot], world.state.option[slot]
    if edges_of(world) == 1 or mark[MOVED_FROM] != NOBODY or rules.payload_bits[m, option] == 0:
        return False
    cut, wait_ms = mark[CUT], running_left_ms(lane.row, m, now_ms, world)
    for edge in range(edges_of(world)):
        project(lane, contact_of(edge, m, world), now_ms, world)
    left_ms = world.tasks.arrival_ms[lane.first_task + k] + rules.deadline_ms[m] - now_ms
    here = best_within(m, cut, left_ms - wait_ms, world)
    accuracy = beliefs.finishes.accuracy[m, cut, here] if here != NOBODY else 0.0
    best, best_ms, encode_ms = NOBODY, np.inf, beliefs.finishes.encode_ms[m, cut]
    for j in range(rules.worth.shape[1]):
        edge = rules.ways.edge[m, j]
        fits = rules.payload_bits[m, j] > 0 and beliefs.finishes.partition[m, j] == cut
        if fits and edge != edge_at(lane, k, world) and beliefs.finishes.option_accuracy[m, j] > accuracy:
            own = beliefs.numbers[lane.row, contact_of(edge, m, world)]
            latency_ms = predict_latency(
                wait_ms,
                max(own[SEEN_UPLINK_MS] - now_ms, 0.0),
                max(own[workers_from(world)] - now_ms, 0.0),
                encode_ms,
                rules.payload_bits[m, j],
                rules.edge_ms[m, j],
                max(own[SEEN_RATE], DEAD_LINK_BITS_PER_MS),
                believed_rtt_ms(lane.row, contact_of(edge, m, world), world),
            )
            if latency_ms <= left_ms:
                best, best_ms, accuracy = j, latency_ms, beliefs.finishes.option_accuracy[m, j]
    if best == NOBODY:
        return False
    mark[MOVED_FROM] = option
    world.state.option[slot] = best
    world.state.column[slot] = needs_column(lane.first_task + k, m, best, world.tasks, rules)
    c = contact_at(lane, k, world)
    plan_frame(lane, k, c, now_ms, now_ms + wait_ms + encode_ms, world)
    frame[PREDICTED_MS] = now_ms + best_ms
    mark[JOB], frame[JOB_MS] = ENCODE, encode_ms
    queue_job(lane, k, now_ms, True, world)
    return True
