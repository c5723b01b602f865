"""What a decision can see of the system, compiled: backlogs and rate, fresh or as old as the scenario's view says.

A stream's own device, and its own uplink if it has one, are always seen as they are. What it shares with others is
seen as it stood after the decisions made ``age_ms`` ago or earlier, less the time that has passed; the rate is the one
in force ``age_ms`` ago, times the realization's error.
"""

from __future__ import annotations

from hasten.core.compiled import inlined
from hasten.core.timing import rate_at
from hasten.sim.arrays import FloatArray, Links, Rules
from hasten.sim.stages import copy
from hasten.sim.world import Lane, World


@inlined
def visible_resources(
    lane: Lane, k: int, now_ms: float, link: int, world: World
) -> tuple[FloatArray, float, FloatArray]:
    """Times from which devices (M,), the deciding stream's uplink and workers (W,) seem to be free at decision k."""
    rules, _, _, state, log = world
    row = lane.row
    device_free_ms, worker_free_ms = state.device_free_ms[row], state.worker_free_ms[row]
    uplink_free_ms = state.uplink_free_ms[row, link]
    if rules.age_ms > 0:
        advance_log(lane, k, now_ms - rules.age_ms, world)
        device_free_ms, worker_free_ms = log.visible_device_ms[row], log.visible_worker_ms[row]
        if rules.shared:
            uplink_free_ms = log.visible_uplink_ms[row]
    return device_free_ms, uplink_free_ms, worker_free_ms


@inlined
def visible_rate(row: int, link: int, now_ms: float, rate_factor: float, rules: Rules, links: Links) -> float:
    """The rate as it seems at ``now_ms``; before the start of the run it was what it is at the start."""
    begin, end = links.begin[row, link], links.end[row, link]
    seen_ms = max(now_ms - rules.age_ms, 0.0)
    rate = rate_at(seen_ms, links.from_ms[begin:end], links.bits_per_ms[begin:end], links.period_ms[row, link])
    return rate * rate_factor


@inlined
def advance_log(lane: Lane, k: int, seen_ms: float, world: World) -> None:
    """Make visible, for the lane's k-th decision, what earlier ones did up to ``seen_ms``."""
    row, first_slot, first_task = lane
    tasks, log = world.tasks, world.log
    i = log.visible[row]
    while i < k and tasks.arrival_ms[first_task + i] <= seen_ms:
        log.visible_device_ms[row, tasks.stream[first_task + i]] = log.device_free_ms[first_slot + i]
        i += 1
    if i > log.visible[row]:
        log.visible_uplink_ms[row] = log.uplink_free_ms[first_slot + i - 1]
        copy(log.worker_free_ms[first_slot + i - 1], log.visible_worker_ms[row])
    log.visible[row] = i


@inlined
def write_log(row: int, slot: int, stream: int, world: World) -> None:
    """Keep the state after a decision, if it will be seen late."""
    rules, _, _, state, log = world
    if rules.age_ms > 0:
        log.device_free_ms[slot] = state.device_free_ms[row, stream]
        log.uplink_free_ms[slot] = state.uplink_free_ms[row, 0]
        copy(state.worker_free_ms[row], log.worker_free_ms[slot])
