"""Small studies from end to end: cached, continued after an interruption, written in every form."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from pyarrow import csv, parquet

import hasten as hs
from hasten.core.errors import HastenError, InputError
from hasten.study import pool, run, work
from hasten.study.command import study
from hasten.study.design import SWEEPS, points_of
from hasten.study.run import NAMES, Plan, Study, plan_of, run_study
from hasten.study.training import VARIANTS, PolicySpec, ablation_trainings, policy_for, policy_training
from hasten.study.work import Bound, Job, Plain, Simulate

PLAN = Plan(("deadline",), ablation=False, seeds=2, sources=("generated",), quick=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, no training, hurried bounds."""
    monkeypatch.setattr(pool, "_cores", lambda: 1)
    monkeypatch.setattr(run, "learner_installed", lambda: False)
    monkeypatch.setattr(run, "recordings_present", lambda: False)
    monkeypatch.setattr(work, "BOUND_LIMIT_S", 0.05)


def count_jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    done: list[Job] = []

    def finished(jobs: Sequence[Job], ray_address: str | None = None) -> Iterator[Plain]:
        for job in jobs:
            yield job.run()
            done.append(job)

    monkeypatch.setattr(run, "finished", finished)
    return done


def test_a_study_is_written_in_every_form_and_done_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = count_jobs(monkeypatch)
    paths = study("deadline", tmp_path, None, 10, True, None, lambda what, share: None)
    assert [path.name for path in paths] == ["report.html", "results.md", "runs.csv", "runs.parquet"]
    table, same = parquet.read_table(tmp_path / "runs.parquet"), csv.read_csv(tmp_path / "runs.csv")
    assert table.num_rows == same.num_rows == 6 * 2 * (len(run.QUICK_SCHEDULERS) + 1)
    assert table.column("gain").to_pylist() == same.column("gain").to_pylist()
    page = (tmp_path / "results.md").read_text()
    for said in ("5.9 %", "32 %", "our choice", "Where the technique does not help", "set HASTEN_DATA", "--quick"):
        assert said in page
    assert all((tmp_path / name).is_file() for name in ["results/deadline-efficientnet-b0-generated.svg"])
    report = (tmp_path / "report.html").read_text()
    assert report.count('<figure class="explore">') == 1 and 'src="' not in report and "<dt>command</dt>" in report
    first = len(done)
    assert first == 12
    study("deadline", tmp_path, None, 10, True, None, lambda what, share: None)
    assert len(done) == first


