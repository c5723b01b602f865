"""Experience: what is drawn, recorded and demonstrated is what was meant."""

from dataclasses import replace

import learn_scenarios
import numpy as np
import pytest
from random_policies import among_edges

import hasten as hs
from hasten.core.errors import InputError
from hasten.features.layout import ActionLayout
from hasten.learn.change import Change, changed
from hasten.learn.collect import TEMPERATURE, EpsilonGreedy, Scheduled, UniformActor, collect, likely_action
from hasten.learn.demonstrations import demonstrate
from hasten.learn.domain import FIXED, Domain, Runs, draw_runs, in_grant_order, training_range_of
from hasten.learn.pairs import collect_pairs
from hasten.learn.planner import Planner
from hasten.sim import simulate_realizations


def cameras(order="grant", count=3):
    return learn_scenarios.cameras(count, order, rate_hz=20, deadline_ms=80, tasks_per_stream=60)


def record(runs, actor, rng):
    return collect(runs, actor, 0.8, 1)


@pytest.fixture(scope="module")
def runs():
    return draw_runs(cameras(), Domain(), np.random.default_rng(0), 6, 90)


def test_drawn_runs_stay_within_the_domain():
    scenario, domain = (
        cameras(),
        replace(FIXED, uplink_rate=(0.5, 2.0), arrival_rate=(0.9, 1.1), deadline=(1, 3), streams=(1, 6)),
    )
    rng, streams, rates = np.random.default_rng(1), set(), []
    for _ in range(12):
        runs = draw_runs(scenario, domain, rng, 4, 600)
        streams.add(len(runs.scenario.devices))
        assert 80 <= runs.scenario.deadlines_ms[0] <= 240
        for run in runs.realizations:
            rates.append(run.rates[0].bits_per_ms[0] / 1000)
            assert run.tasks == 600 // len(runs.scenario.devices) * len(runs.scenario.devices)
    assert min(streams) >= 1 and max(streams) <= 6 and len(streams) > 2
    assert 5 <= min(rates) < 8 and 12 < max(rates) <= 20
    training_range = training_range_of(scenario, domain)
    assert training_range.streams == (1, 6) and training_range.deadline_ms == (80, 240)
    assert training_range.rate_mbps == pytest.approx((5, 20)) and training_range.rate_hz == pytest.approx((18, 22))


def test_half_of_the_runs_come_in_bursts_and_half_on_a_link_that_varies():
    scenario = cameras()
    domain = replace(FIXED, burst=(3.0, 4.0), link_variation=(0.4, 0.6))
    runs = draw_runs(scenario, domain, np.random.default_rng(0), 60, 3 * 400).realizations
    gaps = [np.diff(run.arrival_ms[run.stream == 0]) for run in runs]
    bursty = np.array([gap.std() > 1.3 * gap.mean() for gap in gaps])
    varying = np.array([len(run.rates[0].from_ms) > 1 for run in runs])
    assert 15 < bursty.sum() < 45 and 15 < varying.sum() < 45
    assert np.mean([gap.mean() for gap in gaps]) == pytest.approx(50, rel=0.1)  # the mean rate stays
    swings = [np.std(run.rates[0].bits_per_ms) / 1e4 for run in runs if len(run.rates[0].from_ms) > 1]
    assert 0.3 < np.mean(swings) < 0.7
    training_range = training_range_of(scenario, domain)
    assert training_range.rate_mbps == pytest.approx((0.5, 22)) and training_range.rate_hz == pytest.approx((5, 80))


def test_parts_of_the_deadlines_cover_them_one_after_another():
    domain = Domain(deadline=(0.5, 4.0))
    parts = [domain.of_deadlines(i, 3).deadline for i in range(3)]
    np.testing.assert_allclose(parts, [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0)])
    assert domain.of_deadlines(1, 3).edge_time == domain.edge_time


