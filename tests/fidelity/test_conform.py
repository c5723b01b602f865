"""``hasten conform`` from end to end: the same tasks simulated and in real processes, and what each side plays."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from hasten import cli
from hasten.api import simulate
from hasten.core.results import Failure
from hasten.core.scenario import load_scenario, scenario_from
from hasten.fidelity.conform import predict
from hasten.runtime.local.run import RunOutcome
from hasten.schedulers import make_scheduler

PATIENT_MS = 20_000.0
"""No task can miss this deadline, so that fixed decisions do not depend on how busy the machine is."""


def plain(package, **uplink):
    return {
        "schema": "hasten.scenario/1",
        "streams": [
            {
                "name": "cam",
                "count": 2,
                "profile": str(package),
                "deadline_ms": PATIENT_MS,
                "arrivals": {"kind": "poisson", "rate_hz": 40},
            }
        ],
        "uplink": {"rtt_ms": 2, "rate": {"kind": "constant", "mbps": 20}} | uplink,
        "tasks_per_stream": 12,
    }


def test_the_same_tasks_side_by_side(package, tmp_path, monkeypatch, capsys):
    scenario, document_path = tmp_path / "small.yaml", tmp_path / "out.json"
    scenario.write_text(yaml.safe_dump(plain(package.path)))
    offloaded, local = "fixed:2,0", f"fixed:1,{package.profile.exits[0].after_block}"
    order = ["hasten", "conform", str(scenario), "--schedulers", f"{offloaded},{local}"]
    monkeypatch.setattr(sys, "argv", [*order, "--out", str(tmp_path / "logs"), "--json", str(document_path)])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 0
    said = capsys.readouterr().out
    assert "difference" in said and "same arrivals and link rates" in said
    document = json.loads(document_path.read_text())
    assert (document["schema"], document["scenario"]) == ("hasten.fidelity.conform/1", "small")
    assert document["simulated_with"]["order"] == "ready"
    assert [entry["scheduler"] for entry in document["results"]] == [offloaded, local]
    for entry in document["results"]:
        assert entry["tasks"] == 24
        for side in ("simulated", "real"):
            assert set(entry[side]) == set(entry["difference"])
            assert entry[side]["dropped"] == entry[side]["late"] == 0
            assert entry[side]["latency_ms"]["p50"] > 0
        assert entry["same_decision_share"] == 1.0
        assert entry["latency_error"]["tasks"] == 24
        assert entry["difference"]["on_time_accuracy"] == pytest.approx(0.0)
        assert entry["difference"]["exit_share"] == {"2" if entry["scheduler"] == offloaded else "1": 0.0}
    assert len(list((tmp_path / "logs").glob("*.jsonl"))) == 4


def test_the_gain_of_maps_is_their_metric_on_both_sides(maps, tmp_path, monkeypatch):
    scenario, document_path = tmp_path / "maps.yaml", tmp_path / "out.json"
    scenario.write_text(yaml.safe_dump(plain(maps.path)))
    order = ["hasten", "conform", str(scenario), "--schedulers", "fixed:1,0", "--json", str(document_path)]
    monkeypatch.setattr(sys, "argv", order)
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 0
    (entry,) = json.loads(document_path.read_text())["results"]
    expected = maps.manifest.exits[0].accuracy_by_partition[0]
    assert 0.5 < expected < 1.0
    for side in ("simulated", "real"):
        assert entry[side]["on_time_accuracy"] == pytest.approx(expected)


def predicted(scenario, *names, seeds=(0,)):
    return predict(scenario, names, seeds, lambda text, fraction: None)


@pytest.fixture
def costly(package, tmp_path):
    """The package's profile with the overhead of a task, 3 and 5 ms, in a file of its own."""
    path = tmp_path / "costly.json"
    path.write_text(package.profile.model_copy(update={"task_ms": 3.0, "offload_ms": 5.0}).to_json())
    return path


def test_a_prediction_is_in_the_order_of_a_run(package):
    results = predicted(scenario_from(plain(package.path)), "greedy", "device-only:deepest", seeds=(4, 2))
    assert [(result.seed, result.scheduler) for result in results] == [
        (4, "greedy"), (4, "device-only:deepest"), (2, "greedy"), (2, "device-only:deepest"),
    ]  # fmt: skip


def test_a_prediction_is_in_ready_order_whatever_the_scenario_says(package):
    ready, grant = (scenario_from(plain(package.path, order=order)) for order in ("ready", "grant"))
    (result,) = predicted(grant, "random")
    np.testing.assert_allclose(result.finish_ms, simulate(ready, make_scheduler("random")).finish_ms)


