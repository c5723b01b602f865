"""What became of the tasks of runs that have ended."""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled, inlined
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.scenario import Scenario
from hasten.sim.arrays import NOBODY, FloatArray, IntArray, State
from hasten.sim.beliefs import ANSWERED_BY, CUT, STAYS_BY
from hasten.sim.device_jobs import worth_of
from hasten.sim.needs import pack_needs
from hasten.sim.stages import earned
from hasten.sim.world import Ends, OptionFacts, World


@inlined
def gain_of(task: int, world: World) -> float:
    """What a task that has ended was worth."""
    rules, tasks, state = world.rules, world.tasks, world.state
    m, latency_ms = tasks.stream[task], state.finish_ms[task] - tasks.arrival_ms[task]
    if rules.from_devices:
        worth, late_gain = worth_of(task, m, world), rules.late_gain
        return float(task_gain(worth, latency_ms, rules.deadline_ms[m], rules.time_weight, late_gain, rules.fade))
    return earned(state.column[task], m, latency_ms, rules)


@compiled
def describe(table: OptionFacts, world: World, ends: Ends) -> None:
    """Tell, in ``ends``, what became of every task."""
    rules, tasks, _, state, _, _ = world
    exits = rules.needs.until.shape[2]
    for b in range(len(tasks.first)):
        for task in range(tasks.first[b], tasks.first[b] + tasks.number[b]):
            option, column, m = state.option[task], state.column[task], tasks.stream[task]
            dropped, answered = option == DROP, np.isfinite(state.finish_ms[task])
            ends.pair[task, 0] = 0 if dropped else table.exit[m, option]
            ends.pair[task, 1] = 0 if dropped else table.partition[m, option]
            ends.accuracy[task] = table.accuracy[m, column] if answered else 0.0
            stops_at = min(column % exits + 1, ends.pair[task, 0]) if exits > 1 else ends.pair[task, 0]
            ends.exit[task] = stops_at if answered else 0
            ends.gain[task] = gain_of(task, world)
            if rules.from_devices:
                describe_rescued(task, m, world, ends)
            if state.sent[task]:
                ends.uplink_bits[b] += rules.payload_bits[m, option]


@inlined
def describe_rescued(task: int, m: int, world: World, ends: Ends) -> None:
    """Tell what the device did of a task otherwise than was decided, if it did."""
    mark, finishes = world.beliefs.mark[task], world.beliefs.finishes
    way, stays_by = mark[ANSWERED_BY], mark[STAYS_BY]
    if stays_by != NOBODY:
        ends.pair[task, 0], ends.pair[task, 1] = finishes.exit[m, 0, stays_by], finishes.after_block[m, 0, stays_by]
    if way != NOBODY:
        ends.accuracy[task], ends.exit[task] = finishes.accuracy[m, mark[CUT], way], finishes.exit[m, mark[CUT], way]


def device_energy_mj(scenario: Scenario, stream: IntArray, state: State) -> FloatArray | None:
    """Device energy of each task (T,): computing where the device served it, sending where the uplink carried it."""
    options = scenario.options
    if np.all(np.isnan(options.energy_mj)):
        return None
    chosen = np.maximum(state.option, 0)
    radio_uj_per_byte = np.array([s.profile.radio_uj_per_byte or 0.0 for s in scenario.devices])
    needs, spent_mj = pack_needs(options), options.energy_mj
    if options.stops is not None:
        chosen, spent_mj = np.maximum(state.column, 0), options.stops.energy_mj.reshape(len(spent_mj), -1)
    radio_mj = radio_uj_per_byte[stream] * needs.payload_bits[stream, chosen] / 8000.0
    energy_mj = spent_mj[stream, chosen] - np.where(state.sent, 0.0, radio_mj)
    return np.where((state.option == DROP) | ~np.isfinite(state.device_done_ms), 0.0, energy_mj)
