"""The stages of one task, compiled: device, uplink, edge, and the two orders in which uplink and edge serve.

Times come from the timing law (``core.timing``). In *grant* order uplink and edge serve in the order of decisions, so
a task's finish is fixed when it is decided. In *ready* order the uplink serves by the time a tensor is ready and the
edge by the time it arrives there, ties by the order of decisions; a turn is certain once no later decision can come
before it, which holds for every task that is ready, or at the edge, by the time of the current decision. An edge that
serves the earliest deadline first does so among what is there (``sim.turns``); certain is there what has begun.

Where tasks have noise (``core.noise``) stages take as long as it says, and answers come later by what it says. What the
ready order cancels it judges by times as profiled, as devices and edge do; the grant order fixes what will be. So it is
with tasks that stop early (``core.confidence``): they take less, which nobody knows beforehand.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import inlined
from hasten.core.edge_order import earliest_deadline
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.timing import edge_ends, half_way, stage_end, stage_start
from hasten.sim.arrays import NOBODY, FloatArray, Rules, State
from hasten.sim.service import extra_ms, needs_column, taken_at_edge_ms, taken_ms, too_late, transfer
from hasten.sim.turns import insert, keep_laid_out, latest_ms, lay_in, lay_out, take_out, turn_at
from hasten.sim.world import Lane, World


@inlined
def take_worker(worker_free_ms: FloatArray, arrive_ms: float, edge_ms: float) -> float:
    """Serve a task on the worker that is free earliest, keep the others' times ascending; returns the end."""
    end_ms: float = stage_end(arrive_ms, worker_free_ms[0], edge_ms)
    i = 0
    while i + 1 < len(worker_free_ms) and worker_free_ms[i + 1] < end_ms:
        worker_free_ms[i] = worker_free_ms[i + 1]
        i += 1
    worker_free_ms[i] = end_ms
    return end_ms


@inlined
def earned(column: int, stream: int, latency_ms: float, rules: Rules) -> float:
    """Gain of a task that needed ``column`` of ``rules.needs`` and was answered after ``latency_ms``."""
    worth, deadline_ms = rules.needs.worth[stream, max(column, 0)], rules.deadline_ms[stream]
    gain: float = task_gain(worth, latency_ms, deadline_ms, rules.time_weight, rules.late_gain, rules.fade)
    return gain


@inlined
def drop(slot: int, now_ms: float, state: State) -> None:
    """Record a task that uses nothing."""
    state.option[slot] = DROP
    state.column[slot] = DROP
    state.finish_ms[slot] = np.inf
    state.known_ms[slot] = now_ms


@inlined
def commit_granted(lane: Lane, k: int, slot: int, option: int, world: World) -> float:
    """Execute the decision of a lane's k-th task in grant order, or drop the task if it would finish too late.

    Returns its gain. Outcomes are kept in ``slot``.
    """
    rules, tasks, links, state, _, _ = world
    row, task = lane.row, lane.first_task + k
    now_ms, stream = tasks.arrival_ms[task], tasks.stream[task]
    if option == DROP:
        drop(slot, now_ms, state)
        return rules.late_gain
    needs, column = rules.needs, needs_column(task, stream, option, tasks, rules)
    payload_bits = needs.payload_bits[stream, column]
    device_ms = taken_ms(needs.device_ms[stream, column], tasks.device_factor, task)
    done_ms = stage_end(now_ms, state.device_free_ms[row, stream], device_ms)
    finish_ms, sent_ms = done_ms, 0.0
    edge = rules.ways.edge[stream, option]
    edge_ms = taken_at_edge_ms(needs.edge_ms[stream, column], tasks, task, edge)
    link, rtt_ms = rules.ways.link[edge, stream], rules.ways.rtt_ms[edge]
    first, end = rules.ways.first_worker[edge], rules.ways.first_worker[edge + 1]
    worker_free_ms = state.worker_free_ms[row, first:end]
    if payload_bits > 0:
        sent_ms = transfer(stage_start(done_ms, state.uplink_free_ms[row, link]), payload_bits, links, row, link)
        _, finish_ms = edge_ends(sent_ms, worker_free_ms[0], edge_ms, rtt_ms)
    finish_ms += extra_ms(tasks, task, payload_bits > 0)
    if not finish_ms - now_ms <= rules.useful_ms[stream]:
        drop(slot, now_ms, state)
        return rules.late_gain
    state.device_free_ms[row, stream] = done_ms
    if payload_bits > 0:
        state.uplink_free_ms[row, link] = sent_ms
        take_worker(worker_free_ms, half_way(sent_ms, rtt_ms), edge_ms)
        state.sent[slot] = True
    state.option[slot] = option
    state.column[slot] = column
    state.device_done_ms[slot] = done_ms
    state.finish_ms[slot] = finish_ms
    state.known_ms[slot] = finish_ms
    return earned(column, stream, finish_ms - now_ms, rules)


