"""The step of a fleet of environments, compiled into one call: execute, advance, observe.

Rows play episodes of a pool. In grant order a task needs no slot of its own, its outcome being known at once; in ready
order each row has room for its episode's tasks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.options import DROP
from hasten.core.timing import predict_latency
from hasten.features.layout import STATE_FEATURES, StateFeature
from hasten.features.observation import gain_feature, moving_average, rate_share, time_share
from hasten.sim.arrays import NOBODY, FloatArray, IntArray, Links, Rules, Tasks
from hasten.sim.device_pings import want_rate
from hasten.sim.device_sight import begin_beliefs
from hasten.sim.sight import unseen_wait_ms, visible_rate, visible_resources, write_log
from hasten.sim.stages import commit_granted, commit_ready, earned, settle
from hasten.sim.world import Lane, World


class Play(NamedTuple):
    """Where each of B rows is in its episode, and what it remembers of arrivals and rates."""

    first_task: IntArray
    """(B,): where the episode's tasks begin in the pool. It is copied here for each row, as are the episode's links:
    a step that looked it up in the pool would touch memory all over."""
    number: IntArray
    """(B,): tasks of the episode."""
    position: IntArray
    """(B,): the task of the episode that is to be decided."""
    mask: NDArray[np.int8]
    """(B, J+1): actions allowed now."""
    arrival_ms: FloatArray
    """(B, M): last arrival of each stream."""
    gap_ms: FloatArray
    """(B, M): moving average of the gaps between them."""
    any_arrival_ms: FloatArray
    any_gap_ms: FloatArray
    rate: FloatArray
    """(B, M): moving average of the rate feature; NaN before the first decision."""
    stream: IntArray
    """(B,): stream of the task to be decided, and what its decision sees."""
    device_wait_ms: FloatArray
    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    rtt_ms: FloatArray
    rate_bits_per_ms: FloatArray
    deadline_rate: FloatArray
    """(M,)"""
    per_deadline: FloatArray
    """(M,): 1 / deadline."""
    deadline_share: FloatArray
    """(M,): share of the longest deadline."""
    nominal_gap_ms: FloatArray
    """(M,)"""
    nominal_any_gap_ms: float
    per_worker: float
    per_other: float
    """One over the number of workers, and over the number of other streams (0 without)."""
    room: int
    """Slots of each row."""


class Transition(NamedTuple):
    """What a step of B rows comes to."""

    observation: NDArray[np.float32]
    """(B, features)"""
    reward: FloatArray
    ended: NDArray[np.bool_]


@inlined
def lane_in(b: int, play: Play) -> Lane:
    """Where the tasks of a row's episode lie."""
    return Lane(b, b * play.room, play.first_task[b])


@compiled
def assign(rows: IntArray, episodes: IntArray, play: Play, tasks: Tasks, pool: Links, links: Links) -> None:
    """Note for ``rows`` where their ``episodes``, rows of the ``pool``, lie."""
    for i in range(len(rows)):
        b, e = rows[i], episodes[i]
        play.first_task[b], play.number[b] = tasks.first[e], tasks.number[e]
        for link in range(links.begin.shape[1]):
            links.begin[b, link], links.end[b, link] = pool.begin[e, link], pool.end[e, link]
            links.period_ms[b, link] = pool.period_ms[e, link]


@compiled
def begin(rows: IntArray, observation: NDArray[np.float32], play: Play, world: World) -> None:
    """Let ``rows`` begin the episodes assigned to them from an empty system, and observe their first decisions."""
    rules, _, _, state, log, _ = world
    for i in range(len(rows)):
        b = rows[i]
        play.position[b] = 0
        for m in range(len(play.nominal_gap_ms)):
            state.device_free_ms[b, m] = 0.0
            play.gap_ms[b, m] = play.nominal_gap_ms[m]
            play.arrival_ms[b, m] = -play.nominal_gap_ms[m]
            play.rate[b, m] = np.nan
        play.any_arrival_ms[b], play.any_gap_ms[b] = -play.nominal_any_gap_ms, play.nominal_any_gap_ms
        state.uplink_free_ms[b, :] = 0.0
        state.worker_free_ms[b, :] = 0.0
        if rules.ready:
            state.settled_uplink_ms[b, :] = 0.0
            state.settled_worker_ms[b, :] = 0.0
            state.uplink_head[b] = NOBODY
            state.edge_head[b] = NOBODY
        if rules.from_devices:
            begin_beliefs(b, world)
        if rules.age_ms > 0:
            log.visible[b] = 0
            log.visible_ms[b, :] = 0.0
        look(b, observation, play, world)
        predict(b, b + 1, observation, play, rules)


