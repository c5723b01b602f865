"""Learning while deployed, in real processes: a worse policy is refused, a better one takes over without a gap."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_policies import cameras, random_policy

from hasten.core.errors import HastenError, InputError
from hasten.core.profile_names import load_profile
from hasten.core.task_log import LoggedTask, logged_task
from hasten.learn.champion_challenger import judge
from hasten.learn.deploy import continue_policy, settings_for
from hasten.learn.logs import read_tasks
from hasten.learn.recording import recording_of, write_scenario
from hasten.policies.policy import load_policy, save_policy
from hasten.runtime.device.command import DeviceStream, run_device
from hasten.runtime.device.learning import LearnPlan
from hasten.runtime.device.prepared import DevicePlan
from hasten.runtime.local.processes import Child

DEADLINE_MS, RATE_HZ = 40.0, 40.0
AS_PROFILED = 1.0001
"""A machine that plays one hardly slower waits until its profile's time has passed."""
WAIT_S = 60.0


@pytest.fixture(scope="module")
def slow(package, tmp_path_factory):
    """A folder with the tiny package, and a profile by which its edge has more to do than it can."""
    folder = tmp_path_factory.mktemp("learning")
    profile = json.loads(package.profile.to_json())
    for block in profile["blocks"]:
        block.update(device_ms=8.0, edge_ms=10.0, encode_ms=0.0)
    for head, accuracy in zip(profile["exits"], (0.6, 0.7), strict=True):
        head.update(device_ms=2.0, edge_ms=0.3, accuracy=accuracy, accuracy_by_partition=None)
    (folder / "slow.json").write_text(json.dumps(profile))
    return folder


def preferring(folder: Path, *pairs: tuple[int, int]):
    """A policy that takes the first of these options that is allowed, whatever it sees."""
    policy = random_policy(cameras(1, str(folder / "slow.json")), hidden=(4,))
    weight, bias = policy.advantage
    bias = np.zeros_like(bias)
    for rank, pair in enumerate(pairs):
        bias[policy.manifest.networks[0].options.index(pair)] = len(pairs) - rank
    return replace(policy, advantage=(np.zeros_like(weight), bias))


def logged(profile, tasks=300) -> list[LoggedTask]:
    """A log as an agent writes it, of a link of 200 Mbit/s."""
    rng = np.random.default_rng(1)
    facts = {
        "plan": 1, "from_ms": 0.0, "rtt_ms": 0.5, "workers": 1, "edge_slowdown": 1.0, "slowdown": 1.0, "rate_hz": RATE_HZ, "stream": 0,
        "streams": 1, "shared_uplink": True, "gain_terms": [0, 0, 0], "energy_weight_per_mj": 0,
    }  # fmt: skip
    found = []
    for i, arrival_ms in enumerate(np.cumsum(rng.exponential(1000 / RATE_HZ, tasks)).tolist()):
        seen = {"now_ms": arrival_ms + 0.1, "device_wait_ms": 0.0, "uplink_wait_ms": 0.0, "edge_wait_ms": [0.0]}
        record = {
            "task": i, "arrival_ms": arrival_ms, "option": 0, "exit": 0, "partition": 0, "deadline_ms": DEADLINE_MS,
            "latency_ms": 9.0, "answered_exit": 1, "fallback": None, "facts": facts,
            "seen": seen | {"rate_bits_per_ms": 2e5 * (1 + 0.1 * rng.random())},
        }  # fmt: skip
        found.append(logged_task(record, "log"))
    return found


def test_the_gate_lets_pass_only_what_beats_both(slow):
    recording = recording_of(logged(None), "log")
    scenario = write_scenario(recording, load_profile(str(slow / "slow.json")), slow / "gate")
    runs = [recording.resample(seed) for seed in range(30)]
    good, bad = preferring(slow, (2, 1), (1, 1)), preferring(slow, (1, 2))
    better = judge(good, bad, scenario, runs)
    assert better.accepted and better.candidate > max(better.greedy, better.current)
    assert not judge(bad, good, scenario, runs).accepted
    same = judge(good, good, scenario, runs)  # better than Greedy, yet no better than what decides already
    assert not same.accepted and same.better_than_greedy == 1.0 and same.better_than_current == 0.0
    assert "refused" in str(same) and json.dumps(same.record())


def test_a_recording_is_its_log_and_resamples_are_like_it(slow):
    tasks = logged(None)
    recording = recording_of(tasks, "log")
    assert len(recording.arrival_ms) == len(tasks)
    scenario = write_scenario(recording, load_profile(str(slow / "slow.json")), slow / "written")
    context = scenario.context(np.zeros(1, np.int64))
    assert context.rate_hz[0] == pytest.approx(len(tasks) * 1000 / recording.length_ms, rel=1e-6)
    for seed in range(5):
        run = recording.resample(seed)
        assert np.all(np.diff(run.arrival_ms) >= 0) and np.all(np.diff(run.rates[0].from_ms) >= 0)
        assert 0.7 * len(tasks) < run.tasks < 1.4 * len(tasks)
        assert run.rates[0].bits_per_ms.min() >= 2e5 and run.rates[0].bits_per_ms.max() <= 2.2e5
    changed = [
        task if i < 200 else replace(task, facts=replace(task.facts, workers=1, plan=3)) for i, task in enumerate(tasks)
    ]
    assert len(recording_of(changed, "log").arrival_ms) == len(tasks)  # another plan on the same facts
    moved = [
        task if i < 200 else replace(task, facts=replace(task.facts, edge_slowdown=2.0)) for i, task in enumerate(tasks)
    ]
    assert len(recording_of(moved, "log").arrival_ms) == len(tasks) - 200
    with pytest.raises(InputError, match=r"log: tasks: got 10, expected at least 20"):
        recording_of(tasks[:10], "log")