@inlined
def commit_ready(lane: Lane, k: int, option: int, world: World) -> float:
    """Execute the decision of a lane's k-th task in ready order and project all committed work.

    Returns the gain that is certain by now. The lane must be settled up to the decision.
    """
    rules, tasks, _, state, _, _ = world
    row, first_slot, first_task = lane
    slot = first_slot + k
    now_ms, stream = tasks.arrival_ms[first_task + k], tasks.stream[first_task + k]
    if option == DROP:
        drop(slot, now_ms, state)
        return rules.late_gain
    column = needs_column(first_task + k, stream, option, tasks, rules)
    state.option[slot], state.column[slot] = option, column
    device_ms, payload_bits = rules.device_ms[stream, option], rules.payload_bits[stream, option]
    rtt_ms = rules.ways.rtt_ms[rules.ways.edge[stream, option]]
    ahead_ms = device_ms + (rules.edge_ms[stream, option] + rtt_ms if payload_bits > 0 else 0.0)
    start_ms = stage_start(now_ms, state.device_free_ms[row, stream])
    if too_late(start_ms, ahead_ms, now_ms, stream, rules):
        cancel(slot, start_ms, state)
        return rules.late_gain
    device_ms = taken_ms(rules.needs.device_ms[stream, column], tasks.device_factor, first_task + k)
    done_ms = stage_end(now_ms, state.device_free_ms[row, stream], device_ms)
    state.device_free_ms[row, stream] = done_ms
    state.device_done_ms[slot] = done_ms
    if rules.needs.payload_bits[stream, column] == 0:
        finish_ms = done_ms + extra_ms(tasks, first_task + k, False)
        state.finish_ms[slot] = finish_ms
        state.known_ms[slot] = finish_ms
        return earned(column, stream, finish_ms - now_ms, rules)
    state.due_ms[slot] = done_ms
    state.uplink_head[row] = insert(state.uplink_head[row], k, first_slot, state)
    edge = rules.ways.edge[stream, option]
    if not rules.ways.by_deadline[edge]:  # else it depends on who looks
        project(lane, edge, world)
    return 0.0


@inlined
def settle(lane: Lane, until_ms: float, world: World) -> float:
    """Serve, for good, whatever no decision after ``until_ms`` can overtake; returns the gain that becomes certain."""
    rules, state = world.rules, world.state
    row, first_slot, first_task = lane
    gain = 0.0
    uplink_free_ms = state.settled_uplink_ms[row]
    k = state.uplink_head[row]
    while k != NOBODY and state.due_ms[first_slot + k] <= until_ms:
        slot = first_slot + k
        after = state.next[slot]
        start_ms, arrive_ms = send(lane, k, uplink_free_ms, world)
        if np.isnan(arrive_ms):
            cancel(slot, start_ms, state)
            gain += rules.late_gain
        else:
            state.sent[slot] = True
            state.due_ms[slot] = arrive_ms
            edge = rules.ways.edge[world.tasks.stream[first_task + k], state.option[slot]]
            state.edge_head[row, edge] = insert(state.edge_head[row, edge], k, first_slot, state)
        k = after
    state.uplink_head[row] = k
    for edge in range(len(rules.ways.rtt_ms)):
        if rules.ways.by_deadline[edge]:
            gain += settle_by_deadline(lane, edge, until_ms, world)
            continue
        k = state.edge_head[row, edge]
        while k != NOBODY and state.due_ms[first_slot + k] <= until_ms:
            gain += serve_for_good(lane, k, state.due_ms[first_slot + k], world)
            k = state.next[first_slot + k]
        state.edge_head[row, edge] = k
    return gain


@inlined
def settle_by_deadline(lane: Lane, edge: int, until_ms: float, world: World) -> float:
    """As :func:`settle` at an edge that serves the earliest deadline first, for what begins by ``until_ms``."""
    state, gain, soonest = world.state, 0.0, world.rules.ways.first_worker[edge]
    n = lay_out(lane, edge, world)
    while n > 0:
        start_ms = stage_start(state.scratch_ms[0], state.settled_worker_ms[lane.row, soonest])
        if start_ms > until_ms:
            break
        place = turn_at(lane, start_ms, n, world)
        gain += serve_for_good(lane, state.scratch_task[place], state.scratch_ms[place], world)
        take_out(place, n, world)
        n -= 1
    keep_laid_out(lane, edge, n, world)
    return gain


@inlined
def serve_for_good(lane: Lane, k: int, arrive_ms: float, world: World) -> float:
    """A task's certain turn at the edge; returns its gain."""
    rules, tasks, state = world.rules, world.tasks, world.state
    slot, task = lane.first_slot + k, lane.first_task + k
    start_ms, finish_ms = serve(lane, k, arrive_ms, state.settled_worker_ms[lane.row], world)
    if np.isnan(finish_ms):
        cancel(slot, start_ms, state)
        return float(rules.late_gain)
    state.finish_ms[slot] = finish_ms
    state.known_ms[slot] = finish_ms
    return earned(state.column[slot], tasks.stream[task], finish_ms - tasks.arrival_ms[task], rules)


