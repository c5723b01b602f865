"""A study's cells follow from the contents of recordings and profiles, not from their names alone."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.core.profile_names import load_profile
from hasten.study import design, work
from hasten.study.command import study
from hasten.study.design import BASES, Conditions
from hasten.study.input_files import inputs_of, require_unchanged
from hasten.study.result_cache import ResultCache
from hasten.study.run import _simulations
from hasten.study.training import TrainingJob
from hasten.study.work import Bound, Simulate, bound_key, run_key


@pytest.fixture
def link(tmp_path: Path) -> Path:
    path = tmp_path / "link.csv"
    path.write_text("time_ms,mbps\n0,8\n1000,4\n2000,6\n")
    return path


def scenario(link: Path, profile: str = "alexnet-pi") -> dict[str, Any]:
    stream = {"name": "cam", "profile": profile, "deadline_ms": 80}
    return {
        "schema": "hasten.scenario/1",
        "streams": [stream | {"arrivals": {"kind": "poisson", "rate_hz": 15}}],
        "uplink": {"rate": {"kind": "trace", "file": str(link), "format": "csv"}},
        "tasks_per_stream": 4,
    }


def rewrite(path: Path, text: str) -> None:
    """Other contents, and a later time of change even where clocks are coarse."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 10_000_000, before + 10_000_000))


def test_a_changed_recording_makes_other_keys(link: Path) -> None:
    plain = scenario(link)
    keys = run_key(plain, "greedy", 0), bound_key(plain, 0), TrainingJob("t", plain, {}, {}).key
    assert (run_key(plain, "greedy", 0), bound_key(plain, 0), TrainingJob("t", plain, {}, {}).key) == keys
    rewrite(link, "time_ms,mbps\n0,8\n1000,4\n2000,7\n")  # as long as before
    changed = run_key(plain, "greedy", 0), bound_key(plain, 0), TrainingJob("t", plain, {}, {}).key
    assert all(one != other for one, other in zip(keys, changed, strict=True))
    rewrite(link, "time_ms,mbps\n0,8\n1000,4\n2000,6\n")
    assert run_key(plain, "greedy", 0) == keys[0]


def test_kept_cells_of_a_changed_recording_are_done_again(link: Path, tmp_path: Path) -> None:
    plain = scenario(link)
    with ResultCache(tmp_path / "cells.sqlite") as cells:
        cells.keep(Simulate(plain, ("greedy",), (0, 1)).run())
        assert list(_simulations(plain, ("greedy",), 2, b"", cells)) == []
        rewrite(link, "time_ms,mbps\n0,1\n1000,1\n2000,1\n")
        (job,) = _simulations(plain, ("greedy",), 2, b"", cells)
    assert job.seeds == (0, 1)


def test_changed_profiles_and_archives_make_other_digests(link: Path, tmp_path: Path) -> None:
    profile, archive = tmp_path / "net.json", tmp_path / "links.zip"
    profile.write_text(load_profile("alexnet-pi").to_json())
    with zipfile.ZipFile(archive, "w") as file:
        file.write(link, "a.csv")
    plain = scenario(Path(f"{archive}/a.csv"), str(profile))
    before = inputs_of(plain)
    assert set(before) == {str(profile), f"{archive}/a.csv"}
    data = json.loads(profile.read_text())
    data["exits"][0]["accuracy_by_partition"] = [0.1, data["exits"][0]["accuracy"]]
    rewrite(profile, json.dumps(data))
    assert inputs_of(plain)[str(profile)] != before[str(profile)]
    assert inputs_of(plain)[f"{archive}/a.csv"] == before[f"{archive}/a.csv"]
    assert inputs_of(scenario(link))["alexnet-pi"] != inputs_of(scenario(link, "resnet-110"))["resnet-110"]


def test_a_file_is_read_once_for_each_of_its_states(link: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scenario(link)
    before = inputs_of(plain)
    monkeypatch.setattr(Path, "open", None)
    assert inputs_of(plain) == before


@pytest.mark.parametrize("job", [Simulate, Bound])
def test_results_of_a_recording_that_changes_meanwhile_are_not_kept(
    link: Path, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = scenario(link)
    planned = job(plain, ("greedy",), (0,)) if job is Simulate else job(plain, (0,))
    realize = work.scenario_from

    def changes(*arguments: Any) -> Any:
        found = realize(*arguments)
        rewrite(link, "time_ms,mbps\n0,1\n1000,1\n2000,1\n")
        return found

    monkeypatch.setattr(work, "scenario_from", changes)
    monkeypatch.setattr(work, "_compile_solvers", lambda: None)
    with pytest.raises(HastenError, match=r"link\.csv is not what it was"):
        planned.run()
    require_unchanged(plain, inputs_of(plain))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv"):
        inputs_of(scenario(tmp_path / "gone.csv"))


def test_a_changed_recording_is_scaled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(file: str, form: str, beside: Path | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.ones(1), np.array([float((tmp_path / file).read_text())])

    base = BASES["alexnet-pi"]
    monkeypatch.setattr(design, "read_rates", read)
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path))
    monkeypatch.setitem(BASES, "alexnet-pi", replace(base, link_file="link", arrivals_file="arrivals"))
    (tmp_path / "arrivals").write_text("0\n100\n200\n")
    (tmp_path / "link").write_text("2")
    conditions = Conditions("alexnet-pi", 1, "grant", "recorded", 10.0, 10.0, 80.0, 1.0)
    assert conditions.scenario()["uplink"]["rate"]["scale"] == pytest.approx(5.0)
    rewrite(tmp_path / "link", "4")
    assert conditions.scenario()["uplink"]["rate"]["scale"] == pytest.approx(2.5)


def test_folders_that_cannot_be_written_are_named_before_the_work(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    # Nobody makes files in /proc, not even root, who may write into a locked folder.
    unwritable = Path("/proc") if Path("/proc/self").exists() else locked
    with pytest.raises(InputError, match="docs"):
        study("deadline", tmp_path / "out", unwritable, 2, True, None, lambda what, done: None)


@pytest.mark.parametrize("field", ["out", "docs"])
def test_a_file_in_the_place_of_a_folder_is_named_before_the_work(
    tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("the study began")

    monkeypatch.setattr("hasten.study.run.run_study", never)
    (tmp_path / "file").write_text("")
    out, docs = (tmp_path / "file", None) if field == "out" else (tmp_path / "fine", tmp_path / "file")
    with pytest.raises(InputError, match=rf"file.*{field}: got"):
        study("deadline", out, docs, 2, True, None, lambda what, done: None)
