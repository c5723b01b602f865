"""The stages of one task, compiled: device, uplink, edge, and the two orders in which uplink and edge serve.

Times come from the timing law (``core.timing``). In *grant* order uplink and edge serve in the order of decisions, so
a task's finish is fixed when it is decided. In *ready* order the uplink serves by the time a tensor is ready and the
edge by the time it arrives there, ties by the order of decisions; a turn is certain once no later decision can come
before it, which holds for every task that is ready, or at the edge, by the time of the current decision.

Where tasks have noise (``core.noise``) stages take as long as it says, and answers come later by what it says. What the
ready order cancels it judges by times as profiled, as devices and edge do; the grant order fixes what will be. So it is
with tasks that stop early (``core.confidence``): they take less, which nobody knows beforehand.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import inlined
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.timing import edge_ends, half_way, stage_end, stage_start
from hasten.sim.arrays import NOBODY, FloatArray, Rules, State
from hasten.sim.service import extra_ms, needs_column, taken_ms, too_late, transfer
from hasten.sim.world import Lane, World


@inlined
def copy(source: FloatArray, target: FloatArray) -> None:
    """Copy element by element; a slice assignment would allocate."""
    for i in range(len(target)):
        target[i] = source[i]


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
    edge_ms = taken_ms(needs.edge_ms[stream, column], tasks.edge_factor, task)
    device_ms = taken_ms(needs.device_ms[stream, column], tasks.device_factor, task)
    done_ms = stage_end(now_ms, state.device_free_ms[row, stream], device_ms)
    finish_ms, sent_ms = done_ms, 0.0
    link = 0 if rules.shared else stream
    if payload_bits > 0:
        sent_ms = transfer(stage_start(done_ms, state.uplink_free_ms[row, link]), payload_bits, links, row, link)
        _, finish_ms = edge_ends(sent_ms, state.worker_free_ms[row, 0], edge_ms, rules.rtt_ms)
    finish_ms += extra_ms(tasks, task, payload_bits > 0)
    if not finish_ms - now_ms <= rules.useful_ms[stream]:
        drop(slot, now_ms, state)
        return rules.late_gain
    state.device_free_ms[row, stream] = done_ms
    if payload_bits > 0:
        state.uplink_free_ms[row, link] = sent_ms
        take_worker(state.worker_free_ms[row], half_way(sent_ms, rules.rtt_ms), edge_ms)
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
    ahead_ms = device_ms + (rules.edge_ms[stream, option] + rules.rtt_ms if payload_bits > 0 else 0.0)
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
    project(lane, world)
    return 0.0


@inlined
def settle(lane: Lane, until_ms: float, world: World) -> float:
    """Serve, for good, whatever no decision after ``until_ms`` can overtake; returns the gain that becomes certain."""
    rules, tasks, _, state, _, _ = world
    row, first_slot, first_task = lane
    gain = 0.0
    uplink_free_ms, worker_free_ms = state.settled_uplink_ms[row], state.settled_worker_ms[row]
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
            state.edge_head[row] = insert(state.edge_head[row], k, first_slot, state)
        k = after
    state.uplink_head[row] = k
    k = state.edge_head[row]
    while k != NOBODY and state.due_ms[first_slot + k] <= until_ms:
        slot = first_slot + k
        start_ms, finish_ms = serve(lane, k, state.due_ms[slot], worker_free_ms, world)
        if np.isnan(finish_ms):
            cancel(slot, start_ms, state)
            gain += rules.late_gain
        else:
            state.finish_ms[slot] = finish_ms
            state.known_ms[slot] = finish_ms
            stream = tasks.stream[first_task + k]
            gain += earned(state.column[slot], stream, finish_ms - tasks.arrival_ms[first_task + k], rules)
        k = state.next[slot]
    state.edge_head[row] = k
    return gain


@inlined
def project(lane: Lane, world: World) -> None:
    """Find when uplinks and workers would be free if nothing else were decided."""
    state = world.state
    row, first_slot, _ = lane
    uplink_free_ms, worker_free_ms = state.uplink_free_ms[row], state.worker_free_ms[row]
    copy(state.settled_uplink_ms[row], uplink_free_ms)
    copy(state.settled_worker_ms[row], worker_free_ms)
    arrive_ms, arriving = state.scratch_ms, state.scratch_task
    n = 0
    k = state.edge_head[row]
    while k != NOBODY:
        arrive_ms[n], arriving[n] = state.due_ms[first_slot + k], k
        n += 1
        k = state.next[first_slot + k]
    k = state.uplink_head[row]
    while k != NOBODY:
        _, at_ms = send(lane, k, uplink_free_ms, world)
        if not np.isnan(at_ms):
            i = n
            while i > 0 and (arrive_ms[i - 1] > at_ms or (arrive_ms[i - 1] == at_ms and arriving[i - 1] > k)):
                arrive_ms[i], arriving[i] = arrive_ms[i - 1], arriving[i - 1]
                i -= 1
            arrive_ms[i], arriving[i] = at_ms, k
            n += 1
        k = state.next[first_slot + k]
    for i in range(n):
        serve(lane, arriving[i], arrive_ms[i], worker_free_ms, world)


@inlined
def send(lane: Lane, k: int, uplink_free_ms: FloatArray, world: World) -> tuple[float, float]:
    """A task's turn on the uplink: its start and its arrival at the edge, NaN when it is cancelled instead."""
    rules, tasks, links, state, _, _ = world
    row, slot, task = lane.row, lane.first_slot + k, lane.first_task + k
    stream, option = tasks.stream[task], state.option[slot]
    link = 0 if rules.shared else stream
    start_ms = stage_start(state.due_ms[slot], uplink_free_ms[link])
    if too_late(start_ms, rules.edge_ms[stream, option] + rules.rtt_ms, tasks.arrival_ms[task], stream, rules):
        return start_ms, np.nan
    sent_ms = transfer(start_ms, rules.payload_bits[stream, option], links, row, link)
    uplink_free_ms[link] = sent_ms
    return start_ms, half_way(sent_ms, rules.rtt_ms)


