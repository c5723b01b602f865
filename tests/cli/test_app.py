"""The command line: what it prints, what it refuses, and that a refusal is one line and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from hasten.learn.api import train
from hasten.policies.policy import load_policy
from hasten.schedulers import scheduler_names

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "three-cameras.yaml"
OLD = ROOT / "tests" / "support" / "files_of_0_1"


def test_simulate_writes_the_result_document(
    small: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hasten("simulate", small, "--schedulers", "greedy,fixed:1,1", "--seeds", 2, "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "hasten.result/1"
    assert [(entry["scheduler"], entry["seed"]) for entry in document["results"]] == [
        ("greedy", 0), ("greedy", 1), ("fixed:1,1", 0), ("fixed:1,1", 1),
    ]  # fmt: skip
    wanted = {
        "scheduler", "seed", "tasks", "on_time_accuracy", "on_time_rate", "accuracy_when_on_time", "latency_ms",
        "dropped", "late", "exit_share", "partition_share", "uplink_bytes", "decision_us",
    }  # fmt: skip
    for entry in document["results"]:
        assert wanted <= set(entry)
        assert set(entry["latency_ms"]) == {"mean", "p50", "p95", "p99"}
        assert entry["tasks"] == 60


def test_solve_writes_the_certificate_and_the_plan(
    small: Path, tmp_path: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    target, plan = tmp_path / "o.json", tmp_path / "plan.json"
    assert hasten("solve", small, "--json", target, "--plan", plan) == 0
    assert "upper bound" in capsys.readouterr().out
    document = json.loads(target.read_text())
    assert document["schema"] == "hasten.offline/1"
    (entry,) = document["results"]
    assert {"seed", "tasks", "gain", "upper_bound", "gap", "optimal", "seconds"} <= set(entry)
    assert entry["gain"] <= entry["upper_bound"] + 1e-9
    (planned,) = json.loads(plan.read_text())["plans"]
    assert len(planned["decisions"]) == 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "absent.yaml"], ["absent.yaml", "readable file"]),
        (["simulate", "SMALL", "--schedulers", "nope"], ["'nope'", "greedy"]),
        (["simulate", "SMALL", "--schedulers", "gredy"], ["did you mean greedy?"]),
        (["simulate", "SMALL", "--sceduler", "greedy"], ["--sceduler", "Did you mean --schedulers"]),
        (["simulte", "SMALL"], ["Did you mean 'simulate'?"]),
        (["study", "deadlines", "--out", "TMP"], ["ablation, all, real", "did you mean deadline?"]),
        (["simulate", "SMALL", "--schedulers", "fixed:9,9"], ["no option (exit 9, partition 9)"]),
        (["simulate", "SMALL", "--schedulers", "greedy edgent"], ["'greedy edgent'", "commas between"]),
        (["simulate", "SMALL", "--seeds", "0"], ["--seeds: got '0', expected greater than or equal to 1"]),
        (["simulate", "SMALL", "--seeds", "1.5"], ["--seeds: got '1.5', expected a whole number"]),
        (["solve", "SMALL", "--time-limit", "nan"], ["--time-limit: got 'nan', expected greater than or equal to 0"]),
        (["solve", "SMALL", "--time-limit", "5s"], ["--time-limit: got '5s', expected a number"]),
        (["edge", "a.hasten", "--queue", "lifo"], ["--queue: got 'lifo', expected one of 'deadline', 'fifo'"]),
        (["edge", "--port", "0"], ["packages: got []", "one package or more"]),
        (["edge", "TINY", "--host", "192.0.2.1", "--port", "0"], ["host: got '192.0.2.1'", "of this machine"]),
        (["web", "--run", "SMALL"], ["small.yaml", "no line here tells of a task"]),
        (["web", "--run", "LOG", "--at", "192.0.2.1:0", "--token-file", "TOKEN"], ["host: got '192.0.2.1'"]),
        (["device", "TINY", "--deadline-ms", "80ms"], ["--deadline-ms: got '80ms', expected a number"]),
        (["device", "TINY", "--deadline-ms", "80", "--source", "SMALL"], ["small.yaml", "(no arrays in it)"]),
        (["simulate"], ["SCENARIO.yaml"]),
        (["solve", "SMALL", "--json", "/proc/none/x.json"], ["/proc/none/x.json", "--json", "writable"]),
        (["solve", "SMALL", "--plan", "TMP"], ["--plan", "writable", "Is a directory"]),
        (["solve", "SMALL", "--plan", "-", "--json", "-"], ["--plan", "another place than that of --json"]),
        (["simulate", "SMALL", "--json", "TMP"], ["--json", "Is a directory"]),
        (["train", "SMALL", "-o", "TMP"], ["--output", "Is a directory"]),
        (["train", "SMALL", "-o", "TMP/p.onnx", "--checkpoint", "TMP"], ["--checkpoint", "Is a directory"]),
        (["train", "SMALL", "-o", "TMP/p.onnx", "--tensorboard", "SMALL"], ["--tensorboard", "writable folder"]),
        (["build", "m:f", "--exits", "a", "--data", "digits", "-o", "TMP"], ["--output", "Is a directory"]),
        (["profile", "absent.hasten", "--as", "edge", "-o", "TMP"], ["--output", "Is a directory"]),
        (["demo", "--out", "SMALL"], ["--out", "writable folder"]),
        (["run", "SMALL", "--json", "TMP"], ["--json", "Is a directory"]),
        (["run", "SMALL", "--out", "SMALL"], ["--out", "writable folder"]),
        (["conform", "SMALL", "--out", "SMALL"], ["--out", "writable folder"]),
        (["study", "deadline", "--out", "SMALL"], ["--out", "writable folder"]),
        (["study", "deadline", "--out", "TMP", "--docs", "SMALL/docs"], ["--docs", "writable folder"]),
        (["device", "absent.hasten", "--edge", "h:1", "--deadline-ms", "5", "--log", "TMP"], ["--log"]),
        (["inspect", "absent.hasten"], ["absent.hasten"]),
        (["verify", "SMALL"], ["small.yaml"]),
        (["profile", "absent.hasten", "--as", "router", "-o", "p.json"], ["router", "device"]),
        (["run", "SMALL", "--schedulers", "greedy"], ["profile", ".hasten"]),
        (["conform", "SMALL"], ["profile", "alexnet-pi", ".hasten"]),
        (["conform", "SMALL", "--schedulers", "greedy,nope"], ["'nope'", "greedy"]),
        (["conform", "absent.yaml"], ["absent.yaml", "readable file"]),
        (["edge", "absent.hasten"], ["absent.hasten"]),
        (["device", "absent.hasten", "--edge", "h:1", "--deadline-ms", "5"], ["absent.hasten"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_two(
    arguments: list[str],
    words: list[str],
    small: Path,
    tmp_path: Path,
    hasten: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text("a token that is long enough")
    places = {
        "SMALL": small, "TMP": tmp_path, "TINY": OLD / "tiny.hasten", "LOG": OLD / "tasks.jsonl",
        "TOKEN": tmp_path / "token",
    }  # fmt: skip
    for name, path in places.items():
        arguments = [word.replace(name, str(path)) for word in arguments]
    assert hasten(*arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0, said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    "command",
    ["demo", "build", "inspect", "verify", "profile", "simulate", "solve", "run", "conform", "edge", "device"],
)
def test_every_command_has_help_with_an_example(
    command: str, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hasten(command, "--help") == 0
    assert f"Example: hasten {command}" in " ".join(capsys.readouterr().out.split())


def test_every_scheduler_is_listed_in_the_docs() -> None:
    page = (ROOT / "docs" / "schedulers.md").read_text()
    for name in scheduler_names():
        assert f"`{name}`" in page or f"`{name}:" in page, name


def test_a_device_imports_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; sys.modules['numba'] = sys.modules['gymnasium'] = None; import hasten, hasten.runtime.device.command, hasten.schedulers.greedy, hasten.schedulers.learned, hasten.split.executor; "
        "heavy = {'torch', 'onnx', 'scipy', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules); "
        "print(heavy); sys.exit(len(heavy))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture
def small_training(quick_training: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little to learn from: what a training ends with does not matter."""
    few = partial(train, runs=2, tasks=40, batches=1, demonstrations=200)
    monkeypatch.setattr("hasten.learn.command.train", few)


