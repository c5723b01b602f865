"""Settings that do not exist or cannot be, and numbers that are none, are refused by name."""

import dataclasses

import numpy as np
import pytest
from learn_scenarios import SMALL, cameras

import hasten as hs
from hasten.core.errors import InputError
from hasten.learn.domain import FIXED
from hasten.learn.logs import read_tasks
from hasten.learn.replay import PrioritizedReplay, UniformReplay
from hasten.learn.settings import Settings
from hasten.learn.transitions import Transitions

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"learning_rte": 1e-3},
            "train: settings: got 'learning_rte', expected a known setting, perhaps learning_rate",
        ),
        ({"tensorbord": "runs"}, "perhaps tensorboard"),
        ({"zzz": 1}, "got 'zzz', expected one of alpha, average_rate"),
        ({"updates": 10.5}, "updates: got 10.5, expected a whole number"),
        ({"updates": True}, "updates: got True, expected a whole number"),
        ({"learning_rate": float("nan")}, "learning_rate: got nan, expected a finite number"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0, expected more than 0"),
        ({"clip_norm": float("inf")}, "clip_norm: got inf, expected a finite number"),
        ({"explore": 1.5}, "explore: got 1.5, expected a number from 0 to 1"),
        ({"alpha": -1.0}, "alpha: got -1.0, expected at least 0"),
        ({"hidden": (0, 4)}, "hidden: got .*whole numbers above 0"),
        ({"hidden": "wide"}, "hidden: got 'wide'"),
        ({"predicted_gain": 1}, "predicted_gain: got 1, expected True or False"),
        ({"values": 3}, "values: got 3"),
        ({"target_every": 0}, "target_every: got 0, expected at least 1"),
        ({"domain": {"streams": (1, 2)}}, "domain: got .*hasten.learn.domain.Domain"),
        ({"start": "policy.onnx"}, "start: got 'policy.onnx', expected a policy"),
    ],
)
def test_settings_are_refused_by_name(given, message):
    with pytest.raises(InputError, match=message):
        hs.train(cameras(1), **given)


def test_a_scenario_is_one(tmp_path):
    with pytest.raises(InputError, match=r"train: scenario: got 'cameras.yaml', expected a scenario"):
        hs.train("cameras.yaml")


def test_numpy_numbers_are_numbers():
    assert Settings(seed=np.int64(3), learning_rate=np.float32(0.5)).seed == 3


def transitions(rows=4):
    return Transitions(
        np.zeros((rows, 5), np.float32),
        np.ones((rows, 3), np.int8),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.float32),
        np.zeros((rows, 5), np.float32),
        np.ones((rows, 3), np.int8),
        np.ones(rows, np.float32),
    )


@pytest.mark.parametrize("name", ["obs", "reward", "next_obs", "discount"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_experience_that_is_no_number_is_refused_by_name(name, value):
    bad = transitions()
    getattr(bad, name)[2] = value
    with pytest.raises(InputError, match=f"experience: {name}: got {value}, expected finite numbers"):
        UniformReplay(bad, 10)
    with pytest.raises(InputError, match=f"experience: {name}"):
        PrioritizedReplay(transitions(), 10).add(bad)


def test_a_policy_with_nan_weights_is_no_start():
    start = hs.train(cameras(1), domain=FIXED, **(SMALL | {"updates": 1, "round_updates": 1})).policy
    bias = start.value[1].copy()
    bias[0] = np.nan
    with pytest.raises(InputError, match=r"policy: value.bias: got 'NaN or infinity'"):
        hs.train(cameras(1), start=dataclasses.replace(start, value=(start.value[0], bias)), **SMALL)


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_logs_with_numbers_that_are_none_are_refused_by_line(tmp_path, number):
    path = tmp_path / "log.jsonl"
    seen = (
        f'{{"now_ms": {number}, "device_wait_ms": 0, "uplink_wait_ms": 0, "edge_wait_ms": [0], "rate_bits_per_ms": 1}}'
    )
    facts = (
        '{"plan": 0, "from_ms": 0, "rtt_ms": 0, "workers": 1, "edge_slowdown": 1, "slowdown": 1, "rate_hz": 1, "stream": 0,'
        ' "streams": 1, "shared_uplink": true, "gain_terms": [0, 0, 0], "energy_weight_per_mj": 0}'
    )
    rest = '"task": 0, "arrival_ms": 0, "option": 0, "exit": 1, "partition": 0, "deadline_ms": 9, "latency_ms": 1'
    path.write_text(f'{{{rest}, "answered_exit": 1, "fallback": null, "seen": {seen}, "facts": {facts}}}\n')
    with pytest.raises(InputError, match=r"log.jsonl:1: .*finite number"):
        read_tasks(path)
