"""Plans and bounds where devices choose among several edges, held against trying everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edge_scenarios import optimum, tiny

import hasten as hs
from hasten.offline import several_edges
from hasten.offline.several_edges import solve_several_edges
from hasten.offline.time_limit import TimeLimit
from hasten.sim import Replayer


@pytest.mark.parametrize("order", ["grant", "ready"])
@pytest.mark.parametrize("seed", range(6))
def test_plan_and_bound_embrace_the_optimum(
    tmp_path: Path, seed: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several_edges, "ROUNDS", 60)
    monkeypatch.setattr(several_edges, "MOST_CHANGES", 1000)
    scenario = tiny(tmp_path, seed, order)
    realization = scenario.realize(seed)
    best = optimum(scenario, realization)
    plan = hs.solve_offline(scenario, seed)
    assert plan.gain * 4 <= best + 1e-9 <= plan.upper_bound * 4 + 2e-9
    assert plan.gain * 4 >= best - 1e-9  # a few hundred single changes find it on so few tasks
    replayed = Replayer(scenario, realization).result(plan.option)
    assert replayed.mean_gain == pytest.approx(plan.gain, abs=1e-12)
    np.testing.assert_array_equal(plan.edge, scenario.options.edge[realization.stream, np.maximum(plan.option, 0)])


def test_prices_tell_that_edges_have_no_time_for_all(tmp_path: Path) -> None:
    """Ten tasks at once that only an edge can do in time, each in 10 of its 20 ms: each of two edges can do two."""
    profile = {
        "schema": "hasten.profile/1", "name": "far", "source": "made up", "input_bytes": 1,
        "blocks": [{"name": "b", "device_ms": 900.0, "edge_ms": 10.0, "output_bytes": 1}],
        "exits": [{"name": "e", "after_block": 1, "accuracy": 1.0, "device_ms": 0.0, "edge_ms": 0.0}],
    }  # fmt: skip
    edge = {"uplink": {"topology": "dedicated", "rate": {"kind": "constant", "mbps": 1000}}}
    one = {"name": "s", "count": 10, "deadline_ms": 20.5, "arrivals": {"kind": "explicit", "times_ms": [0.0]}}
    (tmp_path / "far.json").write_text(json.dumps(profile))
    streams = [one | {"profile": str(tmp_path / "far.json")}]
    data = {"schema": "hasten.scenario/1", "streams": streams, "tasks_per_stream": 1}
    scenario = hs.scenario_from(data | {"edges": [{"name": "a"} | edge, {"name": "b"} | edge]})
    realization = scenario.realize(0)
    found = solve_several_edges(scenario, realization, TimeLimit(), np.full(10, -1))
    assert found.gain == pytest.approx(0.4)
    assert 0.4 <= found.upper_bound <= 0.43


def test_a_run_without_tasks_and_a_short_time_have_answers(tmp_path: Path) -> None:
    scenario = tiny(tmp_path, 1, "ready")
    empty = scenario.model_copy(update={"tasks_per_stream": 0})
    assert (hs.solve_offline(empty).gain, hs.solve_offline(empty).reason) == (0.0, "no tasks")
    hasty = hs.solve_offline(scenario, 1, time_limit_s=0.0)
    assert hasty.gain <= hasty.upper_bound
