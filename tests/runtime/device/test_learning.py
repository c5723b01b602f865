"""Learning while deployed, in real processes: a worse policy is refused, a better one takes over without a gap."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from slow_tiny import preferring, write_slow_profile

from hasten.core.errors import HastenError, InputError
from hasten.learn.logs import read_tasks
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
    """A folder with a profile by which the tiny package's edge has more to do than it can."""
    return write_slow_profile(package, tmp_path_factory.mktemp("learning"))


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
        port = edge.ask("start", workers=1, slowdown=AS_PROFILED, queue="fifo", batch=1, **order)["port"]
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