def test_edges_differ_in_speed():
    scenario = cameras()
    domain = replace(FIXED, edge_time=(0.5, 2.0))
    rng, base = np.random.default_rng(0), scenario.edge.slowdown
    slowdowns = [draw_runs(scenario, domain, rng, 1, 30).scenario.edge.slowdown for _ in range(20)]
    assert 0.5 * base <= min(slowdowns) < base < max(slowdowns) <= 2 * base
    longest_ms = scenario.options.edge_ms.max()
    assert training_range_of(scenario, domain).edge_ms == pytest.approx((0.5 * longest_ms, 2 * longest_ms))


def test_a_fixed_domain_is_the_scenario_itself():
    scenario = cameras()
    runs = draw_runs(scenario, FIXED, np.random.default_rng(0), 2, 180)
    for run in runs.realizations:
        np.testing.assert_array_equal(run.arrival_ms, scenario.realize(run.seed).arrival_ms)


@pytest.mark.parametrize(
    ("arrivals", "rate"),
    [
        (
            {"kind": "periodic", "rate_hz": 10, "jitter": 0.5},
            {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 2},
        ),
        ({"kind": "mmpp", "rates_hz": [5, 20], "dwell_ms": [500, 500]}, {"kind": "constant", "mbps": 8}),
        ({"kind": "explicit", "times_ms": [float(10 * i) for i in range(100)]}, {"kind": "constant", "mbps": 8}),
    ],
)
def test_every_kind_of_process_is_made_faster(arrivals, rate):
    data = cameras().model_dump(by_alias=True)
    data["streams"] = [{"name": "a", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": arrivals}]
    data["uplink"]["rate"] = rate
    scenario = hs.scenario_from(data)
    slow, fast = (changed(scenario, Change(uplink_rate=f, arrival_rate=f), 1, 100).realize(0) for f in (1.0, 2.0))
    assert fast.arrival_ms[-1] == pytest.approx(slow.arrival_ms[-1] / 2, rel=0.15)
    assert fast.rates[0].bits_per_ms[0] == pytest.approx(2 * slow.rates[0].bits_per_ms[0])


def test_bad_domains_are_refused():
    with pytest.raises(InputError, match=r"domain: deadline: .*lowest first"):
        Domain(deadline=(2.0, 1.0))
    with pytest.raises(InputError, match="domain: streams"):
        Domain(streams=(0, 3))
    with pytest.raises(InputError, match=r"domain: burst: .*from 1 to 5"):
        Domain(burst=(1.0, 6.0))
    with pytest.raises(InputError, match=r"domain: link_variation: .*from 0 to 1"):
        Domain(link_variation=(-0.1, 0.5))


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_recording_does_not_change_a_run_and_pays_every_task_to_its_decision(order):
    runs = draw_runs(cameras(order), Domain(), np.random.default_rng(0), 4, 90)
    found = collect(runs, Scheduled(hs.make_scheduler("greedy")), 0.8, 1)
    plain = simulate_realizations(runs.scenario, hs.make_scheduler("greedy"), runs.realizations)
    for one, other in zip(found.results, plain, strict=True):
        np.testing.assert_array_equal(one.decisions, other.decisions)
    transitions = found.experience
    assert len(transitions) == sum(result.tasks - 1 for result in plain)  # nothing margins into another run
    assert found.expert.all()
    rows = np.arange(len(transitions))
    assert (transitions.mask[rows, transitions.action] == 1).all()
    regret = np.concatenate([result.gain[:-1] for result in plain]) - transitions.reward
    assert regret.min() >= 0 and regret.max() < 0.8  # what a task could have gained alone
    assert transitions.reward.max() <= 1e-6


def test_greedily_takes_the_best_allowed_action(runs):
    width = cameras().options.undominated()[0].exit.shape[1]

    def predicted_gain(observation):
        gain = observation[:, ActionLayout(width).gains]
        return np.concatenate(
            [gain - 1e-3 * observation[:, ActionLayout(width).latencies], -np.ones((len(gain), 1))], axis=1
        )

    by_values = collect(runs, EpsilonGreedy(predicted_gain), 0.8, 1)
    greedy = collect(runs, Scheduled(hs.make_scheduler("greedy")), 0.8, 1)
    for one, other in zip(by_values.results, greedy.results, strict=True):
        np.testing.assert_array_equal(one.decisions, other.decisions)


def test_random_actions_are_allowed_and_all_of_them_occur(runs):
    found = collect(runs, UniformActor(np.random.default_rng(0)), 0.8, 1).experience
    assert (found.mask[np.arange(len(found)), found.action] == 1).all()
    assert set(np.flatnonzero(found.mask.any(axis=0))) == set(found.action)


def test_likely_actions_follow_their_values_and_are_allowed():
    values = np.tile([0.0, TEMPERATURE, -np.inf], (20_000, 1))
    count = np.bincount(likely_action(values, np.random.default_rng(0)), minlength=3)
    assert count[2] == 0 and count[1] / count[0] == pytest.approx(np.e, rel=0.05)


def test_plans_made_on_the_way_beat_greedy_and_start_from_any_backlog(runs):
    planned = collect(runs, Planner(runs), 0.8, 1)
    greedy = collect(runs, Scheduled(hs.make_scheduler("greedy")), 0.8, 1)
    assert np.mean([r.mean_gain for r in planned.results]) > np.mean([r.mean_gain for r in greedy.results])


def test_plans_among_several_edges_beat_greedy():
    runs = draw_runs(among_edges(3, count=3, order="grant"), FIXED, np.random.default_rng(0), 3, 120)
    planned, greedy = (
        collect_pairs(runs, actor, np.random.default_rng(0)).results
        for actor in (Planner(runs), Scheduled(hs.make_scheduler("greedy")))
    )
    assert np.mean([run.mean_gain for run in planned]) > 1.01 * np.mean([run.mean_gain for run in greedy])
    assert all(len(np.unique(run.edge)) == 3 for run in planned)


def test_what_is_drawn_for_one_uplink_is_drawn_for_all():
    scenario = among_edges(2)
    twice = changed(scenario, Change(uplink_rate=2.0, edge_time=0.5), 2, 50)
    for before, after in zip(scenario.every_edge, twice.every_edge, strict=True):
        assert after.uplink.rate.mean_mbps == 2.0 * before.uplink.rate.mean_mbps
        assert after.edge.slowdown == 0.5 * before.edge.slowdown
    grant = in_grant_order(Runs(scenario, ())).scenario
    assert [way.uplink.order for way in grant.every_edge] == ["grant", "grant"]
    assert training_range_of(scenario, FIXED).edge_ms[1] == scenario.options.edge_ms.max()


@pytest.mark.parametrize(("init", "experts"), [("none", 0), ("greedy", 0.7), ("dp", 0.7), ("mixed", 0.63)])
def test_levels_of_historical_experience(init, experts):
    found = demonstrate(cameras(), Domain(), init, 3000, record, seed=0)
    assert len(found.experience) == len(found.expert) == (0 if init == "none" else 3000)
    if init != "none":
        assert found.expert.mean() == pytest.approx(experts, abs=0.06)
        again = demonstrate(cameras(), Domain(), init, 3000, record, seed=0)
        np.testing.assert_array_equal(found.experience.obs, again.experience.obs)


def test_demonstrations_start_from_more_backlogs_than_their_expert_leaves():
    """Along an optimal trajectory hardly any state shows how to recover."""
    scenario = cameras(count=1)
    runs = draw_runs(scenario, FIXED, np.random.default_rng(0), 16, 128)
    along = collect(runs, Planner(runs), 0.8, 1).experience.obs
    astray = demonstrate(scenario, FIXED, "dp", 2000, record, seed=0)
    shown = astray.experience.obs[astray.expert]
    count = min(len(along), len(shown))
    seen, shown_too = (len(np.unique((obs[:count, :3] * 8).astype(int), axis=0)) for obs in (along, shown))
    assert shown_too > 1.2 * seen  # cells of device, uplink and edge backlog
