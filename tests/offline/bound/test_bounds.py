"""The price bound: never below anything that a simulated run can gain, and right where the answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offline_scenarios import SLACK, alexnet, random_prices
from sim_cases import COMBINATIONS, random_options, random_scenario, with_outages

from hasten.api import simulate
from hasten.core.gain import GainTerms
from hasten.core.scenario import scenario_from
from hasten.offline.bound.bounds import Relaxation, paid_before
from hasten.offline.bound.decomposition import find_dual_prices
from hasten.offline.bound.grant_order import GrantOrder
from hasten.offline.bound.grid import make_grid
from hasten.offline.bound.kernels import NO_OPTION
from hasten.offline.bound.occupancy import Occupancies, price_occupancies
from hasten.offline.bound.option_values import Offer, OptionScratch, Terms, option_values, steady_values
from hasten.offline.exact.search import exact_search
from hasten.offline.instance import instance_of
from hasten.offline.time_limit import TimeLimit
from hasten.schedulers import make_scheduler
from hasten.sim import Replayer

PLANS_PER_SCENARIO = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("profiles")


@settings(max_examples=250, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), combination=st.sampled_from(COMBINATIONS), outages=st.booleans())
def test_no_run_gains_more_than_the_bound(folder, seed, combination, outages):
    rng = np.random.default_rng(seed)
    scenario = random_scenario(folder, seed, *combination, tasks=int(rng.integers(1, 9)))
    realization = scenario.realize(seed % 1000)
    if outages:
        realization = with_outages(realization, rng)
    grid = make_grid(scenario, realization, float(rng.choice([0.05, 0.3, 1.0, 4.0])))
    price = random_prices(grid, rng)
    bound = Relaxation(grid).evaluate(price[:-1], price[-1]).bound
    replayer = Replayer(scenario, realization)
    for _ in range(PLANS_PER_SCENARIO):
        assert replayer.total_gain(random_options(scenario, realization, rng)) <= bound + SLACK


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    combination=st.sampled_from(COMBINATIONS),
    scheduler=st.sampled_from(["greedy", "min-latency", "device-only:deepest", "edgent:slack", "random:feasible"]),
)
def test_no_scheduler_gains_more_than_tuned_prices_allow(folder, seed, combination, scheduler):
    scenario = random_scenario(folder, seed, *combination, tasks=12)
    realization = scenario.realize(0)
    relaxation = Relaxation(make_grid(scenario, realization, 0.5))
    prices = find_dual_prices(relaxation, 25, 3.0, TimeLimit())
    result = simulate(scenario, make_scheduler(scheduler), 0)
    assert result.gain.sum() <= prices.bound + SLACK


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_threads_change_nothing(folder, monkeypatch, topology):
    scenario = random_scenario(folder, 3, topology, "grant", tasks=40, streams=4)
    grid = make_grid(scenario, scenario.realize(0), 1.0)
    price = random_prices(grid, np.random.default_rng(0))
    alone = Relaxation(grid).evaluate(price[:-1], price[-1])
    monkeypatch.setattr("hasten.offline.bound.bounds.TASKS_FOR_THREADS", 1)
    together = Relaxation(grid).evaluate(price[:-1], price[-1])
    assert together.bound == alone.bound
    np.testing.assert_array_equal(together.link_use, alone.link_use)
    np.testing.assert_array_equal(together.option, alone.option)


def test_tuned_prices_never_fall_below_the_exact_optimum(folder):
    close = 0
    for seed in range(60):
        scenario = random_scenario(folder, seed, "shared" if seed % 2 else "dedicated", "grant", tasks=3, streams=2)
        realization = scenario.realize(seed)
        search = exact_search(instance_of(scenario, realization)[0])
        assert search.complete
        optimum = search.gain + realization.tasks * scenario.gain.terms()[1]
        relaxation = Relaxation(make_grid(scenario, realization, 0.1))
        bound = find_dual_prices(relaxation, 60, 1.0, TimeLimit(), 5.0 if seed % 2 else None).bound
        assert bound >= optimum - SLACK
        close += bound - optimum <= 0.05 * abs(search.gain) + 0.01
    assert close >= 40  # it is not only valid but of use


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), outages=st.booleans())
def test_no_multipliers_bound_less_than_a_plan_in_grant_order_gains(folder, seed, outages):
    rng = np.random.default_rng(seed)
    scenario = random_scenario(folder, seed % 200, "shared", "grant", tasks=8)
    realization = scenario.realize(seed % 1000)
    if outages:
        realization = with_outages(realization, rng)
    grid = make_grid(scenario, realization, float(rng.choice([0.3, 1.0, 4.0])))
    order = GrantOrder(grid, block_cells := int(rng.integers(1, 8)), grid.width // block_cells + 2)
    multiplier = rng.choice([0.0, 0.1, 1.0]) * np.maximum(rng.normal(size=(len(grid.order), order.blocks)), 0.0)
    price = random_prices(grid, rng)
    bound = (
        Relaxation(grid).evaluate(price[:-1], price[-1], None, multiplier, order.block_cells).bound
        + order.longest(multiplier)[0]
    )
    replayer = Replayer(scenario, realization)
    for _ in range(PLANS_PER_SCENARIO):
        assert replayer.total_gain(random_options(scenario, realization, rng)) <= bound + SLACK


def test_the_longest_path_is_the_best_of_all_orders():
    """Against trying every assignment of four tasks to blocks that never goes back."""
    grid = make_grid(alexnet(2, 2), alexnet(2, 2).realize(0), 8.0)
    order, rng = GrantOrder(grid, 4, grid.width // 4 + 2), np.random.default_rng(0)
    place = np.argsort(grid.order)
    for _ in range(20):
        multiplier = np.maximum(rng.normal(size=(4, order.blocks)), 0.0)
        best = 0.0
        for blocks in itertools.product(range(-1, order.blocks), repeat=4):
            at = [order.first_block[k] + b for k, b in enumerate(blocks) if b >= 0]
            if at == sorted(at):
                best = max(best, sum(multiplier[place[k], b] for k, b in enumerate(blocks) if b >= 0))
        total, start_block = order.longest(multiplier)
        assert total == pytest.approx(best)
        assert sum(multiplier[q, b] for q, b in enumerate(start_block) if b >= 0) == pytest.approx(best)


def test_a_lone_task_is_bounded_by_its_best_option():
    scenario = alexnet(1, 1)
    grid = make_grid(scenario, scenario.realize(0), 0.1)
    zero = np.zeros((1, grid.cells))
    value = Relaxation(grid).evaluate(zero, zero[0])
    assert value.bound == pytest.approx(0.792)
    assert value.link_use.sum() > 0
    assert value.option[0] != NO_OPTION


def test_prices_buy_off_what_they_charge_for():
    """At prices beyond any worth nothing is sent, and the bound is the devices' own optimum plus all capacity's price."""
    scenario = alexnet(2, 20)
    grid = make_grid(scenario, scenario.realize(0), 0.25)
    relaxation = Relaxation(grid)
    dear = np.full((1, grid.cells), 10.0)
    value = relaxation.evaluate(dear, np.zeros(grid.cells))
    assert value.link_use.sum() == 0 and value.edge_use.sum() == 0
    silent = scenario_from(
        {**scenario.model_dump(by_alias=True), "uplink": {"rate": {"kind": "constant", "mbps": 0}}}, "silent"
    )
    alone_grid = make_grid(silent, silent.realize(0), 0.25)
    zero = np.zeros((1, alone_grid.cells))
    alone = Relaxation(alone_grid).evaluate(zero, zero[0])
    assert value.bound - 10.0 * grid.cells == pytest.approx(alone.bound)


def test_finer_cells_and_tuned_prices_tighten_the_bound():
    scenario = alexnet(3, 40)
    realization = scenario.realize(3)
    free, tuned = [], []
    for cell_ms in (4.0, 0.5):
        relaxation = Relaxation(make_grid(scenario, realization, cell_ms))
        zero = np.zeros((1, relaxation.grid.cells))
        free.append(relaxation.evaluate(zero, zero[0]).bound)
        tuned.append(find_dual_prices(relaxation, 40, 4.0, TimeLimit()).bound)
    assert tuned[0] < free[0] and tuned[1] < free[1]
    assert tuned[1] < tuned[0]


def test_use_never_exceeds_what_the_streams_could_ask_for():
    """Usage is a subgradient: moving prices along it predicts at most the change of the bound (convexity)."""
    rng = np.random.default_rng(5)
    scenario = alexnet(3, 15, uplink={"rate": {"kind": "constant", "mbps": 6}}, edge={"slowdown": 6, "workers": 2})
    relaxation = Relaxation(make_grid(scenario, scenario.realize(1), 0.5))
    grid = relaxation.grid
    for _ in range(20):
        here, there = random_prices(grid, rng), random_prices(grid, rng)
        at_here = relaxation.evaluate(here[:-1], here[-1])
        at_there = relaxation.evaluate(there[:-1], there[-1])
        slope = np.vstack([1.0 - at_here.link_use, grid.workers - at_here.edge_use])
        assert at_there.bound >= at_here.bound + (slope * (there - here)).sum() - 1e-6


def test_values_start_at_the_bound_without_prices():
    scenario = alexnet(2, 10)
    relaxation = Relaxation(make_grid(scenario, scenario.realize(2), 0.5))
    grid = relaxation.grid
    values = np.zeros((len(grid.order), grid.width))
    bound = relaxation.evaluate(np.zeros((1, grid.cells)), np.zeros(grid.cells), values).bound
    assert values[grid.first[:-1], 0].sum() == pytest.approx(bound, rel=1e-9)
    assert np.all(np.diff(values, axis=1) <= 1e-12)  # a fuller device never gains more


def test_prices_of_occupancies_computed_once_give_the_values_computed_anew():
    """The fast values of options on a link of constant rate, against the ones that also say where they are best."""
    rng = np.random.default_rng(0)
    width, block_cells = 90, 7
    for _ in range(300):
        link_paid, edge_paid = (paid_before(rng.random(200) * rng.integers(0, 2, 200)) for _ in range(2))
        send, edge, device, rtt_half = (int(n) for n in rng.integers(0, 20, 4))
        send_part, edge_part, rtt_part = rng.random(3)
        gain_terms = GainTerms(*[(0.0, 0.0, 0.0), (0.3, -0.1, 0.0), (0.0, 0.0, 0.5)][rng.integers(3)])
        arrival, limit_at = 40, 40 + float(rng.uniform(10, 80))
        multiplier = rng.random(30) if rng.random() < 0.5 else np.empty(0)
        slow, fast, edge_value = np.zeros(width), np.zeros(width), np.zeros(width)
        index = [np.zeros(width, np.int64) for _ in range(3)]
        prices = []
        for paid, whole, part in ((link_paid, send, send_part), (edge_paid, edge, edge_part)):
            occupancies = Occupancies(np.array([whole]), np.array([part]), np.zeros((1, 1), np.int64))
            prices.append(np.empty((1, len(paid))))
            price_occupancies(paid, occupancies, prices[-1])
        offer = Offer(arrival, limit_at, 40.0, 50.0, device, send, edge, send_part, edge_part, 1.0, 0.7)
        terms = Terms(gain_terms, rtt_half, rtt_part, 1.0)
        scratch = OptionScratch(slow, index[0], index[1], edge_value, index[2])
        starts = option_values(offer, terms, np.empty(0), link_paid, edge_paid, multiplier, block_cells, scratch)
        send_price, edge_price = (price[0] for price in prices)
        assert starts == steady_values(offer, terms, send_price, edge_price, multiplier, block_cells, fast)
        np.testing.assert_array_equal(fast[:starts], slow[:starts])
