"""``solve_offline`` where the exact search answers: certificates, replay in the simulator, reasons."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hasten.core.options import DROP
from hasten.core.scenario import Scenario, scenario_from
from hasten.offline import solve, solve_offline
from hasten.offline.exact import Search
from hasten.offline.plan import offline_document
from hasten.schedulers import make_scheduler
from hasten.sim import replay, simulate

ARRIVALS = [
    {"kind": "poisson", "rate_hz": 15},
    {"kind": "periodic", "rate_hz": 15, "jitter": 0.5},
    {"kind": "mmpp", "rates_hz": [5, 40], "dwell_ms": [500, 500]},
    {"kind": "explicit", "times_ms": [0, 0, 5, 10, 60, 61, 62, 63, 200]},
]
RATES = [
    {"kind": "constant", "mbps": 8},
    {"kind": "gauss_markov", "mean_mbps": 8, "sigma_mbps": 5, "step_ms": 20},
]


def make(streams: int = 1, deadline_ms: float = 80, arrivals: Any = None, **more: Any) -> Scenario:
    uplink = {"rate": RATES[0]} | more.pop("uplink", {})
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": streams,
                    "profile": "alexnet-pi",
                    "deadline_ms": deadline_ms,
                    "arrivals": arrivals or ARRIVALS[0],
                }
            ],
            "uplink": uplink,
            "edge": {"slowdown": 4},
            "tasks_per_stream": 60,
        }
        | more
    )


@pytest.mark.parametrize("arrivals", ARRIVALS, ids=lambda spec: spec["kind"])
@pytest.mark.parametrize("rate", RATES, ids=lambda spec: spec["kind"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("gain", ["on_time_accuracy", "tradeoff", "soft"])
def test_plan_replays_to_its_gain(arrivals: Any, rate: Any, topology: str, gain: str) -> None:
    scenario = make(
        2,
        arrivals=arrivals,
        uplink={"rate": rate, "topology": topology, "rtt_ms": 4},
        edge={"workers": 2, "slowdown": 4},
        gain={"kind": gain},
    )
    plan = solve_offline(scenario, seed=3)
    result = replay(scenario, scenario.realize(3), plan.option)
    assert plan.optimal
    assert plan.upper_bound == plan.gain
    assert result.mean_gain == pytest.approx(plan.gain, abs=1e-12)
    np.testing.assert_array_equal(result.decisions, plan.decisions)
    assert simulate(scenario, make_scheduler("greedy"), 3).mean_gain <= plan.gain + 1e-12


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_one_stream_is_exact_in_every_order(order: str, topology: str) -> None:
    scenario = make(uplink={"order": order, "topology": topology})
    plan = solve_offline(scenario)
    assert plan.optimal
    assert plan.gain == solve_offline(make()).gain
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)


def test_ready_order_starts_from_a_plan_at_once() -> None:
    scenario = make(3, uplink={"order": "ready"})
    plan = solve_offline(scenario, time_limit_s=0.0)
    assert 0.5 < plan.gain <= plan.upper_bound <= 0.792 + 1e-9
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)


def test_no_tasks() -> None:
    plan = solve_offline(make(tasks_per_stream=0))
    assert (plan.gain, plan.upper_bound, plan.gap, plan.optimal, plan.reason) == (0.0, 0.0, 0.0, True, "no tasks")
    assert plan.decisions.shape == (0, 2)


def test_nothing_feasible() -> None:
    plan = solve_offline(make(deadline_ms=2))
    assert (plan.gain, plan.upper_bound, plan.optimal) == (0.0, 0.0, True)
    assert "misses its deadline" in plan.reason
    assert (plan.option == DROP).all()
    assert (plan.decisions == 0).all()


def test_nothing_feasible_costs_what_dropping_costs() -> None:
    plan = solve_offline(make(deadline_ms=2, gain={"kind": "tradeoff", "rho": 0.25}))
    assert (plan.gain, plan.upper_bound, plan.gap) == (-0.25, -0.25, 0.0)


def test_dead_link() -> None:
    dead = {"rate": {"kind": "constant", "mbps": 0}}
    plan = solve_offline(make(deadline_ms=10, uplink=dead))
    assert plan.gain == 0.0
    assert "zero for ever" in plan.reason
    plan = solve_offline(make(uplink=dead))
    assert plan.gain > 0.0
    assert (plan.decisions[plan.option != DROP, 1] > 0).all()


def test_certificate_is_plain_data() -> None:
    document = json.loads(json.dumps(offline_document("busy", [solve_offline(make())])))
    assert document["schema"] == "hasten.offline/1"
    assert {"seed", "tasks", "gain", "upper_bound", "gap", "optimal", "seconds"} <= document["results"][0].keys()


def test_ctrl_c_returns_plan_and_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    optimum = solve_offline(make(3)).gain
    monkeypatch.setattr(solve, "BEAM_WIDTH", 2)

    def interrupted(*arguments: Any) -> Search:
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "exact_search", interrupted)
    plan = solve_offline(make(3))
    assert (plan.reason, plan.optimal) == ("interrupted", False)
    assert 0.9 * optimum <= plan.gain <= optimum <= plan.upper_bound


def test_early_ctrl_c_still_returns_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    search, calls = solve.beam_search, []

    def interrupted_once(*arguments: Any) -> Search:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return search(*arguments)

    monkeypatch.setattr(solve, "beam_search", interrupted_once)
    plan = solve_offline(make(3))
    assert plan.reason == "interrupted"
    assert 0.5 < plan.gain < plan.upper_bound


def test_what_the_exact_search_cannot_finish_goes_to_the_bounded_method(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = make(3)
    optimum = solve_offline(scenario).gain
    monkeypatch.setattr(solve, "BEAM_WIDTH", 2)
    plan = solve_offline(scenario, memory_limit_mb=0.01, time_limit_s=5)
    assert "memory limit" in plan.reason or plan.optimal
    assert plan.gain <= optimum + 1e-12 <= plan.upper_bound + 2e-12
    assert replay(scenario, scenario.realize(0), plan.option).mean_gain == pytest.approx(plan.gain, abs=1e-12)
