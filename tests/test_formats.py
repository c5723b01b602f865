"""Files that hasten 0.1.0 wrote are read, and mean what they meant. `support/files_of_0_1` holds one of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hasten as hs
from hasten.learn.logs import read_experience, read_tasks

FILES = Path(__file__).parent / "support" / "files_of_0_1"


@pytest.mark.parametrize(
    ("scheduler", "labels", "confidence"),
    [("fixed:1,1", [7, 7, 7, 7, 7], 0.81847), ("fixed:2,2", [7, 7, 7, 6, 9], 0.96359)],
)
def test_a_package_answers_as_it_did(scheduler: str, labels: list[int], confidence: float) -> None:
    package = hs.open_package(FILES / "tiny.hasten")
    inputs, _ = package.samples()
    frames = inputs["input"] if isinstance(inputs, dict) else inputs
    with hs.Device(package, scheduler=scheduler, deadline_ms=5000) as device:
        answers = [device.infer(frames[k]) for k in range(5)]
    assert [answer.label for answer in answers] == labels
    assert answers[0].confidence == pytest.approx(confidence, abs=2e-5)


@pytest.mark.parametrize(
    ("scheduler", "seed", "expected"),
    [("greedy", 2, 0.748275), ("policy:{policy}", 2, 0.758275), ("policy:{policy}", 6, 0.718)],
)
def test_a_scenario_and_a_policy_give_the_same_result(scheduler: str, seed: int, expected: float) -> None:
    scenario = hs.load_scenario(FILES / "scenario.yaml")
    result = hs.simulate(scenario, scheduler.format(policy=FILES / "policy.onnx"), seed=seed)
    assert result.on_time_accuracy == pytest.approx(expected, abs=1e-9)


def test_a_profile_has_the_times_it_had() -> None:
    profile = hs.load_profile(FILES / "profile.json")
    first, second = profile.blocks
    assert (first.output_bytes, second.output_bytes) == (269, 159)
    assert first.device_ms == 0.16766529762838617
    assert [exit_.after_block for exit_ in profile.exits] == [1, 2]


def test_a_task_log_is_experience() -> None:
    tasks = read_tasks(FILES / "tasks.jsonl")
    assert [task.exit for task in tasks] == [2] * 10
    (logged,) = read_experience([FILES / "tasks.jsonl"], hs.open_package(FILES / "tiny.hasten").profile)
    assert len(logged.seen.obs) == 10


def test_results_say_today_what_they_said() -> None:
    """A result file is for others to read: the fields of 0.1 are still written, with the same values."""
    scenario = hs.load_scenario(FILES / "scenario.yaml")
    then = json.loads((FILES / "result.json").read_text())["results"][0]
    now = hs.simulate(scenario, "greedy", seed=0).summary()
    for field in ("on_time_accuracy", "on_time_rate", "accuracy_when_on_time", "dropped", "late", "exit_share"):
        assert now[field] == pytest.approx(then[field]), field
    plan = hs.solve_offline(scenario, seed=0)
    solved = json.loads((FILES / "offline.json").read_text())["results"][0]
    assert (plan.gain, plan.optimal) == (pytest.approx(solved["gain"]), solved["optimal"])
