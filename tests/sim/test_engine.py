"""The compiled simulator against the slow one, and what must hold whatever the decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sim_cases import COMBINATIONS, Scripted, random_options, random_scenario, with_outages
from simpy_model import simulate_slowly

from hasten.api import simulate, simulate_batch
from hasten.core.decision import Decision, Observer
from hasten.core.errors import HastenError
from hasten.core.options import DROP
from hasten.core.ranking import rule_of
from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler
from hasten.schedulers.greedy import Greedy
from hasten.sim import Replayer, engine, replay

VIEWS = [{}, {"view": {"kind": "device"}}]
"""As the case has it, and as devices see."""
CASES = [(seed, *combination) for combination in COMBINATIONS for seed in range(16)]


def executed_options(scenario, result):
    return np.array([scenario.options.index(m, *pair) for m, pair in zip(result.stream, result.decisions, strict=True)])


def indices(scenario, realization, option):
    return scenario.options.pairs(realization.stream, option)


def slow_gain(scenario, realization, executed, finish_ms):
    """Gains straight from the definitions of the three kinds."""
    kind, gains = scenario.gain.kind, []
    for k, option in enumerate(executed):
        m = realization.stream[k]
        deadline = scenario.deadlines_ms[m]
        latency = finish_ms[k] - realization.arrival_ms[k]
        accuracy = scenario.options.accuracy[m, option]
        on_time = option >= 0 and latency <= deadline + 1e-6
        if kind == "tradeoff":
            gains.append(
                accuracy - scenario.gain.time_weight * latency / deadline if on_time else -scenario.gain.late_cost
            )
        elif kind == "soft" and option >= 0 and not on_time:
            gains.append(accuracy * max(0.0, 1 - (latency / deadline - 1) / scenario.gain.fade))
        else:
            gains.append(accuracy if on_time else 0.0)
    return np.array(gains)


@pytest.mark.parametrize(("seed", "topology", "order"), CASES)
def test_simulated_tasks_and_views_equal_the_slow_model(tmp_path, seed, topology, order):
    scenario = random_scenario(tmp_path, seed, topology, order)
    realization = scenario.realize(seed)
    option = random_options(scenario, realization, np.random.default_rng(seed))
    scheduler = Scripted([option])
    result = simulate(scenario, scheduler, seed)
    finish_ms, executed, views, _ = simulate_slowly(scenario, realization, option)
    np.testing.assert_array_equal(result.decisions, indices(scenario, realization, executed))
    np.testing.assert_allclose(result.finish_ms, finish_ms, rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.gain, slow_gain(scenario, realization, executed, finish_ms), atol=1e-6)
    for fast, slow in zip(scheduler.views[0], views, strict=True):
        for name, value in slow.items():
            np.testing.assert_allclose(fast[name], value, rtol=1e-9, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("seed", "topology", "order"), CASES)
def test_replayed_tasks_equal_the_slow_model_over_links_with_outages(tmp_path, seed, topology, order):
    rng = np.random.default_rng([seed, 5])
    scenario = random_scenario(tmp_path, seed + 1000, topology, order)
    realization = with_outages(scenario.realize(seed), rng)
    option = random_options(scenario, realization, rng)
    result = replay(scenario, realization, option)
    finish_ms, executed, _, _ = simulate_slowly(scenario, realization, option, plan=True)
    np.testing.assert_array_equal(result.decisions, indices(scenario, realization, executed))
    np.testing.assert_allclose(result.finish_ms, finish_ms, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:noise")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_noise_changes_what_happens_and_not_what_is_foreseen(tmp_path, seed, topology, order):
    scenario = random_scenario(tmp_path, seed, topology, order, noise="profile")
    realization = scenario.realize(seed)
    option = random_options(scenario, realization, np.random.default_rng(seed))
    scheduler = Scripted([option])
    result = simulate(scenario, scheduler, seed)
    finish_ms, executed, views, _ = simulate_slowly(scenario, realization, option)
    np.testing.assert_array_equal(executed_options(scenario, result), executed)
    np.testing.assert_allclose(result.finish_ms, finish_ms, rtol=1e-9, atol=1e-6)
    for seen, slow in zip(scheduler.views[0], views, strict=True):
        np.testing.assert_allclose(seen["device"], slow["device"], atol=1e-6)
        np.testing.assert_allclose(seen["edge"], slow["edge"], atol=1e-6)
    np.testing.assert_allclose(result.gain, slow_gain(scenario, realization, executed, finish_ms), atol=1e-9)
    assert not np.array_equal(result.finish_ms, simulate_quietly(scenario, option, seed).finish_ms)


def simulate_quietly(scenario, option, seed):
    return simulate(scenario.model_copy(update={"noise": "none"}), Scripted([option]), seed)


@pytest.mark.filterwarnings("ignore:noise")
def test_realizations_with_and_without_noise_may_share_a_batch(tmp_path):
    scenario = random_scenario(tmp_path, 3, "shared", "ready", noise="profile")
    noisy = scenario.realize(1)
    quiet = replace(noisy, noise=None)
    together = engine.simulate_realizations(scenario, make_scheduler("fixed:1,0"), [quiet, noisy])
    alone = [engine.simulate_realizations(scenario, make_scheduler("fixed:1,0"), [one])[0] for one in (quiet, noisy)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.finish_ms, other.finish_ms)


@pytest.mark.parametrize("seed", range(12))
def test_one_stream_makes_all_combinations_the_same(tmp_path, seed):
    results = []
    for topology, order in COMBINATIONS:
        scenario = random_scenario(
            tmp_path, seed, topology, order, tasks=60, streams=1, varying=False, view={"age_ms": 0, "rate_error": 0}
        )
        option = random_options(scenario, scenario.realize(seed), np.random.default_rng(seed))
        results.append(simulate(scenario, Scripted([option]), seed))
    for other in results[1:]:
        np.testing.assert_array_equal(other.decisions, results[0].decisions)
        np.testing.assert_array_equal(other.finish_ms, results[0].finish_ms)


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("given", VIEWS)
def test_a_batch_gives_the_bits_of_single_runs(tmp_path, topology, order, given):
    lasting = {"tasks_per_stream": None, "horizon_ms": 1500.0}
    scenario = random_scenario(tmp_path, 3, topology, order, streams=3, **lasting, **given)
    seeds = [5, 6, 7, 8]
    script = [random_options(scenario, scenario.realize(s), np.random.default_rng(s)) for s in seeds]
    batch = simulate_batch(scenario, Scripted(script), seeds)
    assert len({result.tasks for result in batch}) > 1  # rows of different length
    for b, seed in enumerate(seeds):
        alone = simulate(scenario, Scripted([script[b]]), seed)
        for name in ("arrival_ms", "stream", "decisions", "finish_ms", "accuracy", "gain", "deadline_ms"):
            np.testing.assert_array_equal(getattr(batch[b], name), getattr(alone, name), err_msg=name)
        assert batch[b].uplink_bytes == alone.uplink_bytes


class Plain:
    """The same decisions, by numpy at every step: nothing that compiled code could take over."""

    def __init__(self, scheduler):
        self.scheduler, self.name, self.reset = scheduler, scheduler.name, scheduler.reset

    def decide(self, view):
        return self.scheduler.decide(view)


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize(
    "name", ["greedy", "greedy:point", "min-latency", "neurosurgeon", "edgent", "edgent:slack", "edge-only:deepest"]
)
@pytest.mark.parametrize("given", VIEWS)
def test_a_ranking_decides_in_compiled_code_what_it_decides_by_numpy(
    tmp_path, monkeypatch, topology, order, name, given
):
    monkeypatch.setattr(engine, "TIMED_STEPS", 3)
    monkeypatch.setattr(engine, "TIMED_DECISIONS", 3)
    lasting = {"tasks_per_stream": None, "horizon_ms": 900.0}
    for seed in range(4):
        scenario = random_scenario(tmp_path, seed, topology, order, **lasting, **given)
        compiled = simulate_batch(scenario, make_scheduler(name), range(3))
        plain = simulate_batch(scenario, Plain(make_scheduler(name)), range(3))
        for one, other in zip(compiled, plain, strict=True):
            np.testing.assert_array_equal(one.decisions, other.decisions)
            np.testing.assert_array_equal(one.finish_ms, other.finish_ms)
            np.testing.assert_array_equal(one.gain, other.gain)
            if name == "greedy":
                assert (one.promised is None) == (other.promised is None) == scenario.context(np.zeros(1, int)).exact
                np.testing.assert_array_equal(promises_of(one), promises_of(other))


def promises_of(result):
    return np.zeros(0) if result.promised is None else result.promised


def test_a_scheduler_that_decides_otherwise_or_learns_is_asked_every_time():
    scenario = scenario_of()

    class Cautious(Greedy):
        def decide(self, view):
            return Decision(np.full(len(view.row), DROP))

    class Learning(Greedy, Observer):
        def observe(self, outcomes):
            pass

    patched = Greedy()
    patched.decide = Cautious().decide
    for scheduler, ranked in ((Greedy(), True), (Cautious(), False), (Learning(), False), (patched, False)):
        scheduler.reset(scenario.context(np.zeros(1, dtype=np.int64)))
        assert (rule_of(scheduler) is not None) == ranked


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("seed", range(4))
def test_no_resource_serves_two_at_once_and_no_gain_after_the_deadline(tmp_path, seed, topology, order):
    scenario = random_scenario(tmp_path, seed + 50, topology, order, gain={"kind": "on_time_accuracy"})
    realization = scenario.realize(seed)
    option = random_options(scenario, realization, np.random.default_rng(seed))
    result = replay(scenario, realization, option)
    _, _, _, outcomes = simulate_slowly(scenario, realization, option, plan=True)
    groups: dict = {}
    for k, outcome in outcomes.items():
        m = int(realization.stream[k])
        for resource, key in (("device", m), ("uplink", 0 if topology == "shared" else m), ("edge", outcome.worker)):
            span = getattr(outcome, resource)
            if span is not None:
                groups.setdefault((resource, key), []).append(span)
    for spans in groups.values():
        spans.sort()
        assert all(after[0] >= before[1] - 1e-9 for before, after in pairwise(spans))
    late = result.finish_ms - result.arrival_ms > result.deadline_ms + 1e-6
    assert not result.gain[late].any()
    assert not (result.gain[~late & ~result.dropped] <= 0).any()


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_the_replayer_agrees_with_a_clairvoyant_run_and_forgets_between_runs(tmp_path, topology, order):
    scenario = random_scenario(tmp_path, 9, topology, order, tasks=40, streams=3)
    realization = scenario.realize(4)
    replayer = Replayer(scenario, realization)
    for seed in range(3):
        option = random_options(scenario, realization, np.random.default_rng(seed))
        run = simulate(scenario, Scripted([option], clairvoyant=True), 4)
        np.testing.assert_array_equal(replayer.gain(option), run.gain)
        np.testing.assert_array_equal(replayer.result(option).finish_ms, run.finish_ms)
        assert replayer.total_gain(option) == pytest.approx(run.gain.sum(), abs=1e-9)


def scenario_of(**changes):
    data = {
        "schema": "hasten.scenario/1",
        "streams": [
            {
                "name": "cam",
                "profile": "alexnet-pi",
                "deadline_ms": 200,
                "arrivals": {"kind": "explicit", "times_ms": [0.0, 1000.0]},
            }
        ],
        "uplink": {"rtt_ms": 7, "rate": {"kind": "constant", "mbps": 20}},
        "horizon_ms": 5000,
    }
    data.update(changes)
    return scenario_from(data)


def test_an_idle_system_takes_the_sum_of_its_parts():
    scenario = scenario_of()
    table = scenario.options
    realization = scenario.realize(0)
    for j in range(table.count[0]):
        latency = table.device_ms[0, j]
        if table.payload_bits[0, j] > 0:
            latency += table.payload_bits[0, j] / 20_000 + 7 + table.edge_ms[0, j]
        result = replay(scenario, realization, np.full(2, j))
        if latency <= 200:
            np.testing.assert_allclose(result.latency_ms, latency, atol=1e-9)
            assert result.uplink_bytes == 2 * table.payload_bits[0, j] / 8
        else:
            assert result.dropped.all()
            assert result.uplink_bytes == 0


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_a_dead_link_no_tasks_and_hopeless_deadlines_give_results(order):
    dead = scenario_of(uplink={"order": order, "rate": {"kind": "constant", "mbps": 0}})
    sends = int(np.flatnonzero(dead.options.payload_bits[0] > 0)[0])
    result = replay(dead, dead.realize(0), np.full(2, sends))
    assert np.isinf(result.finish_ms).all()
    assert result.mean_gain == 0
    empty = scenario_of(
        uplink={"order": order, "rate": {"kind": "constant", "mbps": 5}}, horizon_ms=None, tasks_per_stream=0
    )
    result = simulate(empty, Scripted([[]]), 0)
    assert (result.tasks, result.on_time_accuracy, result.summary()["tasks"]) == (0, 0.0, 0)
    hopeless = scenario_of(
        streams=[
            {
                "name": "cam",
                "profile": "alexnet-pi",
                "deadline_ms": 0.001,
                "arrivals": {"kind": "poisson", "rate_hz": 50},
            }
        ],
        uplink={"order": order, "rate": {"kind": "constant", "mbps": 5}},
    )
    realization = hopeless.realize(0)
    result = simulate(hopeless, Scripted([np.full(realization.tasks, 0)]), 0)
    assert result.dropped.all()
    assert result.mean_gain == 0
    assert simulate_batch(hopeless, Scripted([]), []) == []


@pytest.mark.parametrize("bad", [[99, 0], [-2, 0], [0.5, 0.5]])
def test_an_impossible_decision_is_refused(bad):
    scenario = scenario_of()
    with pytest.raises(HastenError, match="expected"):
        replay(scenario, scenario.realize(0), np.array(bad))
    with pytest.raises(HastenError, match="expected"):
        replay(scenario, scenario.realize(0), np.zeros(3, dtype=np.int64))


class Listener(Scripted, Observer):
    """Also listens to outcomes."""

    name = "listener"

    def reset(self, context):
        super().reset(context)
        self.heard = []

    def observe(self, outcomes):
        self.now = [len(views) for views in self.views]
        for i in range(len(outcomes.row)):
            self.heard.append((int(outcomes.row[i]), float(outcomes.latency_ms[i]), int(outcomes.option[i])))


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_outcomes_are_told_once_and_not_before_they_are_known(tmp_path, topology, order):
    scenario = random_scenario(tmp_path, 21, topology, order, tasks=40, streams=2)
    seeds = [1, 2]
    script = [random_options(scenario, scenario.realize(s), np.random.default_rng(s)) for s in seeds]
    listener = Listener(script)
    results = simulate_batch(scenario, listener, seeds)
    for b, result in enumerate(results):
        heard = sorted((latency, option) for row, latency, option in listener.heard if row == b)
        last = result.arrival_ms[-1]
        chosen = np.array(script[b])
        known = (np.arange(result.tasks) < result.tasks - 1) & (chosen != DROP)
        certain = known & (~np.isfinite(result.finish_ms) | (result.finish_ms <= last))
        answered = certain & np.isfinite(result.finish_ms)
        expected = sorted(zip(result.latency_ms[answered].tolist(), chosen[answered].tolist(), strict=True))
        assert [h for h in heard if np.isfinite(h[0])] == expected
        assert sum(np.isinf(h[0]) for h in heard) <= int((certain & ~answered).sum())
        assert sum(np.isinf(h[0]) for h in heard) >= int((known & result.dropped).sum())


def test_energy_counts_what_was_computed_and_what_was_sent(tmp_path):
    profile = {
        "schema": "hasten.profile/1",
        "name": "p",
        "source": "made up",
        "input_bytes": 1000,
        "blocks": [{"name": "b", "device_ms": 10.0, "edge_ms": 1.0, "output_bytes": 500}] * 2,
        "exits": [{"name": "e", "after_block": 2, "accuracy": 0.9, "device_ms": 0.0, "edge_ms": 0.0}],
        "device_power_mw": 2000.0,
        "radio_uj_per_byte": 4.0,
    }
    (tmp_path / "p.json").write_text(json.dumps(profile))
    scenario = scenario_of(
        streams=[
            {
                "name": "cam",
                "profile": str(tmp_path / "p.json"),
                "deadline_ms": 25,
                "arrivals": {"kind": "explicit", "times_ms": [0.0, 1.0, 2.0, 100.0]},
            }
        ],
        uplink={"order": "ready", "rate": {"kind": "constant", "mbps": 1}},  # 500 bytes take 4 ms, 1000 bytes 8 ms
    )
    half, all_edge = scenario.options.index(0, 1, 1), scenario.options.index(0, 1, 0)
    result = replay(scenario, scenario.realize(0), np.array([half, half, half, all_edge]))
    # Computed and sent; likewise; cancelled at the device, which could start on it only after 20 ms; sent only.
    np.testing.assert_array_equal(np.isfinite(result.finish_ms), [True, True, False, True])
    np.testing.assert_allclose(result.energy_mj, [20 + 2, 20 + 2, 0, 4])
    assert result.uplink_bytes == 500 + 500 + 1000
