"""Calibration curves in the simulator: a device's own, calibrated, worth it, and free where nothing is unsure."""

from __future__ import annotations

import numpy as np
import pytest
from sim_cases import COMBINATIONS, random_scenario

from hasten.api import simulate_batch
from hasten.core.calibration import Curves
from hasten.core.decision import Decision, View, predicted_latency, useful_limit_ms
from hasten.core.options import DROP
from hasten.core.scenario import Scenario, scenario_from
from hasten.schedulers import make_scheduler
from hasten.sim import engine
from hasten.study.design import Conditions

UNSURE = {"age_ms": 15, "rate_error": 0.2}


class Watched:
    """Greedy, or chance, keeping what it saw."""

    def __init__(self, name):
        self.name, self.shares, self.promises = name, [], []
        self.inner = make_scheduler(name)

    def reset(self, context):
        self.context = context
        self.inner.reset(context)

    def decide(self, view: View) -> Decision:
        decision = self.inner.decide(view)
        option, m, context = decision.option[0], view.stream[0], self.context
        slack = (useful_limit_ms(context)[m] - predicted_latency(context, view)[0, option]) / context.deadline_ms[m]
        self.shares.append(view.kept_share[0].copy())
        self.promises.append((slack if option != DROP else -1.0, bool(context.options.payload_bits[m, option] > 0)))
        return decision


@pytest.mark.parametrize("name", ["greedy", "random"])
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("seed", range(4))
def test_a_stream_knows_what_its_device_would_know(tmp_path, seed, topology, order, name):
    scenario = random_scenario(tmp_path, seed, topology, order, tasks_per_stream=None, horizon_ms=900.0, view=UNSURE)
    realization, watched = scenario.realize(seed), Watched(name)
    batch = engine._Batch(scenario, [realization])
    batch.run(watched, scenario.context(np.array([seed])))
    state, limit_ms = batch.world.state, useful_limit_ms(watched.context)
    curves = [Curves() for _ in scenario.devices]
    open_tasks = []
    for k, (now_ms, m) in enumerate(zip(realization.arrival_ms, realization.stream, strict=True)):
        for i in [i for i in open_tasks if state.known_ms[i] <= now_ms]:
            open_tasks.remove(i)
            on_time = state.finish_ms[i] - realization.arrival_ms[i] <= limit_ms[realization.stream[i]]
            curves[realization.stream[i]].tell(*watched.promises[i], float(batch.promises.share_of[i]), bool(on_time))
        np.testing.assert_allclose(watched.shares[k], curves[m].share[0], rtol=1e-9)
        slack, sends = watched.promises[k]
        promised = curves[m].promised(slack, sends) if slack >= 0.0 else np.nan
        np.testing.assert_allclose(batch.promises.share_of[k], promised, rtol=1e-9)
        if slack >= 0.0:
            open_tasks.append(k)


def test_exact_predictions_are_taken_at_their_word_to_the_last_bit(tmp_path):
    for seed in range(8):
        scenario = random_scenario(
            tmp_path, seed, "shared", "grant", tasks=30, uplink={"rate": {"kind": "constant", "mbps": 8}}, view={}
        )
        assert scenario.context(np.zeros(1, dtype=np.int64)).exact
        runs = [simulate_batch(scenario, name, range(2)) for name in ("greedy", "greedy:point")]
        for one, other in zip(*runs, strict=True):
            np.testing.assert_array_equal(one.decisions, other.decisions)
            np.testing.assert_array_equal(one.finish_ms, other.finish_ms)
            assert one.promised is None


def test_what_makes_predictions_inexact(tmp_path):
    def exact(**changes):
        plain = conditions(3, "grant").scenario() | changes
        return scenario_from(plain).context(np.zeros(1, dtype=np.int64)).exact

    assert exact()
    assert not exact(view={"age_ms": 1})
    assert not exact(view={"rate_error": 0.1})
    varying = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 3, "memory": 0.9, "step_ms": 100}
    assert not exact(uplink={"rate": varying})
    constant = {"kind": "constant", "mbps": 10}
    assert not exact(uplink={"order": "ready", "rate": constant})
    alone = conditions(1, "ready").scenario()
    assert scenario_from(alone).context(np.zeros(1, dtype=np.int64)).exact


@pytest.mark.parametrize("view", [{}, UNSURE], ids=["fresh", "stale"])
def test_promises_are_kept_as_often_as_promised(view):
    promised, on_time = [], []
    for streams, rate_hz in ((3, 15.0), (3, 25.0), (8, 12.0), (8, 20.0)):
        for result in simulate_batch(scenario_of(streams, rate_hz, view, tasks=400), "greedy", range(6)):
            promised.append(result.promised)
            on_time.append(result.on_time)
    promise, kept = np.concatenate(promised), np.concatenate(on_time)
    about_90 = np.abs(promise - 0.9) <= 0.03
    assert about_90.sum() > 500
    assert 0.87 <= kept[about_90].mean() <= 0.93
    sure = promise > 0.97
    assert kept[sure].mean() > 0.97


@pytest.mark.parametrize(("view", "least"), [({}, 0.01), (UNSURE, 0.05)], ids=["fresh", "stale"])
def test_weighing_promises_gains_where_they_are_unsure(view, least):
    scenario = scenario_of(8, 15.0, view, tasks=100)
    weighed, point = (
        np.mean([result.on_time_accuracy for result in simulate_batch(scenario, name, range(8))])
        for name in ("greedy", "greedy:point")
    )
    assert weighed - point > least


@pytest.mark.parametrize("streams", [3, 8])
def test_weighing_promises_costs_nothing_where_the_link_is_quiet(streams):
    """Long deadlines and a third of the load: hardly a promise is broken."""
    scenario = scenario_of(streams, 5.0, {}, tasks=200)
    runs = [
        np.array([result.on_time_accuracy for result in simulate_batch(scenario, name, range(8))])
        for name in ("greedy", "greedy:point")
    ]
    assert (runs[0] - runs[1]).mean() > -0.002


def conditions(streams: int, order: str, rate_hz: float = 15.0) -> Conditions:
    return Conditions("alexnet-pi", streams, order, "generated", rate_hz, max(streams, 3) * 10 / 3, 80, 4)


def scenario_of(streams: int, rate_hz: float, view: dict[str, float], tasks: int) -> Scenario:
    plain = conditions(streams, "ready", rate_hz).scenario()
    return scenario_from(plain | {"view": view, "tasks_per_stream": tasks})
