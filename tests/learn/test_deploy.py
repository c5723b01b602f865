"""A policy goes on learning from a device's log, and takes over only where it was better on what the device met."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from random_policies import cameras, random_policy
from shared import built_once
from slow_tiny import preferring, write_slow_profile
from tiny_package import build_tiny

from hasten.core.errors import InputError
from hasten.core.noise import TimeSpread
from hasten.core.profile_names import load_profile
from hasten.core.task_log import LoggedTask, logged_task
from hasten.learn.champion_challenger import judge
from hasten.learn.deploy import continue_policy, settings_for
from hasten.learn.recording import recording_of, write_scenario

pytestmark = pytest.mark.filterwarnings("ignore:noise", "ignore:policy")  # the tiny package's spread is not measured

DEADLINE_MS, RATE_HZ = 40.0, 40.0


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A folder with a profile by which the tiny package's edge has more to do than it can."""
    package = built_once(tmp_path_factory, "tiny", build_tiny)
    return write_slow_profile(package, tmp_path_factory.mktemp("learning"))


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


def test_only_what_beats_both_passes_the_champion_challenger_test(slow):
    recording = recording_of(logged(None), "log")
    scenario = write_scenario(recording, load_profile(str(slow / "slow.json")), slow / "judged")
    runs = [recording.resample(seed, None) for seed in range(30)]
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
    assert (scenario.view.kind, scenario.noise) == ("device", "profile")  # as the device will see, and meet, it
    for seed in range(5):
        run = recording.resample(seed, TimeSpread(device_ratio=(2.0,) * 9))
        assert np.all(np.diff(run.arrival_ms) >= 0) and np.all(np.diff(run.rates[0].from_ms) >= 0)
        assert 0.7 * len(tasks) < run.tasks < 1.4 * len(tasks)
        assert (
            run.noise is not None and (run.noise.device_factor == 2.0).all() and len(run.noise.edge_factor) == run.tasks
        )
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
    assert candidate.manifest.view == "device"
    before, after = current.trunk[0][0], candidate.trunk[0][0]
    assert not np.array_equal(before, after) and np.abs(before - after).max() < 1.0  # gone on, not begun anew
    other = random_policy(cameras(1))
    with pytest.raises(InputError, match="policy: networks: got 'alexnet-pi"):
        continue_policy(other, logged(profile, 120), profile, tmp_path, settings, "log")