@compiled
def advance(action: IntArray, step: Transition, play: Play, world: World) -> int:
    """Step all rows; returns how many of them have ended their episode, -1 if an action is none.

    A row that has ended shows the observation of a task that would come one mean gap later. The reward is the gain
    that became certain between this decision and the next, at the end all of it.
    """
    rules, tasks, _, _, _, _ = world
    observation, reward, ended = step
    dropping = rules.device_ms.shape[1]
    endings = 0
    for b in range(len(action)):
        if action[b] < 0 or action[b] > dropping:
            return -1
    for b in range(len(action)):
        k, number = play.position[b], play.number[b]
        lane = lane_in(b, play)
        first_task = lane.first_task
        gain = 0.0
        if k < number:
            option = action[b] if action[b] < dropping else DROP
            if rules.from_devices:
                want_rate(lane, k, option, world)
            if rules.ready:
                if play.mask[b, action[b]] == 0:
                    option = DROP
                gain += commit_ready(lane, k, option, world)
            else:
                gain += commit_granted(lane, k, b if not rules.from_devices else lane.first_slot + k, option, world)
            write_log(b, lane.first_slot + k, tasks.stream[first_task + k], world)
            play.position[b] = k + 1
        ended[b] = k + 1 >= number
        if rules.ready:
            until_ms = np.inf if ended[b] else tasks.arrival_ms[first_task + k + 1]
            gain += settle(lane, until_ms, world)
        endings += ended[b]
        reward[b] = gain
        look(b, observation, play, world)
    predict(0, len(action), observation, play, rules)
    return endings


@inlined
def look(b: int, observation: NDArray[np.float32], play: Play, world: World) -> None:
    """Fill the first features of row ``b`` (``features.observation``), and keep what it sees for the others."""
    tasks, state = world.tasks, world.state
    k, first_task, number = play.position[b], play.first_task[b], play.number[b]
    m, now_ms, rate_factor = 0, play.nominal_any_gap_ms, 1.0
    if k < number:
        m, now_ms, rate_factor = (
            tasks.stream[first_task + k],
            tasks.arrival_ms[first_task + k],
            tasks.rate_factor[first_task + k],
        )
    elif number > 0:
        m, now_ms = tasks.stream[first_task + k - 1], tasks.arrival_ms[first_task + k - 1] + play.nominal_any_gap_ms
    per_deadline = play.per_deadline[m]
    device_free_ms, uplink_free_ms, worker_free_ms = visible_resources(lane_in(b, play), k, m, now_ms, world)
    device_wait_ms = max(state.device_free_ms[b, m] - now_ms, 0.0)
    uplink_wait_ms = max(uplink_free_ms - now_ms, 0.0)
    edge_wait_ms = max(worker_free_ms[0] - now_ms, 0.0)
    rate_bits_per_ms = visible_rate(b, m, now_ms, rate_factor, world)
    out = observation[b]
    out[StateFeature.DEVICE_WAIT] = time_share(device_wait_ms, per_deadline)
    out[StateFeature.UPLINK_WAIT] = time_share(uplink_wait_ms, per_deadline)
    out[StateFeature.EDGE_WAIT] = time_share(edge_wait_ms, per_deadline)
    out[StateFeature.EDGE_MEAN_WAIT] = time_share(play.per_worker * total_wait(worker_free_ms, now_ms), per_deadline)
    others_total_ms, others_max_ms = others_wait(device_free_ms, m, now_ms)
    out[StateFeature.OTHERS_MEAN_WAIT] = time_share(play.per_other * others_total_ms, per_deadline)
    out[StateFeature.OTHERS_LARGEST_WAIT] = time_share(others_max_ms, per_deadline)
    share = rate_share(rate_bits_per_ms, play.deadline_rate[m])
    average = share if np.isnan(play.rate[b, m]) else moving_average(play.rate[b, m], share)
    gap_ms, any_gap_ms = now_ms - play.arrival_ms[b, m], now_ms - play.any_arrival_ms[b]
    play.rate[b, m] = average
    play.gap_ms[b, m] = moving_average(play.gap_ms[b, m], gap_ms)
    play.any_gap_ms[b] = moving_average(play.any_gap_ms[b], any_gap_ms)
    play.arrival_ms[b, m] = now_ms
    play.any_arrival_ms[b] = now_ms
    out[StateFeature.RATE] = share
    out[StateFeature.RATE_AVERAGE] = average
    out[StateFeature.DEADLINE] = play.deadline_share[m]
    out[StateFeature.GAP] = time_share(gap_ms, per_deadline)
    out[StateFeature.GAP_AVERAGE] = time_share(play.gap_ms[b, m], per_deadline)
    out[StateFeature.ANY_GAP] = time_share(any_gap_ms, per_deadline)
    out[StateFeature.ANY_GAP_AVERAGE] = time_share(play.any_gap_ms[b], per_deadline)
    play.stream[b] = m
    play.device_wait_ms[b] = device_wait_ms
    play.uplink_wait_ms[b] = uplink_wait_ms
    play.edge_wait_ms[b] = edge_wait_ms
    play.rtt_ms[b] = world.rules.rtt_ms + unseen_wait_ms(b, m, world)
    play.rate_bits_per_ms[b] = max(rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)


