"""An edge that serves the earliest deadline first: the compiled simulator against the slow one."""

from __future__ import annotations

import numpy as np
import pytest
from sim_cases import Scripted, random_options, random_scenario
from simpy_model import simulate_slowly

from hasten.api import simulate, simulate_batch
from hasten.schedulers import make_scheduler
from hasten.sim import replay
from hasten.sim.env import OffloadEnv
from hasten.sim.stage_times import stage_times

TOPOLOGIES = ("shared", "dedicated")


def urgent_and_not(folder, seed, topology, queue="deadline", tasks=12, **given):
    """Four streams of different deadlines whose edge is the bottleneck."""
    edge = {"workers": 1 + seed % 2, "slowdown": 3.0, "queue": queue}
    rate = (
        {"kind": "constant", "mbps": 40}
        if seed % 4 < 2
        else {"kind": "gauss_markov", "mean_mbps": 40, "sigma_mbps": 20}
    )
    uplink = {"topology": topology, "order": "ready", "rtt_ms": 4, "rate": rate}
    given = {"view": {"rate_error": 0.3 * (seed % 2)}, "edge": edge, "streams": 4, "uplink": uplink} | given
    return random_scenario(folder, seed, topology, "ready", tasks=tasks, **given)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("seed", range(8))
def test_tasks_and_views_equal_the_slow_model(tmp_path, seed, topology):
    scenario = urgent_and_not(tmp_path, seed, topology)
    realization = scenario.realize(seed)
    option = random_options(scenario, realization, np.random.default_rng(seed))
    scheduler = Scripted([option])
    result = simulate(scenario, scheduler, seed)
    finish_ms, executed, views, _ = simulate_slowly(scenario, realization, option)
    np.testing.assert_array_equal(result.decisions, scenario.options.pairs(realization.stream, executed))
    np.testing.assert_allclose(result.finish_ms, finish_ms, rtol=0, atol=1e-6)
    for fast, slow in zip(scheduler.views[0], views, strict=True):
        for name, value in slow.items():
            np.testing.assert_allclose(fast[name], value, rtol=1e-9, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_given_decisions_equal_the_slow_model_and_their_order_matters(tmp_path, topology):
    differ = 0
    for seed in range(8):
        by_deadline, fifo = (urgent_and_not(tmp_path, seed, topology, queue) for queue in ("deadline", "fifo"))
        realization = by_deadline.realize(seed)
        option = random_options(by_deadline, realization, np.random.default_rng(seed))
        result = replay(by_deadline, realization, option)
        finish_ms, _, _, _ = simulate_slowly(by_deadline, realization, option, plan=True)
        np.testing.assert_allclose(result.finish_ms, finish_ms, rtol=0, atol=1e-6)
        differ += not np.array_equal(result.finish_ms, replay(fifo, realization, option).finish_ms)
    assert differ >= 4


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_stages_worked_out_from_decisions_end_when_the_simulator_says(tmp_path, topology):
    scenario = urgent_and_not(tmp_path, 5, topology, tasks=40)
    result = simulate(scenario, make_scheduler("random"))
    times = stage_times(scenario, scenario.realize(0), result)
    remote = np.isfinite(times.edge_end_ms)
    back_ms = times.edge_end_ms + scenario.uplink.rtt_ms / 2
    assert remote.sum() > 5
    np.testing.assert_array_equal(remote, np.isfinite(result.finish_ms) & np.isfinite(times.uplink_end_ms))
    np.testing.assert_allclose(back_ms[remote], result.finish_ms[remote], rtol=0, atol=1e-6)


def test_streams_of_one_deadline_are_served_as_they_came(tmp_path):
    """They arrive at the edge in the order of their arrivals, so that both orders are one."""
    alike = urgent_and_not(tmp_path, 3, "shared", streams=1, tasks=60)
    fifo = urgent_and_not(tmp_path, 3, "shared", "fifo", streams=1, tasks=60)
    for name in ("greedy", "random"):
        one, other = (simulate(scenario, make_scheduler(name)) for scenario in (alike, fifo))
        np.testing.assert_array_equal(one.decisions, other.decisions)
        np.testing.assert_array_equal(one.finish_ms, other.finish_ms)


class Plain:
    """Greedy by numpy at every step: nothing that compiled code could take over."""

    def __init__(self):
        self.scheduler = make_scheduler("greedy")
        self.name, self.reset = "greedy", self.scheduler.reset

    def decide(self, view):
        return self.scheduler.decide(view)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_batches_and_compiled_decisions_give_the_bits_of_single_runs(tmp_path, topology):
    scenario = urgent_and_not(tmp_path, 4, topology, tasks=60)
    compiled = simulate_batch(scenario, make_scheduler("greedy"), range(3))
    for seed, result in enumerate(compiled):
        for other in (simulate(scenario, make_scheduler("greedy"), seed), simulate(scenario, Plain(), seed)):
            np.testing.assert_array_equal(result.decisions, other.decisions)
            np.testing.assert_array_equal(result.finish_ms, other.finish_ms)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_an_episode_of_the_environment_is_the_simulated_run(tmp_path, topology):
    scenario = urgent_and_not(tmp_path, 2, topology, tasks=20)
    env, rng = OffloadEnv(scenario), np.random.default_rng(7)
    _, info = env.reset(options={"seed": 7})
    stream = scenario.realize(7).stream
    option, gain, ended = [], 0.0, False
    while not ended:
        action = int(rng.choice(np.flatnonzero(info["action_mask"])))
        option.append(env.option_index(action, stream[len(option)]))
        _, reward, _, ended, info = env.step(action)
        gain += reward
    result = simulate(scenario, Scripted([option]), 7)
    assert len(option) == result.tasks
    assert gain == pytest.approx(result.gain.sum(), abs=1e-9)
