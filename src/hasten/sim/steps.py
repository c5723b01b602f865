"""One step of a whole batch, compiled: what each row's next decision sees, and what becomes of the decisions made.

Step k is the k-th task of every row that still has one. ``observe`` fills the arrays of a view; ``commit`` executes
the decisions. ``run_plan`` does whole runs whose decisions are given, ``run_ranked`` those that a ranking decides.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.options import DROP
from hasten.core.ranking import load_share, score
from hasten.core.timing import predict_latency
from hasten.sim.arrays import FloatArray, IntArray, Ranked, Rules
from hasten.sim.contacts import contact_of
from hasten.sim.descriptions import gain_of
from hasten.sim.device_events import STAY, decide_task, expected_ms, run_events
from hasten.sim.device_projection import believed_rtt_ms
from hasten.sim.device_warm_up import begin_beliefs
from hasten.sim.observation_function import (
    planned_rtt_ms,
    show_first,
    show_further,
    unseen_wait_ms,
    visible_rate,
    visible_resources,
    write_log,
)
from hasten.sim.stages import commit_granted, commit_ready, settle
from hasten.sim.world import Lane, Shown, Told, World


@inlined
def lane_of(row: int, world: World) -> Lane:
    """Where the tasks of one of a batch's rows lie."""
    first = world.tasks.first[row]
    return Lane(row, first, first)


@compiled
def observe(k: int, view: Shown, world: World) -> None:
    """Fill the view for the k-th task of each of its rows."""
    tasks, state = world.tasks, world.state
    for a in range(len(view.row)):
        b = view.row[a]
        task = tasks.first[b] + k
        now, m = tasks.arrival_ms[task], tasks.stream[task]
        view.now_ms[a], view.stream[a] = now, m
        view.device_wait_ms[a] = max(state.device_free_ms[b, m] - now, 0.0)
        for edge in range(len(world.rules.ways.rtt_ms)):
            device_free_ms, uplink_free_ms, worker_free_ms = visible_resources(
                lane_of(b, world), k, m, edge, now, world
            )
            rate = visible_rate(b, m, edge, now, tasks.rate_factor[task], world)
            rtt_ms, unseen_ms = planned_rtt_ms(b, m, edge, world), unseen_wait_ms(b, m, edge, world)
            if edge == 0:
                show_first(a, (uplink_free_ms, rate, rtt_ms, unseen_ms), worker_free_ms, device_free_ms, view)
            else:
                show_further(edge - 1, a, (uplink_free_ms, rate, rtt_ms + unseen_ms), worker_free_ms, view)


@compiled
def commit(k: int, row: IntArray, option: IntArray, predicts: bool, world: World) -> None:
    """Execute the decisions (A,) of step ``k``; what can no longer be overtaken is served for good.

    With ``predicts`` an option that the view calls useless by its end is not run: the expired-task rule where finish
    times are not fixed at the decision. It holds for every scheduler, also those that ignore queues.
    """
    for a in range(len(row)):
        chosen = option[a]
        if predicts and chosen != DROP:
            edge = world.rules.ways.edge[world.tasks.stream[world.tasks.first[row[a]] + k], chosen]
            waits = look(row[a], k, edge, world)
            chosen = unless_expired(row[a], k, chosen, waits, world)
        execute(row[a], k, chosen, world)


@compiled
def run_ranked(first_step: int, end_step: int, predicts: bool, ranked: Ranked, world: World) -> None:
    """Let a ranking (``core.ranking``) decide the tasks of all rows from step ``first_step`` up to ``end_step``.

    There is one edge.
    """
    rules, tasks, _, _, _, _ = world
    for b in range(len(tasks.first)):
        for k in range(first_step, min(end_step, tasks.number[b])):
            waits = look(b, k, 0, world)
            m = tasks.stream[tasks.first[b] + k]
            option = best_ranked(m, waits, ranked, planned_rtt_ms(b, m, 0, world), rules)
            if predicts and option != DROP:
                option = unless_expired(b, k, option, waits, world)
            execute(b, k, option, world)


