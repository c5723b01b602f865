"""The step of a fleet of environments, compiled into one call: execute, advance, observe.

Rows play episodes of a pool. In grant order a task needs no slot of its own, its outcome being known at once; in ready
order each row has room for its episode's tasks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.options import DROP
from hasten.features.observation_kernel import (
    Memory,
    Setting,
    Sighted,
    forget,
    write_further,
    write_state,
)
from hasten.features.observation_options import write_options
from hasten.sim.arrays import NOBODY, FloatArray, IntArray, Links, Tasks
from hasten.sim.device_events import decide_task, run_events
from hasten.sim.device_warm_up import begin_beliefs
from hasten.sim.observation_function import planned_rtt_ms, unseen_wait_ms, visible_rate, visible_resources, write_log
from hasten.sim.stages import commit_granted, commit_ready, settle
from hasten.sim.world import Lane, World


class Play(NamedTuple):
    """Where each of B rows is in its episode, and what its observations are made of."""

    first_task: IntArray
    """(B,): where the episode's tasks begin in the pool. It is copied here for each row, as are the episode's links:
    a step that looked it up in the pool would touch memory all over."""
    number: IntArray
    """(B,): tasks of the episode."""
    position: IntArray
    """(B,): the task of the episode that is to be decided."""
    mask: NDArray[np.int8]
    """(B, J+1): actions allowed now."""
    rows: IntArray
    """(B,): 0, 1, ..."""
    memory: Memory
    setting: Setting
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
    """Let ``rows`` begin the episodes assigned to them from an empty system, and observe their first decisions.

    What devices see by themselves :func:`pass_time` observes, here and in :func:`advance`.
    """
    rules, _, _, state, log, _ = world
    for i in range(len(rows)):
        b = rows[i]
        play.position[b] = 0
        state.device_free_ms[b, :] = 0.0
        forget(b, play.memory, play.setting)
        state.uplink_free_ms[b, :] = 0.0
        state.worker_free_ms[b, :] = 0.0
        if rules.ready:
            state.settled_uplink_ms[b, :] = 0.0
            state.settled_worker_ms[b, :] = 0.0
            state.uplink_head[b] = NOBODY
            state.edge_head[b, :] = NOBODY
        if rules.from_devices:
            begin_beliefs(b, world)
        if rules.age_ms > 0:
            log.visible[b] = 0
            log.visible_ms[b, :] = 0.0
        if not rules.from_devices:
            look(b, observation, play, world)
            mask = play.mask[b : b + 1]
            write_options(play.rows[b : b + 1], observation[b : b + 1], mask, play.memory, play.setting)


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
            if rules.ready and play.mask[b, action[b]] == 0:
                option = DROP
            if rules.from_devices:
                decide_task(lane, k, option, world)
            elif rules.ready:
                gain += commit_ready(lane, k, option, world)
            else:
                gain += commit_granted(lane, k, b, option, world)
            write_log(b, lane.first_slot + k, tasks.stream[first_task + k], world)
            play.position[b] = k + 1
        ended[b] = k + 1 >= number
        if rules.ready and not rules.from_devices:
            until_ms = np.inf if ended[b] else tasks.arrival_ms[first_task + k + 1]
            gain += settle(lane, until_ms, world)
        endings += ended[b]
        reward[b] = gain
        if not rules.from_devices:
            look(b, observation, play, world)
    if not rules.from_devices:
        write_options(play.rows, observation, play.mask, play.memory, play.setting)
    return endings


@compiled
def pass_time(rows: IntArray, step: Transition, play: Play, world: World) -> None:
    """Complete a step of devices that see by themselves: all that happens until their next decisions, and these.

    An episode that has ended is observed when a further task would come, and then goes on to its end.
    """
    for i in range(len(rows)):
        b = rows[i]
        lane = lane_in(b, play)
        step.reward[b] += run_events(lane, next_decision(b, play, world.tasks)[1], world)
        look(b, step.observation, play, world)
        if step.ended[b]:
            step.reward[b] += run_events(lane, np.inf, world)
        mask = play.mask[b : b + 1]
        write_options(play.rows[b : b + 1], step.observation[b : b + 1], mask, play.memory, play.setting)


@inlined
def next_decision(b: int, play: Play, tasks: Tasks) -> tuple[int, float, float]:
    """Stream, time and factor on the seen rate of a row's next decision, or of a further task one mean gap later."""
    k, first_task, number = play.position[b], play.first_task[b], play.number[b]
    any_gap_ms = play.setting.nominal_any_gap_ms
    if k < number:
        return tasks.stream[first_task + k], tasks.arrival_ms[first_task + k], tasks.rate_factor[first_task + k]
    if number > 0:
        return tasks.stream[first_task + k - 1], tasks.arrival_ms[first_task + k - 1] + any_gap_ms, 1.0
    return 0, any_gap_ms, 1.0


@inlined
def look(b: int, observation: NDArray[np.float32], play: Play, world: World) -> None:
    """Fill the first features of row ``b``, and what is seen of further edges, and remember it for the others."""
    state, k = world.state, play.position[b]
    m, now_ms, rate_factor = next_decision(b, play, world.tasks)
    for edge in range(len(world.rules.ways.rtt_ms)):
        devices_free_ms, uplink_free_ms, workers_free_ms = visible_resources(
            lane_in(b, play), k, m, edge, now_ms, world
        )
        seen = Sighted(
            m,
            now_ms,
            max(state.device_free_ms[b, m] - now_ms, 0.0),
            max(uplink_free_ms - now_ms, 0.0),
            workers_free_ms,
            devices_free_ms,
            now_ms,
            planned_rtt_ms(b, m, edge, world) + unseen_wait_ms(b, m, edge, world),
            visible_rate(b, m, edge, now_ms, rate_factor, world),
        )
        if edge == 0:
            write_state(b, seen, observation[b], play.memory, play.setting)
        else:
            write_further(b, edge - 1, seen, observation[b], play.memory, play.setting)
