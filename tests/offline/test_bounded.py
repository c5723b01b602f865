"""Plans of the bounded method: executed by the simulator to their gain, never above their bound, close to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from offline_scenarios import alexnet
from sim_cases import COMBINATIONS, random_scenario, with_outages

from hasten.api import simulate
from hasten.core.errors import InputError
from hasten.offline import bounded
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.bound.decomposition import find_dual_prices
from hasten.offline.bound.grid import make_grid
from hasten.offline.bounded import solve_bounded
from hasten.offline.effort import Effort
from hasten.offline.exact.search import exact_search
from hasten.offline.instance import grant_like, instance_of
from hasten.offline.plan import all_dropped
from hasten.offline.search.epochs import decision_epochs
from hasten.offline.search.grant_beam import grant_beam
from hasten.offline.search.heuristic import heuristic_of
from hasten.offline.search.incumbent import incumbent
from hasten.offline.search.local_search import improve
from hasten.offline.search.ready_beam import ready_beam
from hasten.offline.search.recombination import recombined
from hasten.offline.search.service_order_beam import next_step_ms, service_order_beam
from hasten.offline.solve import solve_offline
from hasten.offline.time_limit import TimeLimit
from hasten.schedulers import make_scheduler
from hasten.sim import Replayer, replay

LIGHT = Effort(rounds=25, grid_work=200.0, grant_labels=4e3, ready_labels=1e3, search_work=40_000)


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_a_plan_gains_what_it_claims_and_no_more_than_its_bound(tmp_path, topology, order):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        scenario = random_scenario(tmp_path, seed, topology, order, tasks=6)
        realization = scenario.realize(seed)
        if seed % 3 == 0:
            realization = with_outages(realization, rng)
        option, gain, bound, _ = solve_bounded(scenario, realization, TimeLimit(), effort=LIGHT)
        assert replay(scenario, realization, option).mean_gain == pytest.approx(gain, abs=1e-12)
        assert gain <= bound + 1e-9


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_the_searches_know_the_simulator(tmp_path, topology, order):
    """No task of a plan is late in the simulator: the searches' own copies of the queues are the simulator's."""
    for seed in range(20):
        scenario = random_scenario(tmp_path, seed, topology, order, tasks=10)
        realization = scenario.realize(seed)
        relaxation = Relaxation(make_grid(scenario, realization, 1.0))
        prices = find_dual_prices(relaxation, 5, 4.0, TimeLimit())
        heuristic = heuristic_of(prices, relaxation.grid, prices.values(relaxation))
        instance, column = instance_of(scenario, realization)
        plans = []
        if grant_like(scenario):
            plans.append(grant_beam(instance, heuristic, 8, TimeLimit())[0])
        else:
            beams = [ready_beam(instance, heuristic, 8, TimeLimit(), all_dropped(realization.tasks))]
            if topology == "shared":
                epochs = decision_epochs(instance, heuristic, relaxation, prices)
                beams.append(service_order_beam(instance, heuristic, epochs, 8, TimeLimit()))
            plans.append(max(beams, key=lambda plan: total_gain(scenario, realization, plan, column)))
            assert_no_task_is_late(scenario, realization, beams, column)
        if topology == "shared":
            ready = order == "ready" and len(scenario.devices) > 1
            plans.append(improve(instance, plans[0], heuristic.usable, ready, 0.08, 6000, TimeLimit()))
        gains = [total_gain(scenario, realization, plan, column) for plan in plans]
        assert_no_task_is_late(scenario, realization, plans, column)
        assert gains == sorted(gains)


def in_full(realization, plan, column):
    return np.where(plan < 0, plan, column[realization.stream, np.maximum(plan, 0)])


def total_gain(scenario, realization, plan, column):
    return replay(scenario, realization, in_full(realization, plan, column)).gain.sum()


def assert_no_task_is_late(scenario, realization, plans, column):
    for plan in plans:
        option = in_full(realization, plan, column)
        result = replay(scenario, realization, option)
        assert np.all(np.isfinite(result.finish_ms) == (option >= 0))


def test_decisions_in_service_order_reach_the_best_of_all_on_tiny_instances(tmp_path):
    """Against trying every plan in ready order: most often equal, as labels are told apart by estimates, never above."""
    reached, number = 0, 20
    for seed in range(number):
        scenario = random_scenario(tmp_path, seed, "shared", "ready", tasks=2, streams=2)
        realization = scenario.realize(seed)
        relaxation = Relaxation(make_grid(scenario, realization, 0.5))
        prices = find_dual_prices(relaxation, 10, 1.0, TimeLimit())
        heuristic = heuristic_of(prices, relaxation.grid, prices.values(relaxation))
        instance, column = instance_of(scenario, realization)
        epochs = decision_epochs(instance, heuristic, relaxation, prices)
        plan = service_order_beam(instance, heuristic, epochs, 64, TimeLimit())
        replayer = Replayer(scenario, realization)
        options = [range(-1, int(count)) for count in instance.costs.options[realization.stream]]
        best = max(
            replayer.total_gain(in_full(realization, np.array(chosen), column))
            for chosen in itertools.product(*options)
        )
        gain = replayer.total_gain(in_full(realization, plan, column))
        assert gain <= best + 1e-9
        reached += gain >= best - 1e-9
    assert reached >= 0.9 * number


def test_recombination_takes_the_best_parts():
    rng = np.random.default_rng(0)
    worth = rng.random((3, 400))
    plans = [np.full(400, i) for i in range(3)]

    def gain(plan):
        return float(worth[plan, np.arange(400)].sum())

    plan = recombined(plans, 2, gain, TimeLimit())
    assert gain(plan) > max(map(gain, plans)) + 10
    np.testing.assert_array_equal(recombined(plans, 2, gain, TimeLimit(0.0)), max(plans, key=gain))


def test_grant_order_meets_the_exact_optimum_on_small_instances(tmp_path):
    """With room for every label, the beam is exact, and its own bound proves it."""
    for seed in range(30):
        scenario = random_scenario(tmp_path, seed, "shared" if seed % 2 else "dedicated", "grant", tasks=3, streams=2)
        realization = scenario.realize(seed)
        search = exact_search(instance_of(scenario, realization)[0])
        optimum = search.gain / realization.tasks + scenario.gain.terms()[1]
        effort = Effort(rounds=10, grid_work=200.0, grant_labels=1e6)
        _, gain, bound, _ = solve_bounded(scenario, realization, TimeLimit(), effort=effort)
        assert gain == pytest.approx(optimum, abs=1e-8)
        assert bound >= optimum - 1e-8


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_the_study_is_certified_closely(order):
    scenario = alexnet(3, 40, uplink={"order": order, "rate": {"kind": "constant", "mbps": 10}})
    realization = scenario.realize(0)
    effort = Effort(
        rounds=60,
        grid_work=400.0,
        grant_labels=1e4,
        ready_labels=2e3,
        search_work=400_000,
    )
    _, gain, bound, _ = solve_bounded(scenario, realization, TimeLimit(), effort=effort)
    assert (bound - gain) / bound < 0.03
    assert gain >= simulate(scenario, make_scheduler("greedy:point"), 0).mean_gain


def test_a_known_plan_and_bound_are_kept_when_better():
    scenario = alexnet(2, 10)
    realization = scenario.realize(0)
    known, gain, bound, _ = solve_bounded(scenario, realization, TimeLimit(), effort=LIGHT)
    again, same_gain, same_bound, _ = solve_bounded(scenario, realization, TimeLimit(0.0), known, bound, LIGHT)
    np.testing.assert_array_equal(again, known)
    assert same_gain == gain and same_bound == bound


def test_chunks_add_up_to_a_valid_bound(monkeypatch):
    scenario = alexnet(3, 30)
    realization = scenario.realize(0)
    option, gain, whole, _ = solve_bounded(scenario, realization, TimeLimit(), effort=LIGHT)
    best = max(gain, Replayer(scenario, realization).total_gain(option) / realization.tasks)
    monkeypatch.setattr(bounded, "TASKS_PER_CHUNK", 20)
    _, chunked_gain, chunked, _ = solve_bounded(scenario, realization, TimeLimit(), effort=LIGHT)
    assert chunked >= best - 1e-9
    assert whole >= chunked_gain - 1e-9
    assert chunked_gain > 0.9 * gain


def test_no_time_still_gives_a_plan_and_a_bound():
    scenario = alexnet(3, 20)
    realization = scenario.realize(0)
    _, gain, bound, _ = solve_bounded(scenario, realization, TimeLimit(0.0))
    assert 0.0 <= gain <= bound <= 0.792 + 1e-9


def test_an_interrupt_keeps_the_best_so_far(monkeypatch):
    scenario = alexnet(2, 20)
    realization = scenario.realize(0)
    rounds = []
    evaluate = Relaxation.evaluate

    limit = TimeLimit()

    def interrupted(self, *arguments, **named):
        if len(rounds) == 3:
            limit.cancel()
        rounds.append(1)
        return evaluate(self, *arguments, **named)

    monkeypatch.setattr(Relaxation, "evaluate", interrupted)
    _, gain, bound, _ = solve_bounded(scenario, realization, limit)
    assert limit.expired and len(rounds) == 4
    assert gain <= bound < np.inf


def test_no_tasks():
    scenario = alexnet(2, 0)
    option, gain, bound, _ = solve_bounded(scenario, scenario.realize(0), TimeLimit())
    assert len(option) == 0 and gain == 0.0 and bound == 0.0


def test_the_same_answer_twice():
    scenario = alexnet(3, 15, uplink={"order": "ready", "rate": {"kind": "constant", "mbps": 10}})
    first, second = (solve_bounded(scenario, scenario.realize(4), TimeLimit(), effort=LIGHT) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:3] == second[1:3]


@pytest.mark.parametrize("gain", ["on_time_accuracy", "tradeoff", "soft"])
@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
@pytest.mark.parametrize("limit_s", [0.0, 0.01, 0.3])
def test_no_time_limit_gives_less_than_a_simple_rule(topology, order, gain, limit_s):
    uplink = {"topology": topology, "order": order, "rate": {"kind": "constant", "mbps": 10}}
    scenario = alexnet(12, 40, uplink=uplink, gain={"kind": gain})
    rule = incumbent(scenario, scenario.realize(0))
    least = replay(scenario, scenario.realize(0), rule).mean_gain
    plan = solve_offline(scenario, time_limit_s=limit_s)
    assert least - 1e-12 <= plan.gain <= plan.upper_bound
    if gain != "soft":
        assert least >= simulate(scenario, make_scheduler("greedy:point"), 0).mean_gain - 1e-12


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_chunks_give_no_less_than_a_simple_rule(monkeypatch, order):
    monkeypatch.setattr(bounded, "TASKS_PER_CHUNK", 100)
    scenario = alexnet(10, 60, uplink={"order": order, "rate": {"kind": "constant", "mbps": 10}})
    greedy = simulate(scenario, make_scheduler("greedy:point"), 0).mean_gain
    for limit_s in (0.0, 0.01, 0.2):
        _, gain, bound, _ = solve_bounded(scenario, scenario.realize(0), TimeLimit(limit_s))
        assert greedy - 1e-12 <= gain <= bound


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize(
    "where",
    [
        "make_grid",
        "find_dual_prices",
        "heuristic_of",
        "grant_beam",
        "service_order_beam",
        "recombined",
        "improve",
        "tightened",
    ],
)
def test_an_interrupt_anywhere_gives_no_less_than_a_simple_rule(monkeypatch, order, where):
    scenario = alexnet(10, 20, uplink={"order": order, "rate": {"kind": "constant", "mbps": 10}})

    step, limit = getattr(bounded, where), TimeLimit()

    def interrupted(*arguments, **named):
        limit.cancel()
        return step(*arguments, **named)

    monkeypatch.setattr(bounded, where, interrupted)
    _, gain, bound, _ = solve_bounded(scenario, scenario.realize(0), limit, effort=LIGHT)
    assert simulate(scenario, make_scheduler("greedy:point"), 0).mean_gain - 1e-12 <= gain <= bound < np.inf


def test_the_next_step_is_always_later():
    """Also where a moment is a multiple of the step that their quotient rounds down."""
    rng = np.random.default_rng(0)
    rounded = 0
    for step_ms in 120.0 / rng.integers(1, 400, size=300):
        for k in rng.integers(1, 10**6, size=50):
            for now_ms in (k * step_ms, np.nextafter(k * step_ms, 0.0), np.nextafter(k * step_ms, np.inf)):
                rounded += (np.floor(now_ms / step_ms) + 1.0) * step_ms <= now_ms
                after_ms = next_step_ms(now_ms, step_ms)
                assert now_ms < after_ms < now_ms + 2.0 * step_ms
    assert rounded > 0


@pytest.mark.filterwarnings("ignore:noise")
def test_noise_is_refused_for_a_plan_does_not_know_it(tmp_path):
    with pytest.raises(InputError, match="noise: got 'profile', expected none, to be solved"):
        solve_offline(random_scenario(tmp_path, 0, "shared", "grant", noise="profile"))