@inlined
def look(b: int, k: int, edge: int, world: World) -> tuple[float, float, float, float, float]:
    """What the timing law predicts from at a row's k-th decision for an edge: waits of device, uplink and edge, rate,
    round trip.

    What is to be waited for at the edge in any case counts with the round trip.
    """
    tasks, state = world.tasks, world.state
    task = tasks.first[b] + k
    now, m = tasks.arrival_ms[task], tasks.stream[task]
    _, uplink_free_ms, worker_free_ms = visible_resources(lane_of(b, world), k, m, edge, now, world)
    device_wait_ms = max(state.device_free_ms[b, m] - now, 0.0)
    uplink_wait_ms = max(uplink_free_ms - now, 0.0)
    edge_wait_ms = max(worker_free_ms[0] - now, 0.0)
    rate = visible_rate(b, m, edge, now, tasks.rate_factor[task], world)
    rtt_ms = planned_rtt_ms(b, m, edge, world) + unseen_wait_ms(b, m, edge, world)
    return device_wait_ms, uplink_wait_ms, edge_wait_ms, max(rate, DEAD_LINK_BITS_PER_MS), rtt_ms


@inlined
def best_ranked(
    m: int, waits: tuple[float, float, float, float, float], ranked: Ranked, empty_rtt_ms: float, rules: Rules
) -> int:
    """The option of the best score, the first of equals; DROP when all are ruled out.

    In an empty system an offloaded task spends ``empty_rtt_ms`` beside its stages.
    """
    device_wait_ms, uplink_wait_ms, edge_wait_ms, rate, rtt_ms = waits
    load = load_share(device_wait_ms, uplink_wait_ms, edge_wait_ms, rules.deadline_ms[m])
    if not ranked.sees_queues:
        device_wait_ms, uplink_wait_ms, edge_wait_ms, rtt_ms = 0.0, 0.0, 0.0, empty_rtt_ms
    best, best_score = DROP, -np.inf
    for j in range(ranked.device_ms.shape[1]):
        if load < ranked.low_load[m, j] or load >= ranked.high_load[m, j]:
            continue
        latency_ms = predict_latency(
            device_wait_ms,
            uplink_wait_ms,
            edge_wait_ms,
            ranked.device_ms[m, j],
            ranked.payload_bits[m, j],
            ranked.edge_ms[m, j],
            rate,
            rtt_ms,
        )
        rank = score(latency_ms, rules.useful_ms[m], ranked.useful_ms[m, j], ranked.late_ms[m, j])
        if rank > best_score:
            best, best_score = j, rank
    return best if best == DROP else ranked.column[m, best]


@inlined
def unless_expired(b: int, k: int, option: int, waits: tuple[float, float, float, float, float], world: World) -> int:
    """The option, or DROP if it is predicted to be useless by its end.

    What others may bring to the edge on average is a reason to choose otherwise, and none to refuse a task. Devices
    that see by themselves judge by the round trip of the moment: a task that is late only by that stays (STAY).
    """
    rules, tasks, _, _, _, _ = world
    m = tasks.stream[tasks.first[b] + k]
    if rules.from_devices:
        now_ms = tasks.arrival_ms[tasks.first[b] + k]
        lane, edge = lane_of(b, world), rules.ways.edge[m, option]
        rtt_ms = believed_rtt_ms(b, contact_of(edge, m, world), world)
        if expected_ms(lane, m, now_ms, option, rtt_ms, world) <= rules.useful_ms[m]:
            return option
        planned_ms = expected_ms(lane, m, now_ms, option, planned_rtt_ms(b, m, edge, world), world)
        return STAY - option if planned_ms <= rules.useful_ms[m] else DROP
    device_wait_ms, uplink_wait_ms, edge_wait_ms, rate, _ = waits
    latency_ms = predict_latency(
        device_wait_ms,
        uplink_wait_ms,
        edge_wait_ms,
        rules.device_ms[m, option],
        rules.payload_bits[m, option],
        rules.edge_ms[m, option],
        rate,
        rules.ways.rtt_ms[rules.ways.edge[m, option]],
    )
    return option if latency_ms <= rules.useful_ms[m] else DROP


