"""Plans and bounds where tasks stop early: against trying every plan in the simulator, which knows where each stops."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sim_cases import COMBINATIONS, with_outages
from stopping import LOSS, stopping_profile

from hasten.api import simulate
from hasten.core.scenario import scenario_from
from hasten.offline.bounded import solve_bounded
from hasten.offline.cases import cases_of
from hasten.offline.effort import Effort
from hasten.offline.instance import grant_like
from hasten.offline.solve import solve_offline
from hasten.offline.time_limit import TimeLimit
from hasten.schedulers import make_scheduler
from hasten.sim import Replayer

LIGHT = Effort(
    rounds=40, service_order_rounds=(1, 20), grid_work=300.0, grant_labels=1e4, ready_labels=1e3, search_work=2e4
)


def scenario(folder, seed, topology, order, tasks, streams=None):
    """Streams of networks that stop early, but for the first, whose tasks go all the way in every third scenario."""
    rng = np.random.default_rng([seed, 5])
    streams = int(rng.integers(1, 3)) if streams is None else streams
    rows = []
    for m in range(streams):
        path = folder / f"p{seed}-{m}.json"
        blocks = [
            {
                "name": f"b{i}",
                "device_ms": float(rng.uniform(4, 25)),
                "edge_ms": float(rng.uniform(0.5, 12)),
                "output_bytes": int(rng.integers(300, 9000)),
            }
            for i in range(4)
        ]
        path.write_text(stopping_profile(blocks=blocks, input_bytes=int(rng.integers(1000, 9000))).to_json())
        arrivals = {"kind": "poisson", "rate_hz": float(rng.uniform(60, 250))}
        rows.append(
            {"name": f"s{m}", "profile": str(path), "deadline_ms": float(rng.uniform(20, 60)), "arrivals": arrivals}
        )
    gains = [
        {"kind": "on_time_accuracy"},
        {"kind": "tradeoff", "lambda": 0.3, "rho": 0.1},
        {"kind": "soft", "kappa": 0.7},
    ]
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": rows,
            "uplink": {
                "topology": topology,
                "order": order,
                "rtt_ms": float(rng.choice([0.0, 4.0])),
                "rate": {"kind": "constant", "mbps": float(rng.uniform(0.5, 4))},
            },
            "edge": {"workers": int(rng.integers(1, 3))},
            "gain": gains[seed % 3],
            "tasks_per_stream": tasks,
            "confidence": {"max_accuracy_loss": LOSS},
        }
    )


def best_of_all(loaded, realization):
    """The largest mean gain of any plan."""
    replayer = Replayer(loaded, realization)
    options = [range(-1, int(loaded.options.count[m])) for m in realization.stream]
    return max(replayer.total_gain(np.array(plan)) for plan in itertools.product(*options)) / realization.tasks


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_a_bound_holds_for_every_plan_and_an_optimum_is_the_best_of_all(tmp_path, topology, order):
    proven = close = 0
    for seed in range(8):
        loaded = scenario(tmp_path, seed, topology, order, 3 if seed % 2 else 1, streams=1 if seed % 2 else 3)
        realization = loaded.realize(seed)
        best = best_of_all(loaded, realization)
        option, gain, bound, _ = solve_bounded(loaded, realization, TimeLimit(), effort=LIGHT)
        assert Replayer(loaded, realization).total_gain(option) / realization.tasks == pytest.approx(gain, abs=1e-12)
        assert gain - 1e-9 <= best <= bound + 1e-9
        close += gain > best - 1e-9
        if grant_like(loaded):
            plan = solve_offline(loaded, seed)
            assert plan.optimal
            assert plan.gain == pytest.approx(best, abs=1e-8)
            proven += 1
    assert close >= 6
    assert proven >= 4


@pytest.mark.parametrize(("topology", "order"), COMBINATIONS)
def test_no_scheduler_gains_more_than_the_bound(tmp_path, topology, order):
    for seed in range(2):
        loaded = scenario(tmp_path, seed, topology, order, 40, streams=3)
        realization = loaded.realize(seed)
        if seed % 2:
            realization = replace(realization, rates=with_outages(realization, np.random.default_rng(seed)).rates)
        option, gain, bound, _ = solve_bounded(loaded, realization, TimeLimit(), effort=LIGHT)
        assert Replayer(loaded, realization).total_gain(option) / realization.tasks == pytest.approx(gain, abs=1e-12)
        assert gain <= bound + 1e-9
        if not seed % 2:
            for name in ("greedy", "edgent", "device-only:deepest", "edge-only:deepest"):
                assert simulate(loaded, make_scheduler(name), seed).mean_gain <= bound + 1e-9


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_each_task_is_of_a_case_with_what_it_needs(tmp_path, order):
    loaded = scenario(tmp_path, 1, "shared", order, 50, streams=2)
    realization = loaded.realize(0)
    table, column, case, excess_ms = cases_of(loaded, realization)
    whole, stops = loaded.options, loaded.options.stops
    assert len(column) == 6  # two streams, and their tasks stop nowhere, at the first exit, or at the second
    for i, (m, ease) in enumerate(zip(realization.stream, realization.ease, strict=True)):
        c = case[i]
        assert column[c] == m
        for j in range(whole.count[m]):
            k = next(k for k in range(3) if ease < stops.until[m, j, k])
            for name in ("device_ms", "payload_bits", "edge_ms", "accuracy", "worth"):
                assert getattr(table, name)[c, j] == getattr(stops, name)[m, j, k]
            saved_ms = whole.device_ms[m, j] - table.device_ms[c, j] + whole.edge_ms[m, j] - table.edge_ms[c, j]
            if whole.payload_bits[m, j] > table.payload_bits[c, j]:
                saved_ms += loaded.uplink.rtt_ms
            assert excess_ms[c, j] == pytest.approx(saved_ms if order == "ready" else 0.0)


def test_without_early_stops_each_stream_is_a_case(tmp_path):
    loaded = scenario(tmp_path, 1, "shared", "ready", 5, streams=2).model_copy(update={"confidence": None})
    realization = loaded.realize(0)
    table, stream, case, excess_ms = cases_of(loaded, realization)
    assert table is loaded.options
    assert stream.tolist() == [0, 1]
    np.testing.assert_array_equal(case, realization.stream)
    assert not excess_ms.any()
