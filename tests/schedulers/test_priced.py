"""Priced: greedy where time is free, sparing where it is dear, and no dearer with more streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.api import simulate, simulate_batch
from hasten.core.calibration import NODES as CURVE_NODES
from hasten.core.calibration import SENT
from hasten.core.decision import View
from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler, priced_values
from hasten.schedulers.priced import Priced
from hasten.schedulers.priced_rule import EDGE, FREE, NODES, UPLINK, BacklogPrices, PricedRule
from hasten.schedulers.priced_values import learn_prices


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
    effects = rule.effects(view.stream, view.waits, view.rate_bits_per_ms)
    return rule.choose(view, effects, prices)[1]


def test_without_prices_it_is_greedy():
    context = study().context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(0))
    greedy = make_scheduler("greedy")
    greedy.reset(context)
    np.testing.assert_array_equal(choose(context, FREE, view), greedy.decide(view).option)


def test_dear_uplink_time_is_not_bought():
    context = study().context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(1))
    dear = np.zeros((3, len(NODES)))
    dear[UPLINK] = -100.0 * NODES
    option = choose(context, BacklogPrices(dear, FREE.shares), view)
    sent = context.options.payload_bits[view.stream, np.maximum(option, 0)] * (option >= 0)
    assert not sent.any()
    assert (option >= 0).any()


def test_promises_that_are_never_kept_count_for_nothing():
    context = study(order="ready").context(np.zeros(1, dtype=np.int64))
    view = some_views(context, 300, np.random.default_rng(2))
    free = choose(context, FREE, view)
    curves = np.ones((300, 2, CURVE_NODES))
    curves[:, SENT] = 0.0
    wary = choose(context, FREE, replace(view, kept_share=curves))
    bits = context.options.payload_bits
    assert bits[view.stream, np.maximum(free, 0)][free >= 0].any()
    assert not bits[view.stream, np.maximum(wary, 0)][wary >= 0].any()


def test_learnt_values_never_reward_a_fuller_queue():
    prices = learn_prices(study().context(np.zeros(1, dtype=np.int64)), 10_000.0)
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
    first = learn_prices(scenario.context(np.array([1])), 10_000.0)
    assert learn_prices(scenario.context(np.array([2, 3])), 10_000.0) is first
    priced_values._known.clear()
    again = learn_prices(scenario.context(np.array([1])), 10_000.0)
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
    np.testing.assert_allclose(
        learn_prices(alone, 10_000.0).at_node, learn_prices(context, 10_000.0).at_node, atol=1e-12
    )


@pytest.mark.filterwarnings("error")
def test_a_dead_link_is_a_link_like_any_other():
    scenario = study(mbps=0, kind="constant")
    gain = simulate(scenario, make_scheduler("priced"), 0).mean_gain
    assert gain == pytest.approx(simulate(scenario, make_scheduler("greedy"), 0).mean_gain, abs=0.1)