@compiled
def foresee(first: int, end: int, observation: NDArray[np.float32], play: Play, rules: Rules) -> None:
    """Predict latency and gain of every option of rows ``first`` to ``end``, and mask the worthless ones.

    A function of its own over many rows, with no other loop in it, so that it compiles to vector instructions.
    """
    options = rules.worth.shape[1]
    late_gain = rules.late_gain
    for b in range(first, end):
        m, out, mask = play.stream[b], observation[b], play.mask[b]
        device_ms, payload_bits, edge_ms = rules.device_ms[m], rules.payload_bits[m], rules.edge_ms[m]
        worth, per_deadline, useful_ms = rules.worth[m], play.per_deadline[m], rules.useful_ms[m]
        device_wait_ms, uplink_wait_ms = play.device_wait_ms[b], play.uplink_wait_ms[b]
        edge_wait_ms, rate_bits_per_ms, rtt_ms = play.edge_wait_ms[b], play.rate_bits_per_ms[b], play.rtt_ms[b]
        feasible = 0
        for j in range(options):
            latency_ms = predict_latency(
                device_wait_ms,
                uplink_wait_ms,
                edge_wait_ms,
                device_ms[j],
                payload_bits[j],
                edge_ms[j],
                rate_bits_per_ms,
                rtt_ms,
            )
            useful = latency_ms <= useful_ms
            out[STATE_FEATURES + j] = time_share(latency_ms, per_deadline)
            out[STATE_FEATURES + options + j] = gain_feature(worth[j] if useful else late_gain)
            mask[j] = useful
            feasible |= useful
        mask[options] = 1 - feasible


@compiled
def weigh(first: int, end: int, observation: NDArray[np.float32], play: Play, rules: Rules) -> None:
    """Where the gain depends on time, predict it from the latency after all."""
    options = rules.worth.shape[1]
    for b in range(first, end):
        m = play.stream[b]
        for j in range(options):
            latency_ms = predict_latency(
                play.device_wait_ms[b],
                play.uplink_wait_ms[b],
                play.edge_wait_ms[b],
                rules.device_ms[m, j],
                rules.payload_bits[m, j],
                rules.edge_ms[m, j],
                play.rate_bits_per_ms[b],
                play.rtt_ms[b],
            )
            observation[b, STATE_FEATURES + options + j] = gain_feature(earned(j, m, latency_ms, rules))


@compiled
def predict(first: int, end: int, observation: NDArray[np.float32], play: Play, rules: Rules) -> None:
    """Complete the observations and masks of rows ``first`` to ``end`` by what every option would come to."""
    foresee(first, end, observation, play, rules)
    if rules.time_weight > 0 or rules.fade > 0:
        weigh(first, end, observation, play, rules)


@inlined
def total_wait(free_ms: FloatArray, now_ms: float) -> float:
    """Sum of the backlogs of workers."""
    total_ms = 0.0
    for i in range(len(free_ms)):
        total_ms += max(free_ms[i] - now_ms, 0.0)
    return total_ms


@inlined
def others_wait(free_ms: FloatArray, own: int, now_ms: float) -> tuple[float, float]:
    """Sum of the backlogs of the other devices, and the largest."""
    total_ms, largest_ms = 0.0, 0.0
    for i in range(len(free_ms)):
        wait_ms = max(free_ms[i] - now_ms, 0.0) if i != own else 0.0
        total_ms += wait_ms
        largest_ms = max(largest_ms, wait_ms)
    return total_ms, largest_ms