@pytest.mark.usefixtures("small_training")
@pytest.mark.parametrize("values", ["backlogs", "actions"])
def test_train_writes_a_policy_that_simulate_takes(
    small: Path, tmp_path: Path, hasten: Callable[..., int], values: str
) -> None:
    policy = tmp_path / "policy.onnx"
    assert hasten("train", small, "-o", policy, "--values", values, "--updates", 2) == 0
    assert hasten("simulate", small, "--schedulers", f"policy:{policy}") == 0


@pytest.mark.usefixtures("small_training")
def test_a_policy_trained_on_devices_views_says_so_and_one_that_is_not_is_told_of(
    small: Path, tmp_path: Path, hasten: Callable[..., int], recwarn: pytest.WarningsRecorder
) -> None:
    devices = tmp_path / "devices.yaml"
    devices.write_text(small.read_text() + "\nview: {kind: device}\n")
    for scenario, kind in ((small, "fresh"), (devices, "device")):
        policy = tmp_path / f"{kind}.onnx"
        assert hasten("train", scenario, "-o", policy, "--init", "none", "--updates", 2) == 0
        assert load_policy(policy).manifest.view == kind
        assert hasten("simulate", devices, "--schedulers", f"greedy,policy:{policy}", "--seeds", 2) == 0
    told = {str(warning.message).split(":")[0] for warning in recwarn if "fresh views" in str(warning.message)}
    assert told == {str(tmp_path / "fresh.onnx")}


