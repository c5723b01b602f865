"""The study in three worlds: what is run, what is kept, and what the page says of it. Worlds are played."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hasten.core.profile_names import load_profile
from hasten.core.results import Failure, Result
from hasten.core.scenario import scenario_from
from hasten.fidelity.real import command, run
from hasten.fidelity.real.command import plan_of, study_real
from hasten.fidelity.real.points import PlayedConditions, panels
from hasten.fidelity.real.results import blocks_of, improvement_over
from hasten.fidelity.real.run import FIXED, GREEDY, LEARNED, POINT, RealPlan
from hasten.report.document import Bullets, TableBlock

GAIN = {GREEDY: 0.8, POINT: 0.7, LEARNED: 0.84, FIXED: 0.5}
LOSS = {"simulated": 0.0, "virtual": 0.01, "real": 0.02}


class Worlds:
    """Every run gains what the tables above say, and a little by seed."""

    def __init__(self) -> None:
        self.played: list[tuple[str, str, int]] = []
        self.stop_after = 10**9
        self.failing: tuple[str, int] | None = None

    def label(self, name: str) -> str:
        return LEARNED if name.startswith("policy:") else FIXED if name.startswith("fixed:") else name

    def results(self, world: str, names: Any, seeds: Any) -> list[Result]:
        found = []
        for seed in seeds:
            for name in names:
                self.played.append((world, self.label(name), seed))
                gain = GAIN[self.label(name)] - LOSS[world] + 0.001 * seed
                found.append(
                    Result(
                        name, seed, np.zeros(1), np.zeros(1, np.int64), np.ones((1, 2), np.int64), np.ones(1),
                        np.full(1, 100.0), np.full(1, gain), np.full(1, gain), 0.0,
                    )
                )  # fmt: skip
        return found

    def run(self, world: str, names: Any, seeds: Any) -> Any:
        failed = [Failure(n, s, "gone") for n in names for s in seeds if (self.label(n), s) == self.failing]
        found = [r for r in self.results(world, names, seeds) if (self.label(r.scheduler), r.seed) != self.failing]
        interrupted = world == "real" and sum(at == "real" for at, _, _ in self.played) > self.stop_after
        return SimpleNamespace(results=found, failures=failed, facts={"kind": world}, interrupted=interrupted)


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Worlds:
    played = Worlds()
    profile = load_profile("alexnet-pi")

    class Network:
        def __init__(self, out: Path, progress: Any) -> None:
            self.profile, self.digest = profile, "digest"

        def scenario(self, place: PlayedConditions, seconds: float) -> Any:
            stream = {"name": "d", "count": place.devices, "profile": "alexnet-pi", "deadline_ms": 80}
            data = {
                "schema": "hasten.scenario/1",
                "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": place.rate_hz}}],
                "uplink": {"rate": {"kind": "constant", "mbps": place.frames_per_s}},
                "horizon_ms": 1000 * seconds,
            }
            return scenario_from(data, "study real")

    def train(scenario: Any, devices: Any, settings: Any, path: Path, progress: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"policy")

    monkeypatch.setattr(run, "_Network", Network)
    monkeypatch.setattr(run, "_train", train)
    monkeypatch.setattr(run, "_best_fixed", lambda scenario: "fixed:1,1")
    monkeypatch.setattr(run, "predict", lambda s, names, seeds, tell: played.results("simulated", names, seeds))
    monkeypatch.setattr(
        "hasten.runtime.virtual.cluster.run_virtual_scenario",
        lambda s, names, seeds, out_dir: played.run("virtual", names, seeds),
    )
    monkeypatch.setattr(
        "hasten.runtime.local.run.run_scenario", lambda s, names, seeds, out_dir: played.run("real", names, seeds)
    )
    return played


def plan() -> RealPlan:
    return RealPlan(tuple(panels((3,), ("generated",))), real_seeds=2, other_seeds=3, seconds=5.0)


def quiet(text: str, share: float) -> None:
    """Nothing."""


def test_every_scheduler_and_seed_in_every_world_and_points_that_sweeps_share_once(
    tmp_path: Path, worlds: Worlds
) -> None:
    done = run.run_study(plan(), tmp_path, quiet)
    assert len(done.plan.conditions) == 5
    assert len(worlds.played) == 5 * 4 * (3 + 3 + 2) == len(set(worlds.played)) * 5
    panel = done.plan.panels[0]
    found = improvement_over(done, panel, GREEDY, "real")
    assert found.mean == pytest.approx(0.04 / (0.8 - 0.02 + 0.0005))
    found = improvement_over(done, panel, POINT, "simulated")
    assert found.mean == pytest.approx(0.14 / (0.7 + 0.001))


def test_what_is_done_is_not_done_again(tmp_path: Path, worlds: Worlds) -> None:
    first = run.run_study(plan(), tmp_path, quiet)
    worlds.played.clear()
    again = run.run_study(plan(), tmp_path, quiet)
    assert worlds.played == [] and again.rows == first.rows


def test_an_interrupted_study_says_what_is_missing_and_goes_on(
    tmp_path: Path, worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "plan_of", lambda seeds, quick: plan())
    worlds.stop_after = 12
    with pytest.raises(KeyboardInterrupt):
        study_real(tmp_path, None, None, False, quiet)
    assert "Not complete, so not shown: arrival-rate, 3 devices" in (tmp_path / "real.md").read_text()
    worlds.stop_after = 10**9
    worlds.played.clear()
    files = study_real(tmp_path, None, None, False, quiet)
    assert 0 < len(worlds.played) < 5 * 4 * 2  # only real ones that were missing
    assert {world for world, _, _ in worlds.played} == {"real"}
    page = (tmp_path / "real.md").read_text()
    assert "Not complete" not in page and "+5.0 % ± 0.0" in page  # 0.04 / 0.801 in simulation
    assert all(file.is_file() for file in files)
    rows = (tmp_path / "real-runs.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * 4 * (3 + 3 + 2)


def test_differences_are_taken_seed_by_seed_in_points(tmp_path: Path, worlds: Worlds) -> None:
    tables = [
        block for block in blocks_of(run.run_study(plan(), tmp_path, quiet), "it") if isinstance(block, TableBlock)
    ]
    kept, row = tables[1].rows[0], tables[2].rows[0]
    assert kept[:3] == ["arrival-rate", "3", "generated"]
    assert kept[6] == "1.03 ± 0.00"  # 0.04 of 0.7805 in real runs and of 0.8005 in simulated ones on the same seeds
    assert row[1:4] == [GREEDY, "0.801", "0.791"]
    assert row[5:] == ["-2.0 ± 0.0", "-1.0 ± 0.0"]


def test_a_round_that_fails_is_named(tmp_path: Path, worlds: Worlds) -> None:
    worlds.failing = (FIXED, 1)
    blocks = blocks_of(run.run_study(plan(), tmp_path, quiet), "it")
    told = [item for block in blocks if isinstance(block, Bullets) for item in block.items]
    assert any("fixed:1,1, seed 1: gone" in item for item in told)


def test_the_plan_covers_what_the_study_promises() -> None:
    found = plan_of(None, quick=False)
    assert {panel.devices for panel in found.panels} == {1, 3, 8}
    assert {panel.sweep for panel in found.panels} == {"arrival-rate", "bandwidth"}
    assert found.real_seeds >= 5 and found.other_seeds >= 20
    assert found.panels[0].devices == 3
