"""Whole scenarios in virtual time: exactly what the simulator says where both model the same, and what a run gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stopping import LOSS, confidence
from virtual_cases import profile
from virtual_gap import Shown, showing
from virtual_scenarios import CONSTANT, VARYING, assert_same, both, points, scenario, simulated_only

from hasten.core.errors import InputError
from hasten.core.profile_names import load_profile
from hasten.core.scenario import scenario_from
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.runtime.virtual.stand_in import LEAST_FRAME_BYTES, stand_in_package
from hasten.runtime.wire.tasks import submit_overhead_bytes


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("workers", [1, 2])
def test_fixed_pairs_finish_when_the_simulator_says(tmp_path, topology, workers):
    loaded = scenario(tmp_path, topology=topology, workers=workers)
    simulated, virtual = both(loaded, "fixed:4,0", "fixed:4,1", "fixed:1,1")
    assert_same(simulated, virtual)
    waited = simulated[0].latency_ms
    assert waited.max() > 1.5 * waited.min()  # queues, or there is nothing to agree on


def test_decisions_of_a_lone_processor_agree_under_overload(tmp_path):
    """28 to 103 ms of work 14 times a second: tasks are dropped, cancelled and answered late, the same ones."""
    stream = {"name": "cam", "count": 2, "deadline_ms": 120, "arrivals": {"kind": "poisson", "rate_hz": 14}}
    overloaded = scenario(tmp_path, streams=[stream | {"profile": str(tmp_path / "played.json")}])
    simulated, virtual = both(overloaded, "device-only:deepest", "fixed:2,2")
    assert_same(simulated, virtual)
    assert all(0.05 < np.mean(np.isinf(result.finish_ms)) < 0.9 for result in simulated)


def test_tasks_that_arrive_together_keep_the_order_of_their_streams(tmp_path):
    """The faster stream comes first in the file, so that its alarms are set after the slower one's."""
    streams = [
        {
            "name": name, "profile": str(tmp_path / "played.json"), "deadline_ms": 400,
            "arrivals": {"kind": "explicit", "times_ms": [gap_ms * i for i in range(60)]},
        }
        for name, gap_ms in (("fast", 100), ("slow", 200), ("slower", 300))
    ]  # fmt: skip
    together = scenario(tmp_path, streams=streams, tasks_per_stream=60)
    drawn = together.realize(0)
    assert len(np.unique(drawn.arrival_ms)) < drawn.tasks
    assert_same(*both(together, "fixed:4,0", "fixed:4,1"))


def test_different_networks_and_slower_machines(tmp_path):
    (tmp_path / "other.json").write_text(profile(edge_ms=4.0, input_bytes=9000, task_ms=2.0, offload_ms=1.0).to_json())
    streams = [
        {
            "name": name, "profile": str(tmp_path / file), "deadline_ms": 700, "slowdown": slowdown,
            "arrivals": {"kind": "poisson", "rate_hz": 4},
        }
        for name, file, slowdown in (("a", "played.json", 1.0), ("b", "other.json", 1.5), ("c", "other.json", 2.0))
    ]  # fmt: skip
    mixed = scenario(tmp_path, streams=streams, edge={"workers": 2, "slowdown": 1.3})
    assert_same(*both(mixed, "fixed:4,0", "fixed:4,2", "fixed:2,2"))


def test_a_varying_link_carries_frames_as_the_law_says(tmp_path):
    assert_same(*both(scenario(tmp_path, rate=VARYING, deadline_ms=2000), "fixed:4,0", "fixed:4,1"))


@pytest.mark.filterwarnings("ignore:noise")
@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_noise_meets_the_same_tasks(tmp_path, topology, workers):
    """With deadlines that nothing can miss, for what devices and edge cancel they judge by what they believe."""
    noisy = scenario(tmp_path, topology=topology, workers=workers, deadline_ms=3000, noise="profile")
    simulated, virtual = both(noisy, "fixed:4,0", "fixed:4,1", "fixed:1,1")
    assert_same(simulated, virtual)
    quiet = simulated_only(noisy.model_copy(update={"noise": "none"}), "fixed:4,0", "fixed:4,1", "fixed:1,1")
    for with_noise, without in zip(simulated, quiet, strict=True):
        assert with_noise.latency_ms.max() > without.latency_ms.max()
        assert with_noise.latency_ms.min() < without.latency_ms.min()


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_the_same_tasks_stop_early_and_take_as_long(tmp_path, topology):
    """On the device, which then sends nothing, and at the edge; whoever decides plans with all the way."""
    stops = confidence([1, 2, 3, 4], [0.9, 0.9, None, None])
    sure = scenario(
        tmp_path, topology=topology, network=profile(confidence=stops), confidence={"max_accuracy_loss": LOSS}
    )
    simulated, virtual = both(sure, "fixed:4,0", "fixed:4,1", "fixed:3,2", "fixed:2,2")
    assert_same(simulated, virtual)
    for expected, found in zip(simulated, virtual, strict=True):
        np.testing.assert_array_equal(found.answered_exit, expected.answered_exit)
        np.testing.assert_allclose(found.accuracy, expected.accuracy)
        assert len(set(found.answered_exit.tolist())) >= 2
        assert found.uplink_bytes == expected.uplink_bytes


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
@pytest.mark.parametrize("rate", [CONSTANT, VARYING])
def test_greedy_is_within_half_a_point_where_it_has_to_estimate(tmp_path, topology, rate):
    estimating = scenario(tmp_path, topology=topology, rate=rate, deadline_ms=150)
    assert points(*both(estimating, "greedy", seeds=(0, 1, 2))) == pytest.approx(0.0, abs=0.5)