def test_the_version_is_shown_by_every_way_in(hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    import hasten as hs

    assert hasten("--version") == 0
    assert capsys.readouterr().out == f"hasten {hs.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "hasten", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"hasten {hs.__version__}\n"


def test_hasten_alone_shows_its_help(hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hasten() == 2
    said = capsys.readouterr()
    assert "simulate" in said.out
    assert said.err == ""


def test_a_scheduler_named_twice_runs_once(
    small: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hasten("simulate", small, "--schedulers", "greedy,fixed:1,1,greedy,fixed:1,1", "--json", "-") == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [entry["scheduler"] for entry in results] == ["greedy", "fixed:1,1"]


def test_a_gain_beyond_all_measure_is_refused(
    small: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    small.write_text(small.read_text() + "gain: {kind: tradeoff, lambda: 1.0e+308}\n")
    assert hasten("simulate", small, "--schedulers", "greedy", "--json", "-") == 2
    assert "gain.lambda" in capsys.readouterr().err


def test_a_data_folder_that_does_not_exist_is_named(
    small: Path,
    tmp_path: Path,
    hasten: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path / "absent"))
    monkeypatch.chdir(tmp_path)
    data = yaml.safe_load(small.read_text())
    data["uplink"]["rate"] = {"kind": "trace", "file": "nofile"}
    small.write_text(yaml.safe_dump(data))
    assert hasten("simulate", small) == 2
    assert f"HASTEN_DATA is {tmp_path / 'absent'}, which is no folder" in capsys.readouterr().err


def test_a_dead_link_gives_no_warnings(
    small: Path, hasten: Callable[..., int], recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small_search in {"DECISIONS": 60, "RUNS": 2, "ROUNDS": 2}.items():
        monkeypatch.setattr(f"hasten.schedulers.priced_values.{name}", small_search)
    data = yaml.safe_load(small.read_text())
    data["uplink"]["rate"] = {"kind": "constant", "mbps": 0.0}
    small.write_text(yaml.safe_dump(data))
    assert hasten("simulate", small, "--schedulers", "priced") == 0
    assert [str(warning.message) for warning in recwarn if warning.category is RuntimeWarning] == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("hasten sim", ["simulate"]), ("hasten train --in", ["--init"]), ("hasten train --replay u", ["uniform"])],
)
def test_a_shell_completes_commands_options_and_choices(typed, offered):
    words = typed.split()
    asked = {"_HASTEN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from hasten.cli import main; import sys; sys.argv = ['hasten']; main()"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == offered