@inlined
def execute(b: int, k: int, option: int, world: World) -> None:
    """Execute a row's k-th decision."""
    tasks = world.tasks
    lane = lane_of(b, world)
    task = lane.first_task + k
    if world.rules.from_devices:
        decide_task(lane, k, option, world)
    elif world.rules.ready:
        settle(lane, tasks.arrival_ms[task], world)
        commit_ready(lane, k, option, world)
    else:
        commit_granted(lane, k, task, option, world)
    write_log(b, task, tasks.stream[task], world)


@compiled
def pass_time(k: int, row: IntArray, world: World) -> None:
    """Let everything happen to devices that see by themselves until the k-th decision of each of the rows (A,).

    At -1 that is all that is left to happen.
    """
    for a in range(len(row)):
        lane = lane_of(row[a], world)
        run_events(lane, world.tasks.arrival_ms[lane.first_task + k] if k >= 0 else np.inf, world)


@compiled
def finish(world: World) -> None:
    """Serve everything that is still waiting; in grant order nothing is, nor of devices that were left time enough."""
    if world.rules.ready and not world.rules.from_devices:
        for b in range(len(world.tasks.first)):
            settle(lane_of(b, world), np.inf, world)


@compiled
def collect(k: int, row: IntArray, told: Told, world: World) -> int:
    """List tasks whose outcome became known by the k-th decision of each of the rows (A,) and was not told before.

    Fills ``told.task_of`` and ``told.row_of`` and returns how many.
    """
    rules, tasks, _, state, _, _ = world
    chosen, reported, oldest, task_of, row_of = told
    found = 0
    for a in range(len(row)):
        b = row[a]
        first = tasks.first[b]
        now = tasks.arrival_ms[first + k]
        if rules.ready and not rules.from_devices:
            settle(lane_of(b, world), now, world)
        while oldest[b] < k and reported[first + oldest[b]]:
            oldest[b] += 1
        for i in range(oldest[b], k):
            task = first + i
            if not reported[task] and state.known_ms[task] <= now:
                reported[task] = True
                if chosen[task] >= 0:
                    task_of[found], row_of[found] = task, b
                    found += 1
    return found


@compiled
def restart(world: World) -> None:
    """Empty all resources before a run, perhaps another one over the same arrays."""
    rules, state = world.rules, world.state
    if rules.from_devices:
        for b in range(len(world.tasks.first)):
            begin_beliefs(b, world)
    state.device_free_ms[:] = 0.0
    state.uplink_free_ms[:] = 0.0
    state.worker_free_ms[:] = 0.0
    state.sent[:] = False
    if rules.ready:
        state.settled_uplink_ms[:] = 0.0
        state.settled_worker_ms[:] = 0.0


@compiled
def run_plan(option: IntArray, world: World, gain: FloatArray) -> float:
    """Run all rows with given decisions (T,) from empty resources; fills the gains (T,) and returns their sum."""
    rules, tasks, _, _, _, _ = world
    restart(world)
    total = 0.0
    for b in range(len(tasks.first)):
        lane = lane_of(b, world)
        for k in range(tasks.number[b]):
            task = lane.first_task + k
            if rules.ready:
                settle(lane, tasks.arrival_ms[task], world)
                commit_ready(lane, k, option[task], world)
            else:
                commit_granted(lane, k, task, option[task], world)
    finish(world)
    for task in range(len(option)):
        gain[task] = gain_of(task, world)
        total += gain[task]
    return total
