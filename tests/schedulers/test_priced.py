"""Priced: greedy where time is free, sparing where it is dear, and no dearer with more streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_policies import among_edges

from hasten.api import simulate, simulate_batch
from hasten.core.calibration import NODES as CURVE_NODES
from hasten.core.calibration import SENT
from hasten.core.decision import EdgeView, View
from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler, priced_values
from hasten.schedulers.priced import Priced
from hasten.schedulers.priced_rule import EDGE, NODES, UPLINK, BacklogPrices, PricedRule, free, uplink_of
from hasten.schedulers.priced_values import SteadyEdge, learn_prices

STEADY = [SteadyEdge(0.0, 1, 10_000.0)]


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    monkeypatch.setattr(priced_values, "DECISIONS", 120)
    monkeypatch.setattr(priced_values, "RUNS", 24)
    monkeypatch.setattr(priced_values, "SCALES", (0.5,))
    monkeypatch.setattr(priced_values, "_known", {})


def study(streams=3, order="grant", topology="shared", tasks=60, **rate):
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": streams,
                    "profile": "efficientnet-b0",
                    "deadline_ms": 150,
                    "slowdown": 1 / 3,
                    "arrivals": {"kind": "poisson", "rate_hz": 6},
                }
            ],
            "uplink": {"order": order, "topology": topology, "rate": rate or {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": tasks,
        }
    )


def some_views(context, number, rng):
    waits = rng.uniform(0, 150, (3, number)) * (rng.random((3, number)) < 0.6)
    return View(
        row=np.arange(number),
        now_ms=np.zeros(number),
        stream=rng.integers(0, len(context.deadline_ms), number),
        device_wait_ms=waits[0],
        uplink_wait_ms=waits[1],
        edge_wait_ms=waits[2][:, None],
        rate_bits_per_ms=np.full(number, 10_000.0),
        others_wait_ms=np.zeros((number, len(context.deadline_ms))),
    )


def choose(context, prices, view):
    rule = PricedRule(context)
    effects = rule.effects(view)
    return rule.choose(view, effects, prices)[1]


def test_without_prices_it_is_greedy():
    context = study().context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(0))
    greedy = make_scheduler("greedy")
    greedy.reset(context)
    np.testing.assert_array_equal(choose(context, free(), view), greedy.decide(view).option)


def test_dear_uplink_time_is_not_bought():
    context = study().context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(1))
    dear = np.zeros((3, len(NODES)))
    dear[UPLINK] = -100.0 * NODES
    option = choose(context, BacklogPrices(dear, free().shares), view)
    sent = context.options.payload_bits[view.stream, np.maximum(option, 0)] * (option >= 0)
    assert not sent.any()
    assert (option >= 0).any()


def test_promises_that_are_never_kept_count_for_nothing():
    context = study(order="ready").context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(2))
    greedy = choose(context, free(), view)
    curves = np.ones((300, 2, CURVE_NODES))
    curves[:, SENT] = 0.0
    wary = choose(context, free(), replace(view, kept_share=curves))
    bits = context.options.payload_bits
    assert bits[view.stream, np.maximum(greedy, 0)][greedy >= 0].any()
    assert not bits[view.stream, np.maximum(wary, 0)][wary >= 0].any()


def test_learnt_values_never_reward_a_fuller_queue():
    prices = learn_prices(study().context(np.zeros(1, dtype=np.int64)), STEADY)
    assert np.all(np.diff(prices.at_node, axis=1) <= 0.0)
    assert prices.of(EDGE, np.array([0.0]))[0] == 0.0


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_it_runs_in_every_combination(order, topology):
    results = simulate_batch(study(2, order, topology, tasks=30), Priced(), [0, 1])
    assert all(0.0 < result.mean_gain < 0.74 for result in results)


def test_it_gains_more_than_greedy_where_look_ahead_pays():
    scenario = study(3, tasks=150)
    seeds = range(6)
    greedy, priced = (
        np.mean([result.mean_gain for result in simulate_batch(scenario, scheduler, seeds)])
        for scheduler in (make_scheduler("greedy"), make_scheduler("priced"))
    )
    assert priced > greedy


def test_prices_are_found_once_and_do_not_depend_on_the_seeds():
    scenario = study()
    first = learn_prices(scenario.context(np.array([1])), STEADY)
    assert learn_prices(scenario.context(np.array([2, 3])), STEADY) is first
    priced_values._known.clear()
    again = learn_prices(scenario.context(np.array([1])), STEADY)
    np.testing.assert_array_equal(again.at_node, first.at_node)
    np.testing.assert_array_equal(again.shares, first.shares)


def test_a_varying_link_gets_prices_for_each_rate_it_shows():
    scheduler = Priced()
    scenario = study(1, tasks=40, kind="gauss_markov", mean_mbps=10, sigma_mbps=5)
    simulate_batch(scenario, scheduler, [0])
    assert len(scheduler._prices) > 1


def test_one_row_stands_for_many_devices():
    """A device agent knows its own options only, and how many streams share the edge."""
    context = study(3).context(np.zeros(1, dtype=np.int64))
    alone = study(1).context(np.zeros(1, dtype=np.int64))
    alone = type(alone)(**{**alone.__dict__, "streams": 3, "ready_order": False})
    np.testing.assert_allclose(learn_prices(alone, STEADY).at_node, learn_prices(context, STEADY).at_node, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_dead_link_is_a_link_like_any_other():
    scenario = study(mbps=0, kind="constant")
    gain = simulate(scenario, make_scheduler("priced"), 0).mean_gain
    assert gain == pytest.approx(simulate(scenario, make_scheduler("greedy"), 0).mean_gain, abs=0.1)


def views_of_two_edges(context, number, rng):
    """Every edge of :func:`among_edges` with backlogs of its own."""
    waits = rng.uniform(0, 60, (3, number)) * (rng.random((3, number)) < 0.6)
    further = EdgeView(
        waits[0], np.sort(np.stack(waits[1:], axis=1), axis=1), np.full(number, 12_000.0), np.full(number, 3.0)
    )
    return replace(some_views(context, number, rng), further_edges=(further,))


def test_among_several_edges_without_prices_it_is_greedy_and_dear_uplinks_are_left():
    context = among_edges(2).context(np.zeros(1, dtype=np.int64))
    view = views_of_two_edges(context, 300, np.random.default_rng(0))
    greedy = make_scheduler("greedy")
    greedy.reset(context)
    option = choose(context, free(2), view)
    np.testing.assert_array_equal(option, greedy.decide(view).option)
    taken = context.options.edge[view.stream, np.maximum(option, 0)]
    sent = context.options.payload_bits[view.stream, np.maximum(option, 0)] * (option >= 0) > 0
    assert set(taken[sent]) == {0, 1}
    for edge in (0, 1):
        dear = np.zeros((5, len(NODES)))
        dear[uplink_of(edge)] = -100.0 * NODES
        option = choose(context, BacklogPrices(dear, free(2).shares), view)
        sent = context.options.payload_bits[view.stream, np.maximum(option, 0)] * (option >= 0) > 0
        assert set(context.options.edge[view.stream[sent], option[sent]]) == {1 - edge}


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_among_several_edges_it_learns_prices_of_each_and_decides_in_a_batch_as_alone(order):
    data = among_edges(2, count=2, tasks=60, order=order).model_dump(by_alias=True)
    for way, mbps in zip(data["edges"], (4.0, 8.0), strict=True):
        way["uplink"]["rate"] = {"kind": "constant", "mbps": mbps}
    scenario, scheduler = scenario_from(data), Priced()
    batch = simulate_batch(scenario, scheduler, [0, 1])
    (prices,) = scheduler._prices.values()
    assert prices.at_node.shape == (5, len(NODES)) and prices.shares.shape == (3, CURVE_NODES)
    alone = simulate(scenario, Priced(), 1)
    np.testing.assert_array_equal(alone.decisions, batch[1].decisions)
    np.testing.assert_array_equal(alone.edge, batch[1].edge)
    assert set(alone.edge) == {0, 1}
    assert alone.mean_gain > 0.95 * simulate(scenario, make_scheduler("greedy"), 1).mean_gain