def test_training_goes_on_from_a_policy_and_its_log(slow, tmp_path):
    current = preferring(slow, (1, 2))
    profile = load_profile(str(slow / "slow.json"))
    settings = replace(settings_for(current, 40, 1), demonstrations=200, runs=2, tasks=40)
    candidate, unseen = continue_policy(current, logged(profile, 120), profile, tmp_path, settings, "log")
    assert candidate.manifest.networks[0].options == current.manifest.networks[0].options
    assert len(unseen.arrival_ms) == 40
    before, after = current.trunk[0][0], candidate.trunk[0][0]
    assert not np.array_equal(before, after) and np.abs(before - after).max() < 1.0  # gone on, not begun anew
    other = random_policy(cameras(1))
    with pytest.raises(InputError, match="policy: networks: got 'alexnet-pi"):
        continue_policy(other, logged(profile, 120), profile, tmp_path, settings, "log")


def test_a_device_refuses_a_worse_policy_and_takes_a_better_one(slow, package):
    first = preferring(slow, (1, 2), (1, 1))
    save_policy(slow / "policy.onnx", first)
    save_policy(slow / "candidate-1.onnx", preferring(slow, (1, 2)))
    save_policy(slow / "candidate-2.onnx", preferring(slow, (2, 1), (2, 2), (2, 0), (1, 1)))
    log = slow / "log.jsonl"
    edge = Child("edge", "edge")
    code = (
        "import hasten.runtime.device.learning as learning; learning.TRAINER = 'played_trainer'; "
        "learning.LearnPlan.__init__.__defaults__ = (80, 10); from hasten.cli import main; main()"
    )
    arguments = {
        "--scheduler": f"policy:{slow / 'policy.onnx'}", "--deadline-ms": str(DEADLINE_MS), "--log": str(log),
        "--arrivals": f"poisson:{RATE_HZ:g}", "--profile": str(slow / "slow.json"), "--json": str(slow / "result.json"),
        "--slowdown": str(AS_PROFILED),
    }  # fmt: skip
    try:
        order = {"packages": [str(package.path)], "profiles": [str(slow / "slow.json")], "port": 0}
        port = edge.ask("start", workers=1, slowdown=AS_PROFILED, **order)["port"]
        device = subprocess.Popen(
            [sys.executable, "-c", code, "device", str(package.path), "--edge", f"127.0.0.1:{port}", "--learn"]
            + [text for pair in arguments.items() for text in pair],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        told = _read_until(device, "round 2")
        seen = len(log.read_text().splitlines())
        while len(log.read_text().splitlines()) < seen + 10:
            time.sleep(0.05)
        device.send_signal(signal.SIGINT)
        told += device.communicate(timeout=WAIT_S)[1]
    finally:
        edge.end()
    assert device.returncode == 128 + signal.SIGINT, told
    assert "round 1: refused" in told and "round 2: takes over" in told
    verdicts = [
        json.loads(line) for line in (slow / "policy.onnx.learning" / "verdicts.jsonl").read_text().splitlines()
    ]
    assert [verdict["accepted"] for verdict in verdicts[:2]] == [False, True]
    assert load_policy(slow / "policy.onnx").advantage[1].tolist() != first.advantage[1].tolist()
    tasks = read_tasks(log, growing=True)
    assert {task.task for task in tasks[:-20]} >= set(range(len(tasks) - 20))  # none is missing
    assert {(task.exit, task.partition) for task in tasks if task.facts.plan == tasks[0].facts.plan} <= {
        (1, 2),
        (1, 1),
        (0, 0),
    }
    assert {task.exit for task in tasks[-5:]} & {2}
    assert json.loads((slow / "result.json").read_text())["results"][0]["tasks"] > 160


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process says until it says ``text``."""
    told = ""
    assert process.stderr is not None
    for line in process.stderr:
        told += line
        if text in line:
            return told
    raise AssertionError(told)


def test_what_cannot_learn_says_so(package, slow, monkeypatch):
    with pytest.raises(InputError, match=r"device: learn: got 'greedy', expected --scheduler policy:FILE"):
        run_device(package.path, DevicePlan(scheduler="greedy"), DeviceStream(), learn=LearnPlan())
    monkeypatch.setattr("hasten.runtime.device.learning.find_spec", lambda name: None if name == "numba" else name)
    with pytest.raises(HastenError, match=r"--learn needs numba beside the device: pip install"):
        run_device(
            package.path, DevicePlan(scheduler=f"policy:{slow / 'policy.onnx'}"), DeviceStream(), learn=LearnPlan()
        )
