"""Whole runs with real processes and sockets on a tiny network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import yaml

from hasten.core.errors import InputError
from hasten.core.scenario import scenario_from
from hasten.runtime.local_run import Stage, run_scenario, stream_packages


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
    with Stage(scenario(package), None, tmp_path_factory.mktemp("logs")) as running:
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


def test_a_silent_link_loses_no_task(stage):
    silence = threading.Timer(0.7, lambda: stage.relay.tell("fault", kind="silent", on=True))
    silence.start()
    result = play(stage)
    assert result.on_time.mean() > 0.3
    assert sum(count for note, count in result.notes.items() if note.startswith("fallback")) > 5
    stage.relay.wait()
    stage.relay.ask("fault", kind="silent", on=False)


def test_a_killed_edge_loses_no_task(stage):
    threading.Timer(0.7, lambda: os.kill(stage.edge.pid, signal.SIGKILL)).start()
    result = play(stage)
    assert not stage.edge.alive
    assert result.on_time.mean() > 0.7
    assert result.notes["fallback_unreachable"] > 10
    again = play(stage)  # a new edge is started for the next round
    assert "fallback_unreachable" not in again.notes
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


def test_interrupting_ends_every_process(package, tmp_path):
    path = tmp_path / "scenario.yaml"
    plain = scenario(package, tasks=2000).model_dump(mode="json", by_alias=True, exclude_none=True)
    path.write_text(yaml.safe_dump(plain))
    order = [
        sys.executable,
        "-m",
        "hasten.cli",
        "run",
        str(path),
        "--schedulers",
        "device-only",
        "--out",
        str(tmp_path),
    ]
    run = subprocess.Popen(order, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    logs = [tmp_path / f"device-only-0-cam-{i}.jsonl" for i in (1, 2)]
    wait_until(lambda: all(log.exists() for log in logs))
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(20) != 0
    wait_until(lambda: not group_lives(run.pid))


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