@inlined
def serve(lane: Lane, k: int, arrive_ms: float, worker_free_ms: FloatArray, world: World) -> tuple[float, float]:
    """A task's turn at the edge: its start and when the answer is back, NaN when it is cancelled instead."""
    rules, tasks, _, state, _, _ = world
    slot, task = lane.first_slot + k, lane.first_task + k
    stream, option = tasks.stream[task], state.option[slot]
    edge_ms = rules.edge_ms[stream, option]
    start_ms = stage_start(arrive_ms, worker_free_ms[0])
    if too_late(start_ms, half_way(edge_ms, rules.rtt_ms), tasks.arrival_ms[task], stream, rules):
        return start_ms, np.nan
    served_ms = taken_ms(rules.needs.edge_ms[stream, state.column[slot]], tasks.edge_factor, task)
    end_ms = take_worker(worker_free_ms, arrive_ms, served_ms)
    return start_ms, half_way(end_ms, rules.rtt_ms) + extra_ms(tasks, task, True)


@inlined
def cancel(slot: int, now_ms: float, state: State) -> None:
    """Record a task that is cancelled where it stands."""
    state.finish_ms[slot] = np.inf
    state.known_ms[slot] = now_ms


@inlined
def insert(head: int, k: int, first_slot: int, state: State) -> int:
    """Put task ``k`` into the list that starts at ``head``, by ``due_ms`` and then by ``k``; returns the new head."""
    due_ms = state.due_ms[first_slot + k]
    before, after = NOBODY, head
    while after != NOBODY:
        other_ms = state.due_ms[first_slot + after]
        if other_ms > due_ms or (other_ms == due_ms and after > k):
            break
        before, after = after, state.next[first_slot + after]
    state.next[first_slot + k] = after
    if before == NOBODY:
        return k
    state.next[first_slot + before] = k
    return head