def test_an_interrupted_study_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(jobs: Sequence[Job], ray_address: str | None = None) -> Iterator[Plain]:
        yield from (job.run() for job in jobs[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(PLAN, tmp_path)
    done = count_jobs(monkeypatch)
    found = run_study(PLAN, tmp_path)
    assert len(done) == 12 - 5
    assert_complete(found)


def assert_complete(found: Study) -> None:
    assert len(found.curves) == 2
    for curves in found.curves:
        assert curves.gain["greedy"].shape == curves.bound.shape == (3, 2)
        for gain in curves.gain.values():
            assert (gain <= curves.bound + 1e-9).all()
        assert (curves.planned <= curves.bound + 1e-9).all()


def test_more_seeds_add_cells_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[0].conditions
    with run.ResultCache(tmp_path / "cells.sqlite") as cells:
        cells.keep(Simulate(conditions.scenario(), ("greedy",), (0, 1)).run())
        (job,) = run._simulations(conditions.scenario(), ("greedy",), 4, b"", cells)
    assert job.seeds == (2, 3)


def test_cells_are_what_simulate_says(tmp_path: Path) -> None:
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[0].conditions
    cells = Simulate(conditions.scenario(), ("greedy", "random:feasible"), (0, 4)).run()
    scenario = hs.scenario_from(conditions.scenario())
    for name in ("greedy", "random:feasible"):
        alone = hs.simulate(scenario, name, seed=4)
        cell = cells[work.run_key(conditions.scenario(), name, 4)]
        assert cell["gain"] == alone.mean_gain == cell["on_time_accuracy"]
    assert json.loads(json.dumps(cells)) == cells


def test_a_study_simulates_what_devices_see() -> None:
    seen = points_of(SWEEPS["deadline"], ("generated",), quick=True)[-1].conditions.scenario()
    devices = seen | {"view": {"kind": "device"}}
    fresh, stale = (Simulate(plain, ("greedy:point",), (0,)).run() for plain in (seen, devices))
    assert fresh.keys() != stale.keys()
    assert list(fresh.values()) != list(stale.values())


def test_tuned_baselines_are_at_least_as_good_as_untuned_on_average() -> None:
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[1].conditions
    names = ("load-threshold", "fixed:5,4", work.TUNED_THRESHOLD, work.TUNED_PAIR)
    cells = Simulate(conditions.scenario(), names, tuple(range(4))).run()
    gain = {
        name: np.mean([cells[work.run_key(conditions.scenario(), name, seed)]["gain"] for seed in range(4)])
        for name in names
    }
    assert gain[work.TUNED_THRESHOLD] > gain["load-threshold"]
    assert gain[work.TUNED_PAIR] >= gain["fixed:5,4"]


def test_a_failing_job_says_what_is_wrong() -> None:
    class Broken:
        cost_s = 1.0

        def run(self) -> Plain:
            raise InputError("study", "x", 1, "two")

    with pytest.raises(HastenError, match="expected two"):
        pool._value(pool._run(Broken()))


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="arrival-rate, bandwidth"):
        plan_of("bandwith", 10, False)
    assert all(plan_of(name, 10, False) for name in NAMES)
    assert plan_of("all", 10, False).ablation


def test_the_ablation_needs_the_learner(tmp_path: Path) -> None:
    with pytest.raises(HastenError, match="learn"):
        run_study(plan_of("ablation", 2, True), tmp_path)


def test_policies_cover_what_they_are_used_for() -> None:
    for sweep in ("arrival-rate", "bandwidth", "deadline", "streams"):
        for point in points_of(SWEEPS[sweep], ("generated",)):
            conditions = point.conditions
            spec: PolicySpec = policy_for(conditions)
            base, domain = spec.scenario, spec.domain
            mbps = conditions.mbps / base["uplink"]["rate"]["mbps"]
            hz = conditions.rate_hz / base["streams"][0]["arrivals"]["rate_hz"]
            assert domain["uplink_rate"][0] - 1e-9 <= mbps <= domain["uplink_rate"][1] + 1e-9
            assert domain["arrival_rate"][0] - 1e-9 <= hz <= domain["arrival_rate"][1] + 1e-9
            assert domain["streams"][0] <= conditions.streams <= domain["streams"][1]
            assert base["uplink"]["order"] == conditions.order or conditions.streams == 1


def test_ablation_variants_differ_in_initial_experience_replay_values_and_rollouts_only() -> None:
    jobs = ablation_trainings(2, quick=False)
    assert len(jobs) == 2 * len(VARIANTS) == len({job.key for job in jobs.values()})
    varied = ("init", "replay", "values", "rollouts_from", "seed")
    kept = [{k: v for k, v in job.settings.items() if k not in varied} for job in jobs.values()]
    assert all(settings == kept[0] for settings in kept)


@pytest.mark.usefixtures("quick_training")
def test_a_small_training_becomes_a_scheduler_of_the_study() -> None:
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[1].conditions
    job = policy_training(policy_for(conditions), quick=True)
    cell = job.run()[job.key]
    assert [point["updates"] for point in cell["curve"]] == [100, 200]
    policy = run.base64.b64decode(cell["policy"])
    cells = Simulate(conditions.scenario(), ("learned",), (0,), policy).run()
    assert 0 < cells[work.run_key(conditions.scenario(), "learned", 0, policy)]["gain"] < 1


def test_jobs_run_on_ray(tmp_path: Path) -> None:
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[0].conditions
    jobs = [Simulate(conditions.scenario(), ("greedy",), (seed,)) for seed in range(3)]
    found: Plain = {}
    for cells in pool.finished(jobs, "local"):
        found |= cells
    assert found == Simulate(conditions.scenario(), ("greedy",), (0, 1, 2)).run()


def test_without_ray_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[0].conditions
    with pytest.raises(HastenError, match=r"hasten\[ray\]"):
        list(pool.finished([Bound(conditions.scenario(), (0,))], "auto"))


def test_processes_give_what_one_process_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_cores", lambda: 2)
    conditions = points_of(SWEEPS["deadline"], ("generated",), quick=True)[0].conditions
    jobs = [Simulate(conditions.scenario(), ("greedy",), (seed,)) for seed in range(2)]
    found: Plain = {}
    for cells in pool.finished(jobs):
        found |= cells
    assert found == Simulate(conditions.scenario(), ("greedy",), (0, 1)).run()


LONG_JOBS = """
import sys, time
from hasten.core import signals
from hasten.study import pool

class Sleep:
    cost_s = 1.0

    def run(self):
        print("working", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    pool._cores = lambda: 2
    with signals.handled():
        try:
            list(pool.finished([Sleep(), Sleep()]))
        except KeyboardInterrupt:
            sys.exit(128 + signals.asked())
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is Unix's")
def test_workers_end_with_a_study_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "long_jobs.py"
    script.write_text(LONG_JOBS)
    study = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert study.stdout is not None
    assert all(study.stdout.readline() == "working\n" for _ in range(2))
    study.kill()
    study.wait()
    assert study.stdout.read() == ""  # ends when nobody is left who could write


@pytest.mark.skipif(os.name != "posix", reason="process groups are Unix's")
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_to_all_processes_of_a_study_ends_them_without_a_word(tmp_path: Path, times: int) -> None:
    """``timeout`` sends two: one to the process, one to its group."""
    script = tmp_path / "long_jobs.py"
    script.write_text(LONG_JOBS)
    pipe = subprocess.PIPE
    study = subprocess.Popen([sys.executable, str(script)], stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert study.stdout is not None
    assert all(study.stdout.readline() == "working\n" for _ in range(2))
    for _ in range(times):
        os.killpg(study.pid, signal.SIGTERM)
    assert study.communicate() == ("", "")
    assert study.returncode in (143, -signal.SIGTERM if times == 2 else 143)
