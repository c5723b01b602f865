"""Simulated devices that choose among edges do what the runtime's own agents do in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from virtual_cases import profile
from virtual_scenarios import both, points

from hasten.core.decision import EdgeChoosing
from hasten.core.scenario import load_scenario, scenario_from
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-edges.yaml"
ESTIMATED_MS = 0.1
"""Agreement of waits: how long before the first task a device measured its links is its own affair."""


def two_edges(
    folder, topology="shared", queue="fifo", mbps=(3, 4), slowdown=(1.5, 1.0), varies=False, workers=1, **given
):
    """Three devices, a far edge and a near one."""
    (folder / "played.json").write_text(profile(task_ms=0.0, offload_ms=0.0).to_json())
    rates = [{"kind": "constant", "mbps": each} for each in mbps]
    if varies:
        more = {"memory": 0.95, "step_ms": 250}
        rates = [{"kind": "gauss_markov", "mean_mbps": each, "sigma_mbps": 0.3 * each} | more for each in mbps]
    stream = {
        "name": "cam", "count": given.get("count", 3), "profile": str(folder / "played.json"),
        "deadline_ms": given.get("deadline_ms", 100),
        "arrivals": {"kind": "poisson", "rate_hz": given.get("rate_hz", 25)},
    }  # fmt: skip
    edges = [
        {
            "name": name,
            "uplink": {"topology": topology, "order": "ready", "rtt_ms": rtt_ms, "rate": rate},
            "edge": {"slowdown": slower, "queue": queue, "workers": workers},
        }
        for name, rtt_ms, rate, slower in zip(("far", "near"), (20, 6), rates, slowdown, strict=True)
    ]
    return scenario_from(
        {"schema": "hasten.scenario/1", "streams": [stream], "edges": edges, "view": {"kind": "device"}}
        | {"tasks_per_stream": given.get("tasks", 60)}
    )


CASES = [
    {"deadline_ms": 120},
    {"queue": "deadline", "deadline_ms": 90, "rate_hz": 15, "mbps": (4, 2), "slowdown": (1, 2)},
    {"queue": "deadline", "rate_hz": 30, "topology": "dedicated", "varies": True, "workers": 2, "slowdown": (3, 2)},
    {"deadline_ms": 90, "rate_hz": 12, "topology": "dedicated", "varies": True, "mbps": (2, 1.5), "tasks": 80},
]


@pytest.mark.parametrize("given", CASES)
def test_every_task_fares_as_in_virtual_time(tmp_path, given):
    """Decisions, edges, exits that answered, and when; some are moved to the other edge when theirs has failed them."""
    simulated, virtual = both(two_edges(tmp_path, **given), "greedy:point", "edgent", "fixed:4,0,1", "fixed:3,1,0")
    for expected, found in zip(virtual, simulated, strict=True):
        np.testing.assert_array_equal(found.decisions, expected.decisions, err_msg=expected.scheduler)
        np.testing.assert_array_equal(found.edge, expected.edge, err_msg=expected.scheduler)
        np.testing.assert_array_equal(found.answered_exit, expected.answered_exit, err_msg=expected.scheduler)
        np.testing.assert_allclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-3, err_msg=expected.scheduler)
    away = [np.count_nonzero(result.edge == 1 - edge) for result, edge in zip(simulated[2:], (1, 0), strict=True)]
    if given.get("queue") == "deadline":
        assert sum(away) > 0


class Watched(EdgeChoosing):
    """Decides as greedy, one task at a time, and keeps what it sees of both edges."""

    name = "watched"

    def __init__(self):
        self.greedy, self.seen = make_scheduler("greedy:point"), []

    def reset(self, context):
        self.greedy.reset(context)

    def decide(self, view):
        far = view.further_edges[0]
        first = [view.uplink_wait_ms[0], view.edge_wait_ms[0, 0], view.rate_bits_per_ms[0]]
        self.seen.append([view.now_ms[0], *first, far.uplink_wait_ms[0], far.edge_wait_ms[0, 0], far.rtt_ms[0]])
        self.seen[-1].append(far.rate_bits_per_ms[0])
        return self.greedy.decide(view)


def test_devices_see_of_each_edge_what_they_see_in_virtual_time(tmp_path):
    case, watched = two_edges(tmp_path, rate_hz=30, tasks=80, count=1, deadline_ms=150), Watched()
    simulate_realizations(case, watched, [case.realize(0)])
    run_virtual_scenario(case, ["greedy:point"], [0], tmp_path)
    (log,) = tmp_path.glob("*.jsonl")
    expected = []
    for record in map(json.loads, log.read_text().splitlines()):
        seen, near = record["seen"], record["seen"]["further_edges"][0]
        first = [seen["uplink_wait_ms"], seen["edge_wait_ms"][0], seen["rate_bits_per_ms"]]
        further = [near["uplink_wait_ms"], near["edge_wait_ms"][0], near["rtt_ms"], near["rate_bits_per_ms"]]
        expected.append([seen["now_ms"], *first, *further])
    expected, found = np.array(sorted(expected)), np.array(watched.seen)
    assert (expected[:, 4] > 0).sum() > 10  # waits for the near uplink
    np.testing.assert_allclose(found, expected, rtol=0.003, atol=ESTIMATED_MS)


def test_where_links_fade_accuracy_is_that_of_virtual_time():
    """Connections that break, and are made anew, are the runtime's alone."""
    data = load_scenario(EXAMPLE).model_dump(by_alias=True) | {"view": {"kind": "device"}, "tasks_per_stream": 300}
    case = scenario_from(data, EXAMPLE)
    simulated, virtual = both(case, "greedy:point", seeds=range(4))
    assert abs(points(simulated, virtual)) < 0.5
    shares = [np.mean([result.edge_share["east"] for result in side]) for side in (simulated, virtual)]
    assert shares[0] == pytest.approx(shares[1], abs=0.08) and min(shares) > 0.05


@pytest.mark.parametrize("name", ["greedy", "random:feasible"])
def test_a_batch_gives_the_bits_of_single_runs(tmp_path, name):
    case = two_edges(tmp_path, rate_hz=40, tasks=12, varies=True, queue="deadline")
    realizations = [case.realize(seed) for seed in range(3)]
    together = simulate_realizations(case, make_scheduler(name), realizations)
    for realization, expected in zip(realizations, together, strict=True):
        alone = simulate_realizations(case, make_scheduler(name), [realization])[0]
        np.testing.assert_array_equal(alone.finish_ms, expected.finish_ms)
        np.testing.assert_array_equal(alone.edge, expected.edge)
