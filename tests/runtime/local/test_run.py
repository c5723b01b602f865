"""Whole runs with real processes and sockets on a tiny network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from hasten.core.errors import InputError
from hasten.core.scenario import scenario_from
from hasten.runtime.local import run as local_run
from hasten.runtime.local.changes import Changes, RunChange
from hasten.runtime.local.cluster import LocalCluster, stream_packages
from hasten.runtime.local.processes import ChildError
from hasten.runtime.local.rounds import read_round, round_name
from hasten.runtime.local.run import run_scenario


def scenario(package, tasks=40, **streams):
    stream = {
        "name": "cam",
        "count": 2,
        "profile": str(package.path),
        "deadline_ms": 200,
        "arrivals": {"kind": "poisson", "rate_hz": 30},
    }
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | streams],
            "uplink": {"order": "ready", "rtt_ms": 2, "rate": {"kind": "constant", "mbps": 20}},
            "edge": {"slowdown": 2},
            "tasks_per_stream": tasks,
        }
    )


@pytest.fixture(scope="module")
def stage(package, tmp_path_factory):
    """The processes, kept for several rounds."""
    with LocalCluster(scenario(package), None, tmp_path_factory.mktemp("logs")) as running:
        yield running


def play(stage):
    result = stage.play("edge-only:deepest", 0, lambda share: None)
    assert result.tasks == 80
    assert result.on_time.sum() + result.late.sum() + result.dropped.sum() == 80
    return result


def test_the_same_tasks_for_every_scheduler(package, tmp_path):
    told = []
    run = scenario(package, tasks=20, count=1)
    outcome = run_scenario(
        run, ["edge-only:deepest", "device-only"], [3], None, tmp_path, lambda *step: told.append(step)
    )
    edge_only, device_only = outcome.results
    for result in outcome.results:
        np.testing.assert_array_equal(result.arrival_ms, run.realize(3).arrival_ms)
        np.testing.assert_array_equal(result.stream, run.realize(3).stream)
        assert result.correct is not None
        assert result.on_time.mean() > 0.7
    assert edge_only.uplink_bytes > 14 * 500
    assert device_only.uplink_bytes == 0
    assert (device_only.decisions[~device_only.dropped, 1] > 0).all()
    assert outcome.facts["link"].startswith("relay")
    assert told[-1] == ("done", 1.0)
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_round_that_is_changed_by_hand(package, tmp_path):
    """Twice the pace halves the arrivals' times from the change on; another scheduler decides; the edge goes and comes."""
    changes = Changes()
    said = []

    def change():
        while not changes._playing:
            time.sleep(0.01)
        wanted = [RunChange("pace", 2.0), RunChange("rate", 0.5), RunChange("scheduler", scheduler="device-only")]
        said.extend(changes.ask(one) for one in [*wanted, RunChange("kill_edge"), RunChange("restart_edge")])

    asking = threading.Thread(target=change)
    asking.start()
    run = scenario(package, tasks=150, count=1)
    outcome = run_scenario(run, ["edge-only:deepest"], [0], None, tmp_path, changes=changes)
    asking.join(10.0)
    (result,) = outcome.results
    assert result.tasks == 150
    assert result.notes["changed_by_hand"] == 5
    planned_ms = run.realize(0).arrival_ms
    assert result.arrival_ms[-1] < 0.8 * planned_ms[-1]
    assert (result.decisions[-20:, 1] > 0).all()
    events = [json.loads(line) for line in next(tmp_path.glob("*.events.log")).read_text().splitlines()]
    assert [event["text"] for event in events if event["kind"] != "edge_ended"] == said
    assert "the edge was killed" in said
    assert "the edge was started again" in said


def test_maps_run_and_are_measured(maps, tmp_path):
    """Exits without classes: the gain is their metric, expected and measured, over real sockets."""
    outcome = run_scenario(scenario(maps, tasks=15, count=1), ["edge-only:deepest"], [3], None, tmp_path)
    (result,) = outcome.complete().results
    assert result.correct is not None and result.on_time.mean() > 0.7
    on_time = result.on_time
    assert result.correct[on_time].min() > 0.8  # the last exit is right but for the codec of the input, which is exact
    assert result.measured_on_time_accuracy == pytest.approx(result.on_time_accuracy, abs=0.05)


def test_a_silent_link_loses_no_task(stage):
    silence = threading.Timer(0.7, lambda: stage.relays[0].tell("fault", kind="silent", on=True))
    silence.start()
    result = play(stage)
    assert result.on_time.mean() > 0.3
    assert sum(count for note, count in result.notes.items() if note.startswith("fallback")) > 5
    stage.relays[0].wait()
    stage.relays[0].ask("fault", kind="silent", on=False)


def test_a_killed_edge_loses_no_task(stage):
    threading.Timer(0.7, lambda: os.kill(stage.edges[0].pid, signal.SIGKILL)).start()
    result = play(stage)
    assert not stage.edges[0].alive
    assert result.on_time.mean() > 0.7
    assert result.notes["fallback_unreachable"] > 10
    again = play(stage)  # a new edge is started for the next round
    assert result.notes["edge_ended"] == 1
    assert not {"fallback_unreachable", "edge_ended"} & set(again.notes)
    assert again.uplink_bytes > result.uplink_bytes


def test_what_cannot_be_run_is_said_before_anything_starts(package):
    with pytest.raises(InputError, match=r"got 'alexnet-pi', expected a \.hasten package"):
        run_scenario(scenario(package, profile="alexnet-pi"), ["greedy"])
    with pytest.raises(InputError, match="expected at least 1 for a real run"):
        run_scenario(scenario(package, slowdown=0.5), ["greedy"])
    with pytest.raises(InputError, match="nonsense"):
        run_scenario(scenario(package), ["nonsense"])
    with pytest.raises(InputError, match="blocks, exits"):
        stream_packages(scenario(package, profile="alexnet-pi"), package.path)


