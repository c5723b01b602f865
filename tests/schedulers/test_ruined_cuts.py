"""Cuts that the codec ruins: who sees them, and what those rules do that know one accuracy for each exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hasten as hs
from hasten.api import simulate
from hasten.core.decision import View
from hasten.core.scenario import Scenario, scenario_from
from hasten.policies.manifest import fingerprint
from hasten.schedulers import make_scheduler

SOUND, RUINED = 0.9, 0.3
FASTEST = (2, 1)
"""The cut behind block 1 sends next to nothing: it is the fastest, and the one that the codec ruins."""


def scenario(folder: Path, ruined: bool = True, **changes: Any) -> Scenario:
    exits: list[dict[str, Any]] = [
        {"name": "e1", "after_block": 1, "accuracy": 0.6, "device_ms": 1, "edge_ms": 1},
        {"name": "e2", "after_block": 3, "accuracy": SOUND, "device_ms": 1, "edge_ms": 1},
    ]
    if ruined:
        exits[1]["accuracy_by_partition"] = [SOUND, RUINED, SOUND, SOUND]
    profile = {
        "schema": "hasten.profile/1",
        "name": "net",
        "source": "made up",
        "input_bytes": 20_000,
        "blocks": [
            {"name": "b1", "device_ms": 5, "edge_ms": 1, "output_bytes": 100},
            {"name": "b2", "device_ms": 20, "edge_ms": 2, "output_bytes": 5_000},
            {"name": "b3", "device_ms": 40, "edge_ms": 3, "output_bytes": 100},
        ],
        "exits": exits,
    }
    (folder / "net.json").write_text(json.dumps(profile))
    stream = {"name": "cam", "profile": str(folder / "net.json"), "deadline_ms": 100}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": 10}}],
            "uplink": {"rate": {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": 40,
            **changes,
        }
    )


def first_choice(name: str, s: Scenario) -> tuple[int, int]:
    """What is decided for a task that meets no queue."""
    scheduler = make_scheduler(name)
    scheduler.reset(s.context(np.zeros(1, np.int64)))
    idle = View(*(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64)), *(np.zeros(1), np.zeros(1)),
                np.zeros((1, 1)), np.full(1, 10_000.0), np.zeros((1, 1)))  # fmt: skip
    option = int(scheduler.decide(idle).option[0])
    return int(s.options.exit[0, option]), int(s.options.partition[0, option])


LOOKING = ("greedy", "fixed-exit:2", "load-threshold", "rolling-horizon", "mdp:8")
"""Rules that count what an option is worth."""
BLIND = ("neurosurgeon", "edgent", "edgent:slack", "dads")
"""Rules kept as published: all cuts of an exit are the same to them."""


@pytest.mark.parametrize("name", LOOKING + BLIND)
def test_where_no_cut_is_ruined_the_fastest_is_taken(name: str, tmp_path: Path) -> None:
    assert first_choice(name, scenario(tmp_path, ruined=False)) == FASTEST


@pytest.mark.parametrize("name", LOOKING)
def test_a_ruined_cut_is_left_where_a_sound_one_is_in_time(name: str, tmp_path: Path) -> None:
    exit_number, partition = first_choice(name, scenario(tmp_path))
    assert exit_number == 2 and partition != FASTEST[1]


@pytest.mark.parametrize("name", BLIND)
def test_rules_of_the_literature_are_kept_as_published(name: str, tmp_path: Path) -> None:
    assert first_choice(name, scenario(tmp_path)) == FASTEST


def test_greedy_takes_an_earlier_exit_before_a_ruined_cut(tmp_path: Path) -> None:
    s = scenario(tmp_path)
    hurried = scenario_from(s.model_dump(by_alias=True) | {"streams": [
        s.streams[0].model_dump(by_alias=True) | {"deadline_ms": 15}]})  # fmt: skip
    assert first_choice("greedy", hurried) == (1, 1)
    assert first_choice("edgent", hurried) == FASTEST


def test_results_tell_the_accuracy_of_each_tasks_own_option(tmp_path: Path) -> None:
    s = scenario(tmp_path)
    ruined, sound = (simulate(s, make_scheduler(f"fixed:2,{p}"), 0) for p in (1, 2))
    assert ruined.on_time.all() and (ruined.accuracy == RUINED).all() and (sound.accuracy[sound.on_time] == SOUND).all()
    assert ruined.summary()["accuracy_when_on_time"] == pytest.approx(RUINED)
    assert ruined.on_time_accuracy == ruined.mean_gain == pytest.approx(RUINED)


def test_the_offline_plan_gains_what_its_replay_gains(tmp_path: Path) -> None:
    s = scenario(tmp_path)
    plan = hs.solve_offline(s, 0)
    assert plan.optimal
    accuracies = [s.devices[0].profile.accuracy(e, p) for e, p in plan.decisions.tolist()]
    assert plan.gain == pytest.approx(np.mean(accuracies))
    for name in ("greedy", "edgent", "neurosurgeon"):
        assert simulate(s, make_scheduler(name), 0).mean_gain <= plan.upper_bound + 1e-9


def test_a_network_with_other_accuracies_is_another_one_to_a_policy(tmp_path: Path) -> None:
    sound, ruined = scenario(tmp_path, ruined=False).options, scenario(tmp_path).options
    assert fingerprint(sound, 0) != fingerprint(ruined, 0)