def test_a_prediction_counts_what_a_task_overhead(package, costly):
    """With every task alone in the system: 3 ms for each, 5 ms more for one that is offloaded."""
    spread = {"kind": "periodic", "rate_hz": 1, "jitter": 0.0}
    for name, overhead_ms in (("device-only:deepest", 3.0), ("fixed:2,0", 8.0)):
        latency_ms = []
        for profile in (package.path, costly):
            data = plain(profile)
            data["streams"][0] |= {"arrivals": spread, "count": 1}
            (result,) = predicted(scenario_from(data), name)
            latency_ms.append(result.latency_ms)
        np.testing.assert_allclose(latency_ms[1] - latency_ms[0], overhead_ms, atol=1e-6)


def test_a_prediction_keeps_arrivals_and_deadlines(costly):
    scenario = scenario_from(plain(costly))
    (result,) = predicted(scenario, "greedy")
    np.testing.assert_array_equal(result.arrival_ms, scenario.realize(0).arrival_ms)
    assert set(result.deadline_ms) == {PATIENT_MS}


def test_files_beside_the_scenario_are_found_for_the_prediction_too(package, tmp_path):
    (tmp_path / "beside.json").write_text(package.profile.to_json())
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(plain("beside.json")))
    (result,) = predicted(load_scenario(path), "greedy")
    assert result.tasks == 24


def test_what_fails_on_one_side_takes_nothing_from_the_others(package, tmp_path, monkeypatch, capsys):
    """``mdp`` refuses two streams when it is simulated; ``min-latency`` fails for one seed in the real run."""

    def played(scenario, schedulers, seeds, out_dir, progress):
        found = predicted(scenario, "greedy", "min-latency", seeds=seeds)
        kept = [
            replace(one, decision_us=np.zeros(0)) for one in found if (one.scheduler, one.seed) != ("min-latency", 1)
        ]
        failures = [Failure("min-latency", 1, "a child died")]
        failures += [Failure("mdp", seed, "expected one stream") for seed in seeds]
        return RunOutcome(kept, {"onnxruntime": "played"}, failures)

    monkeypatch.setattr("hasten.fidelity.conform.run_scenario", played)
    scenario, document_path = tmp_path / "small.yaml", tmp_path / "out.json"
    scenario.write_text(yaml.safe_dump(plain(package.path)))
    order = ["hasten", "conform", str(scenario), "--seeds", "2", "--json", str(document_path)]
    monkeypatch.setattr(sys, "argv", [*order, "--schedulers", "greedy,mdp,min-latency"])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 1
    document = json.loads(document_path.read_text())
    assert [(one["scheduler"], one["seed"]) for one in document["results"]] == [
        ("greedy", 0), ("min-latency", 0), ("greedy", 1)]  # fmt: skip
    assert [(one["side"], one["scheduler"], one["seed"]) for one in document["unpaired"]] == [
        ("simulated", "min-latency", 1)]  # fmt: skip
    failed = [(one["side"], one["scheduler"], one["seed"]) for one in document["failures"]]
    assert failed == [("simulated", "mdp", 0), ("simulated", "mdp", 1), ("real", "min-latency", 1),
                      ("real", "mdp", 0), ("real", "mdp", 1)]  # fmt: skip
    said = capsys.readouterr().out
    assert "failed: min-latency, seed 1, real: a child died" in said
    assert "failed: mdp, seed 0, simulated: scheduler mdp" in said


def test_the_run_may_be_one_in_virtual_time(tmp_path, monkeypatch, capsys):
    """Any profile will do; with one that nothing has to be estimated for, both sides are the same to the last digit."""
    scenario, document_path = tmp_path / "small.yaml", tmp_path / "out.json"
    data = plain("alexnet-pi")
    data["streams"][0]["arrivals"]["rate_hz"] = 0.5
    scenario.write_text(yaml.safe_dump(data))
    order = ["hasten", "conform", str(scenario), "--virtual", "--schedulers", "device-only:deepest,fixed:9,9"]
    monkeypatch.setattr(sys, "argv", [*order, "--seeds", "2", "--json", str(document_path)])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 1
    said = capsys.readouterr().out
    assert "run in virtual time" in said and "virtual less simulated" in said
    document = json.loads(document_path.read_text())
    assert document["runtime"]["kind"] == "virtual" and document["runtime"]["devices"] == 2
    assert [entry["seed"] for entry in document["results"]] == [0, 1]
    for entry in document["results"]:
        assert entry["virtual"].keys() == entry["difference"].keys() and "real" not in entry
        assert entry["same_decision_share"] == 1.0
        assert entry["latency_error"]["ms"]["p95"] == pytest.approx(0.0, abs=1e-6)
    assert {failure["side"] for failure in document["failures"]} == {"simulated", "virtual"}