def test_handling_is_no_part_of_the_rate_so_that_a_lone_device_decides_as_simulated(tmp_path):
    """With handling of 2 ms beside transfers of some 10, and deadlines that many options only just meet."""
    network = load_profile("alexnet-pi").model_copy(update={"offload_ms": 2.0})
    stream = {"name": "cam", "profile": str(tmp_path / "played.json"), "deadline_ms": 80}
    stream["arrivals"] = {"kind": "poisson", "rate_hz": 15}
    tight = scenario(
        tmp_path, network=network, streams=[stream], rate={"kind": "constant", "mbps": 10},
        edge={"slowdown": 4.0}, tasks_per_stream=500,
    )  # fmt: skip
    assert points(*both(tight, "greedy")) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("topology", ["shared", "dedicated"])
def test_devices_that_see_all_are_on_time_as_simulated_where_deadlines_are_tight(tmp_path, topology):
    """What a run loses there is what devices cannot see, and nothing else of the runtime."""
    tight = scenario(tmp_path, topology=topology, rate=VARYING, deadline_ms=70)
    with showing(Shown(everything=True)):
        simulated, virtual = both(tight, "greedy:point", seeds=(0, 1, 2))
    assert points(simulated, virtual) == pytest.approx(0.0, abs=0.5)


def test_built_in_profiles_can_be_played(tmp_path):
    stream = {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 5000}
    stream["arrivals"] = {"kind": "poisson", "rate_hz": 0.5}
    assert_same(*both(scenario(tmp_path, streams=[stream], tasks_per_stream=30), "edge-only:deepest"))


def test_a_run_is_the_same_again_and_logged(tmp_path):
    small = scenario(tmp_path, rate=VARYING, tasks_per_stream=40)
    first, again = (run_virtual_scenario(small, ["greedy"], (0, 3), out_dir=tmp_path / n) for n in ("one", "two"))
    for one, two in zip(first.results, again.results, strict=True):
        np.testing.assert_array_equal(one.finish_ms, two.finish_ms)
        np.testing.assert_array_equal(one.decisions, two.decisions)
        assert one.correct is None  # nothing was classified
    assert (first.facts["kind"], first.facts["devices"], first.facts["workers"]) == ("virtual", 3, 1)
    lines = (tmp_path / "one" / "greedy-3-cam-2.jsonl").read_text().splitlines()
    assert [json.loads(line)["task"] for line in lines] == list(range(40))


def test_a_round_that_fails_takes_nothing_from_the_others(tmp_path):
    told = []
    small = scenario(tmp_path, tasks_per_stream=5)
    outcome = run_virtual_scenario(small, ["fixed:9,9", "greedy"], progress=lambda text, done: told.append(text))
    assert [result.scheduler for result in outcome.results] == ["greedy"]
    assert [(failure.scheduler, failure.seed) for failure in outcome.failures] == [("fixed:9,9", 0)]
    assert "9" in outcome.failures[0].reason and told[-1] == "done"


def test_what_cannot_be_played_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"edge\.slowdown"):
        run_virtual_scenario(scenario(tmp_path, edge={"slowdown": 0.5}), ["greedy"])
    with pytest.raises(InputError, match=r"edge\.workers"):
        run_virtual_scenario(scenario(tmp_path, workers=65), ["greedy"])
    with pytest.raises(InputError, match="greedily"):
        run_virtual_scenario(scenario(tmp_path), ["greedily"])


def test_frames_have_the_sizes_of_the_profile():
    package = stand_in_package(profile(input_bytes=20))
    sizes = [cut.payload_bytes + submit_overhead_bytes(cut) for cut in package.manifest.cuts]
    assert sizes == [LEAST_FRAME_BYTES, 1400, 1200, 1100, 500]


def two_edges(folder, **given):
    """Three streams, more than an edge can take, between a near one and one that is farther and slower."""
    ways = [("far", 20, 3, 1.5), ("near", 6, 4, 1.0)]
    edges = [
        {
            "name": name,
            "uplink": {"topology": "shared", "order": "ready", "rtt_ms": rtt_ms, "rate": CONSTANT | {"mbps": mbps}},
            "edge": {"slowdown": slowdown},
        }
        for name, rtt_ms, mbps, slowdown in ways
    ]
    data = scenario(folder, **given).model_dump(by_alias=True)
    data["streams"][0]["arrivals"]["rate_hz"] = 40
    del data["uplink"], data["edge"]
    return scenario_from(data | {"edges": edges})


def test_streams_that_choose_between_two_edges_get_more_done_than_with_either(tmp_path):
    loaded = two_edges(tmp_path, deadline_ms=100)
    both_edges = run_virtual_scenario(loaded, ["greedy"], out_dir=tmp_path / "logs")
    records = [json.loads(line) for path in (tmp_path / "logs").glob("*.jsonl") for line in path.open()]
    assert not both_edges.failures and len(records) == 450
    assert {record["answered_by"] for record in records} == {"far", "near", None}
    assert all(
        record["edge"] == ["far", "near"].index(record["answered_by"]) for record in records if record["answered_by"]
    )
    accuracy = both_edges.results[0].on_time_accuracy
    for way in loaded.every_edge:
        data = loaded.model_dump(by_alias=True)
        del data["edges"]
        alone = scenario_from(data | way.model_dump(include={"uplink", "edge"}))
        assert run_virtual_scenario(alone, ["greedy"]).results[0].on_time_accuracy < accuracy


def test_a_scheduler_that_knows_one_edge_is_refused_where_there_are_two(tmp_path):
    with pytest.raises(InputError, match="scheduler linucb knows no choice among several"):
        run_virtual_scenario(two_edges(tmp_path), ["linucb"])