def test_a_device_that_dies_is_named_and_the_next_round_has_new_processes(stage):
    before = [device.pid for device in stage.devices]
    os.kill(before[0], signal.SIGKILL)
    with pytest.raises(ChildError, match=r"cam-1: the process ended \(killed by SIGKILL\)"):
        play(stage)
    stage.stop()
    assert play(stage).on_time.mean() > 0.7
    assert not set(before) & {device.pid for device in stage.devices}


class Scripted:
    """Stands for the processes: some rounds fail."""

    def __init__(self, *_):
        self.stopped = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def stop(self):
        self.stopped += 1

    def play(self, name, seed, tell):
        if name == "random":
            raise ChildError("cam-1: the process ended")
        if seed == 2:
            raise KeyboardInterrupt
        tell(1.0)
        return (name, seed)


def test_finished_results_outlive_those_that_fail(package, monkeypatch):
    monkeypatch.setattr(local_run, "LocalCluster", Scripted)
    outcome = run_scenario(scenario(package), ["greedy", "random"], range(2))
    assert outcome.results == [("greedy", 0), ("greedy", 1)]
    assert outcome.failures == [("random", seed, "cam-1: the process ended") for seed in range(2)]
    with pytest.raises(ChildError, match="random, seed 0: cam-1"):
        outcome.complete()


def test_finished_results_outlive_an_interrupt(package, monkeypatch):
    monkeypatch.setattr(local_run, "LocalCluster", Scripted)
    outcome = run_scenario(scenario(package), ["greedy"], range(4))
    assert outcome.results == [("greedy", 0), ("greedy", 1)]
    assert outcome.failures == [("greedy", 2, "interrupted"), ("greedy", 3, "interrupted")]
    with pytest.raises(KeyboardInterrupt):
        outcome.complete()


def test_interrupting_ends_every_process_and_keeps_what_has_finished(package, tmp_path):
    path, results = tmp_path / "scenario.yaml", tmp_path / "results.json"
    plain = scenario(package, tasks=3).model_dump(mode="json", by_alias=True, exclude_none=True)
    path.write_text(yaml.safe_dump(plain))
    order = ["run", str(path), "--schedulers", "device-only", "--seeds", "200", "--out", str(tmp_path)]
    run = subprocess.Popen(
        [sys.executable, "-m", "hasten.cli", *order, "--json", str(results)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True,
    )  # fmt: skip
    wait_until(lambda: (tmp_path / "device-only-1-cam-1.jsonl").exists())
    os.killpg(run.pid, signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    wait_until(lambda: not group_lives(run.pid))
    assert run.returncode != 0
    assert "interrupted" in out
    document = json.loads(results.read_text())
    assert [entry["seed"] for entry in document["results"]][:1] == [0]
    assert len(document["results"]) + len(document["failures"]) == 200


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


EXAMPLE = Path(__file__).parents[3] / "examples" / "two-edges.yaml"


def two_edges(package, tasks):
    """The example's robots half-way between its two edges, with a tiny network and at the pace of a test."""
    data = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    for way, mbps in zip(data["edges"], (20, 12), strict=True):
        way["uplink"]["rate"] = {"kind": "constant", "mbps": mbps}
    data["streams"][0] |= {
        "profile": str(package.path),
        "deadline_ms": 200,
        "arrivals": {"kind": "poisson", "rate_hz": 30},
    }
    return scenario_from(data | {"tasks_per_stream": tasks}, EXAMPLE)


def test_devices_choose_among_the_edges_of_a_scenario(package, tmp_path):
    run = two_edges(package, tasks=40)
    outcome = run_scenario(run, ["random", "fixed:2,1,1"], [3], None, tmp_path)
    either, east = outcome.complete().results
    assert outcome.facts["edges"] == 2
    for result in (either, east):
        np.testing.assert_array_equal(result.arrival_ms, run.realize(3).arrival_ms)
        assert result.on_time.mean() > 0.7
    assert min(either.edge_share.values()) > 0.1 and 0.5 < sum(either.edge_share.values()) < 1.0
    assert east.edge_share["west"] == 0.0 and east.edge_share["east"] > 0.9
    for result in (either, east):
        records = [
            json.loads(line)
            for path in tmp_path.glob(f"{round_name(result.scheduler, 3)}-*.jsonl")
            for line in path.open()
        ]
        by = {record["answered_by"] for record in records}
        assert by - {None} == {name for name, share in result.edge_share.items() if share}
    told = read_round(tmp_path / f"{round_name('random', 3)}.round.json")
    assert [edge.name for edge in told.edges] == ["west", "east"] and told.links == told.edges[0].links


def test_an_edge_that_dies_leaves_the_others(package, tmp_path):
    changes = Changes()

    def kill():
        while not changes._playing:
            time.sleep(0.01)
        time.sleep(1.0)
        assert changes.ask(RunChange("kill_edge")) == "edge west was killed"

    killing = threading.Thread(target=kill)
    killing.start()
    outcome = run_scenario(two_edges(package, tasks=60), ["edge-only:deepest"], [0], None, tmp_path, changes=changes)
    killing.join(10.0)
    (result,) = outcome.complete().results
    assert result.tasks == 120 and result.notes["edge_ended"] == 1
    assert result.on_time.mean() > 0.9
    assert min(result.edge_share.values()) > 0.1
    texts = [json.loads(line)["text"] for line in next(tmp_path.glob("*.events.log")).read_text().splitlines()]
    assert texts == ["edge west was killed", "edge west has ended; devices use the others"]
