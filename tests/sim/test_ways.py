"""Runs of devices that choose among several edges: times worked out by hand, and what must not depend on other edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_cases import COMBINATIONS, Scripted, random_options

import hasten as hs
from hasten.core.decision import EdgeChoosing
from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.sim import replay, simulate_realizations
from hasten.sim.stage_times import stage_times

PROFILE = {
    "schema": "hasten.profile/1",
    "name": "small",
    "source": "made up",
    "input_bytes": 5000,
    "blocks": [{"name": "b1", "device_ms": 6.0, "edge_ms": 2.0, "output_bytes": 1250},
               {"name": "b2", "device_ms": 20.0, "edge_ms": 4.0, "output_bytes": 500}],
    "exits": [{"name": "early", "after_block": 1, "accuracy": 0.5, "device_ms": 1.0, "edge_ms": 1.0},
              {"name": "last", "after_block": 2, "accuracy": 0.9, "device_ms": 1.0, "edge_ms": 1.0}],
}  # fmt: skip


ORDERS = [(*both, "fifo") for both in COMBINATIONS] + [
    (topology, "ready", "deadline") for topology in ("shared", "dedicated")
]


class Choosing(Scripted, EdgeChoosing):
    """Follows a script of options at any edge."""


def way(name: str, mbps: float, rtt_ms: float = 0.0, **changes: Any) -> dict[str, Any]:
    uplink = {"rate": {"kind": "constant", "mbps": mbps}, "rtt_ms": rtt_ms}
    uplink |= {key: changes[key] for key in ("topology", "order") if key in changes}
    edge = {key: changes[key] for key in ("workers", "slowdown", "queue") if key in changes}
    return {"name": name, "uplink": uplink, "edge": edge}


def scenario_of(
    folder: Path, times: list[list[float]], deadline_ms: float | list[float] = 100.0, **changes: Any
) -> hs.Scenario:
    (folder / "small.json").write_text(json.dumps(PROFILE))
    deadlines_ms = deadline_ms if isinstance(deadline_ms, list) else [deadline_ms] * len(times)
    streams = [
        {"name": f"s{m}", "profile": str(folder / "small.json"), "deadline_ms": deadlines_ms[m]}
        | {"arrivals": {"kind": "explicit", "times_ms": of}}
        for m, of in enumerate(times)
    ]
    data = {"schema": "hasten.scenario/1", "streams": streams, "tasks_per_stream": len(times[0])}
    return hs.scenario_from(data | changes)


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_three_tasks_at_two_edges_by_hand(tmp_path: Path, order: str) -> None:
    """All of the network at the edge, or all but the first block: 5000 bytes are 40 kbit, 1250 are 10.

    Task 0 to the near edge: 40 kbit at 4 Mbit/s take 10 ms, half a round trip 1, edge 7, 1 back: 19.
    Task 1 at 2 to the far edge: 40 kbit at 2 Mbit/s take 20 ms until 22, half a trip 3, a slow edge's 14, 3 back: 42.
    Task 2 at 4 to the near edge from cut 1: device 6 until 10, link free at 10, 2.5 ms until 12.5, 1, edge free at 18,
    its 5 ms until 23, 1 back: 24.
    Task 3 at 5 to the far edge from cut 1: device from 10 to 16, link free at 22, 5 ms until 27, 3 until 30; the edge is
    at task 1 until 39, its 10 ms until 49, 3 back: 52.
    """
    ways = [way("near", 4.0, 2.0, order=order), way("far", 2.0, 6.0, order=order, slowdown=2.0)]
    scenario = scenario_of(tmp_path, [[0.0, 2.0, 4.0, 5.0]], edges=ways)
    index = scenario.options.index
    plan = np.array([index(0, 2, 0), index(0, 2, 0, 1), index(0, 2, 1), index(0, 2, 1, 1)])
    result = replay(scenario, scenario.realize(0), plan)
    np.testing.assert_allclose(result.finish_ms, [19.0, 42.0, 24.0, 52.0])
    assert result.edge is not None and result.edge.tolist() == [0, 1, 0, 1]
    assert result.edge_share == {"near": 0.5, "far": 0.5} == result.summary()["edge_share"]
    scheduler = Choosing([plan.tolist()])
    simulated = simulate_realizations(scenario, scheduler, [scenario.realize(0)])[0]
    np.testing.assert_array_equal(simulated.finish_ms, result.finish_ms)


def test_what_is_seen_of_each_edge_by_hand(tmp_path: Path) -> None:
    """At 4 ms task 0 of the case above holds the near link until 10 and the near edge until 18, task 1 the far link
    until 22 and one of two far workers until 39.
    """
    ways = [way("near", 4.0, 2.0), way("far", 2.0, 6.0, slowdown=2.0, workers=2)]
    scenario = scenario_of(tmp_path, [[0.0, 2.0, 4.0]], edges=ways)
    seen = []

    class Looking(Choosing):
        def decide(self, view):
            far = view.further_edges[0]
            near = view.uplink_wait_ms[0], view.edge_wait_ms[0].tolist(), view.rate_bits_per_ms[0]
            there = far.uplink_wait_ms[0], far.edge_wait_ms[0].tolist(), far.rate_bits_per_ms[0], far.rtt_ms
            seen.append((near, there))
            return super().decide(view)

    index = scenario.options.index
    simulate_realizations(scenario, Looking([[index(0, 2, 0), index(0, 2, 0, 1), DROP]]), [scenario.realize(0)])
    assert seen[2] == ((6.0, [14.0], 4000.0), (18.0, [0.0, 35.0], 2000.0, 6.0))


def test_greedy_takes_the_edge_at_which_an_option_is_in_time(tmp_path: Path) -> None:
    """Four devices at once. Cut after the first block, the near edge answers after 6 + 2.5 + 1 + 5 + 1 = 15.5 ms, and
    each further task 5 ms later; the far one after 6 + 5 + 2.5 + 10 + 2.5 = 26. At home the early exit takes 7, the last 27.
    """
    ways = [way("near", 4.0, 2.0), way("far", 2.0, 5.0, slowdown=2.0)]
    result = hs.simulate(scenario_of(tmp_path, [[0.0]] * 4, edges=ways, deadline_ms=20.0), "greedy")
    assert result.decisions.tolist() == [[2, 1], [1, 1], [1, 1], [1, 1]]
    assert result.edge is not None and not result.edge.any()
    result = hs.simulate(scenario_of(tmp_path, [[0.0]] * 4, edges=ways, deadline_ms=28.0), "greedy")
    assert result.edge is not None and result.edge.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(result.finish_ms, [15.5, 20.5, 25.5, 26.0])


@pytest.mark.parametrize(("topology", "order", "queue"), ORDERS)
@pytest.mark.parametrize("chosen", [0, 1])
def test_a_run_at_one_of_two_edges_is_that_with_this_edge_alone(
    tmp_path: Path, topology: str, order: str, queue: str, chosen: int
) -> None:
    rate = {"kind": "gauss_markov", "mean_mbps": 4, "sigma_mbps": 2, "step_ms": 20}
    ways = [way("a", 3.0, 2.0, topology=topology, order=order, workers=2, queue=queue),
            way("b", 6.0, 6.0, topology=topology, order=order, slowdown=2.0, queue=queue)]  # fmt: skip
    ways[0]["uplink"]["rate"] = rate
    rng = np.random.default_rng(5)
    times = [np.sort(rng.uniform(0, 900, 40)).tolist() for _ in range(3)]
    deadlines_ms = [40.0, 100.0, 160.0]
    both = scenario_of(tmp_path, times, deadlines_ms, edges=ways)
    alone = scenario_of(tmp_path, times, deadlines_ms, uplink=ways[chosen]["uplink"], edge=ways[chosen]["edge"])
    realization, own = both.realize(1), alone.realize(1)
    own_rates = realization.rates[: len(own.rates)] if chosen == 0 else realization.rates[-len(own.rates) :]
    for mine, theirs in zip(own_rates, own.rates, strict=True):
        np.testing.assert_array_equal(mine.bits_per_ms, theirs.bits_per_ms)
    option = random_options(alone, own, rng)
    pairs = alone.options.pairs(own.stream, option)
    payload = alone.options.payload_bits[own.stream, np.maximum(option, 0)]
    there = np.array(
        [
            DROP if j == DROP else both.options.index(m, *pair, chosen if bits > 0 else 0)
            for m, j, pair, bits in zip(own.stream, option, pairs, payload, strict=True)
        ]
    )
    here = replay(alone, own, option)
    elsewhere = replay(both, realization, there)
    np.testing.assert_array_equal(here.finish_ms, elsewhere.finish_ms)
    np.testing.assert_array_equal(here.gain, elsewhere.gain)
    told, seen = [], []
    for scenario, script, run in ((alone, option, own), (both, there, realization)):
        scheduler = Choosing([script.tolist()])
        told.append(simulate_realizations(scenario, scheduler, [run])[0].finish_ms)
        seen.append([view["edge"] for view in scheduler.views[0]])
    np.testing.assert_array_equal(*told)
    if chosen == 0:
        np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_each_of_two_edges_serves_in_its_own_order(tmp_path: Path, topology: str) -> None:
    """Stages worked out once more, in plain Python, end when the simulator says; one edge serves by deadline."""
    rng, turned = np.random.default_rng(7), [0, 0]
    times = [np.sort(rng.uniform(0, 900, 60)).tolist() for _ in range(3)]
    for queues in (("fifo", "deadline"), ("deadline", "fifo"), ("deadline", "deadline")):
        ways = [way("a", 8.0, 2.0, topology=topology, order="ready", slowdown=2.0, queue=queues[0]),
                way("b", 9.0, 6.0, topology=topology, order="ready", slowdown=7.0, workers=2, queue=queues[1])]  # fmt: skip
        scenario = scenario_of(tmp_path, times, [40.0, 100.0, 160.0], edges=ways)
        realization = scenario.realize(0)
        option = random_options(scenario, realization, rng)
        scheduler = Choosing([option.tolist()])
        for result in (replay(scenario, realization, option),
                       simulate_realizations(scenario, scheduler, [realization])[0]):  # fmt: skip
            stages = stage_times(scenario, realization, result)
            served = np.isfinite(stages.edge_end_ms)
            assert result.edge is not None and all((result.edge[served] == edge).sum() > 10 for edge in range(2))
            np.testing.assert_array_equal(served, np.isfinite(result.finish_ms) & np.isfinite(stages.uplink_end_ms))
            back_ms = stages.edge_end_ms + np.where(result.edge == 0, 1.0, 3.0)
            np.testing.assert_allclose(back_ms[served], result.finish_ms[served], rtol=0, atol=1e-6)
            for edge, queue in enumerate(queues):
                here = served & (result.edge == edge)
                began = here[:, None] & here & (stages.uplink_end_ms[:, None] < stages.uplink_end_ms)
                overtaken = began & (stages.edge_start_ms[:, None] > stages.edge_start_ms)
                assert queue == "deadline" or not overtaken.any()
                turned[edge] += int(overtaken.sum())
    assert min(turned) > 5


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_streams_at_different_edges_do_not_meet(tmp_path: Path, order: str) -> None:
    ways = [way("a", 3.0, 2.0, order=order), way("b", 2.0, 6.0, order=order, slowdown=2.0)]
    rng = np.random.default_rng(6)
    times = [np.sort(rng.uniform(0, 900, 40)).tolist() for _ in range(2)]
    both = scenario_of(tmp_path, times, edges=ways)
    realization = both.realize(0)
    cut = rng.integers(0, 2, realization.tasks)
    plan = [both.options.index(m, 2, p, m) for m, p in zip(realization.stream, cut, strict=True)]
    together = replay(both, realization, np.array(plan))
    for m in range(2):
        alone = scenario_of(tmp_path, times[m : m + 1], uplink=ways[m]["uplink"], edge=ways[m]["edge"])
        mine = realization.stream == m
        own = np.array([alone.options.index(0, 2, p) for p in cut[mine]])
        np.testing.assert_array_equal(replay(alone, alone.realize(0), own).finish_ms, together.finish_ms[mine])


@pytest.mark.parametrize("name", ["greedy", "greedy:point", "min-latency", "edgent", "random:feasible", "edge-only"])
def test_a_batch_of_runs_with_several_edges_gives_the_bits_of_single_runs(name: str) -> None:
    scenario = hs.load_scenario(Path(__file__).parent.parent.parent / "examples" / "two-edges.yaml")
    scenario = scenario.model_copy(update={"tasks_per_stream": 60})
    together = hs.simulate_batch(scenario, name, [0, 1, 2])
    alone = hs.simulate(scenario, name, 1)
    np.testing.assert_array_equal(together[1].finish_ms, alone.finish_ms)
    np.testing.assert_array_equal(together[1].edge, alone.edge)


def test_what_cannot_choose_among_edges_says_so(tmp_path: Path) -> None:
    scenario = scenario_of(tmp_path, [[0.0]], edges=[way("a", 3.0), way("b", 3.0)])
    for name in ("mdp", "linucb", "load-threshold", "dads"):
        with pytest.raises(InputError, match=rf"got \['a', 'b'\], expected one edge: scheduler {name} knows no choice"):
            hs.simulate(scenario, name)


def test_a_fixed_pair_is_at_the_first_edge_or_at_that_which_is_named(tmp_path: Path) -> None:
    scenario = scenario_of(tmp_path, [[0.0, 50.0]], edges=[way("a", 3.0), way("b", 3.0)])
    edges = {name: hs.simulate(scenario, name).edge for name in ("fixed:2,1", "fixed:2,1,0", "fixed:2,1,1")}
    assert [edge is not None and edge.tolist() for edge in edges.values()] == [[0, 0], [0, 0], [1, 1]]
    for wrong in ("2", "2,1,1,1", "2,1,x"):
        with pytest.raises(InputError, match=r"EXIT,PARTITION\[,EDGE\]"):
            hs.make_scheduler(f"fixed:{wrong}")