@inlined
def project(lane: Lane, edge: int, world: World) -> None:
    """Find when uplinks and workers of an edge would be free if nothing else were decided."""
    state = world.state
    n = project_uplinks(lane, edge, world)
    for i in range(n):
        serve(lane, state.scratch_task[i], state.scratch_ms[i], state.worker_free_ms[lane.row], world)


@inlined
def project_before(lane: Lane, m: int, edge: int, now_ms: float, world: World) -> None:
    """As :func:`project` where the earliest deadline is served first, for a task of stream ``m`` that comes now.

    Workers then have done what runs by now and, of what waits or is on its way, what has its turn before that task.
    """
    rules, state = world.rules, world.state
    worker_free_ms, soonest = state.worker_free_ms[lane.row], rules.ways.first_worker[edge]
    n = project_uplinks(lane, edge, world)
    own_turn = earliest_deadline(now_ms, now_ms + rules.useful_ms[m])
    while n > 0:
        start_ms = stage_start(state.scratch_ms[0], worker_free_ms[soonest])
        place = turn_at(lane, start_ms, n, world)
        k, arrive_ms = state.scratch_task[place], state.scratch_ms[place]
        if start_ms <= now_ms or earliest_deadline(arrive_ms, latest_ms(lane, k, world)) <= own_turn:
            serve(lane, k, arrive_ms, worker_free_ms, world)
        take_out(place, n, world)
        n -= 1


@inlined
def project_uplinks(lane: Lane, edge: int, world: World) -> int:
    """Find when uplinks to an edge would be free; lays out what is there, and what comes there, and returns how many.

    Its workers are left as they are for certain.
    """
    state, ways = world.state, world.rules.ways
    row, first_slot, first_task = lane
    uplink_free_ms = state.uplink_free_ms[row]
    for link in range(ways.first_link[edge], ways.first_link[edge + 1]):
        uplink_free_ms[link] = state.settled_uplink_ms[row, link]
    for worker in range(ways.first_worker[edge], ways.first_worker[edge + 1]):
        state.worker_free_ms[row, worker] = state.settled_worker_ms[row, worker]
    n = lay_out(lane, edge, world)
    k = state.uplink_head[row]
    while k != NOBODY:
        if ways.edge[world.tasks.stream[first_task + k], state.option[first_slot + k]] == edge:
            _, at_ms = send(lane, k, uplink_free_ms, world)
            if not np.isnan(at_ms):
                lay_in(k, at_ms, n, world)
                n += 1
        k = state.next[first_slot + k]
    return n


@inlined
def send(lane: Lane, k: int, uplink_free_ms: FloatArray, world: World) -> tuple[float, float]:
    """A task's turn on the uplink: its start and its arrival at the edge, NaN when it is cancelled instead."""
    rules, tasks, links, state, _, _ = world
    row, slot, task = lane.row, lane.first_slot + k, lane.first_task + k
    stream, option = tasks.stream[task], state.option[slot]
    edge = rules.ways.edge[stream, option]
    link, rtt_ms = rules.ways.link[edge, stream], rules.ways.rtt_ms[edge]
    start_ms = stage_start(state.due_ms[slot], uplink_free_ms[link])
    if too_late(start_ms, rules.edge_ms[stream, option] + rtt_ms, tasks.arrival_ms[task], stream, rules):
        return start_ms, np.nan
    sent_ms = transfer(start_ms, rules.payload_bits[stream, option], links, row, link)
    uplink_free_ms[link] = sent_ms
    return start_ms, half_way(sent_ms, rtt_ms)


@inlined
def serve(lane: Lane, k: int, arrive_ms: float, free_ms: FloatArray, world: World) -> tuple[float, float]:
    """A task's turn at its edge: its start and when the answer is back, NaN when it is cancelled instead.

    ``free_ms`` (W,) is of the workers of all edges.
    """
    rules, tasks, _, state, _, _ = world
    slot, task = lane.first_slot + k, lane.first_task + k
    stream, option = tasks.stream[task], state.option[slot]
    edge, edge_ms = rules.ways.edge[stream, option], rules.edge_ms[stream, option]
    rtt_ms, first, end = rules.ways.rtt_ms[edge], rules.ways.first_worker[edge], rules.ways.first_worker[edge + 1]
    worker_free_ms = free_ms[first:end]
    start_ms = stage_start(arrive_ms, worker_free_ms[0])
    if too_late(start_ms, half_way(edge_ms, rtt_ms), tasks.arrival_ms[task], stream, rules):
        return start_ms, np.nan
    served_ms = taken_at_edge_ms(rules.needs.edge_ms[stream, state.column[slot]], tasks, task, edge)
    end_ms = take_worker(worker_free_ms, arrive_ms, served_ms)
    return start_ms, half_way(end_ms, rtt_ms) + extra_ms(tasks, task, True)


@inlined
def cancel(slot: int, now_ms: float, state: State) -> None:
    """Record a task that is cancelled where it stands."""
    state.finish_ms[slot] = np.inf
    state.known_ms[slot] = now_ms
