"""SIGTERM and Ctrl-C: a command writes what it has finished, says so, and ends with 128 and the signal's number."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hasten.api import simulate_batch
from hasten.offline import solve_offline


def after(calls: int, work: Callable[..., Any], number: signal.Signals) -> Callable[..., Any]:
    """``work``, with a signal at the call that follows so many."""
    done = 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done > calls:
            signal.raise_signal(number)
        return work(*arguments)

    return interrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_simulate_writes_the_schedulers_that_are_finished(
    number: signal.Signals,
    code: int,
    small: Path,
    tmp_path: Path,
    hasten: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("hasten.api.simulate_batch", after(1, simulate_batch, number), raising=False)
    target = tmp_path / "r.json"
    assert hasten("simulate", small, "--schedulers", "greedy,edgent,neurosurgeon", "--json", target) == code
    document = json.loads(target.read_text())
    assert [entry["scheduler"] for entry in document["results"]] == ["greedy"]
    assert document["interrupted"] == number.name
    said = capsys.readouterr()
    assert f"ended by {number.name}" in said.out
    assert "Traceback" not in said.err


def test_solve_ends_with_the_seed_that_was_interrupted(
    small: Path,
    hasten: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: Any) -> Any:
        """As `solve_offline` does: Ctrl-C ends the search, the best plan so far is the result."""
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return solve_offline(*arguments)

    monkeypatch.setattr("hasten.offline.solve_offline", interrupted)
    assert hasten("solve", small, "--seeds", 3, "--json", "-") == 130
    document = json.loads(capsys.readouterr().out)
    assert [entry["seed"] for entry in document["results"]] == [0]
    assert document["interrupted"] == "SIGINT"


@pytest.mark.parametrize("command", ["simulate", "solve"])
def test_without_any_result_one_line_is_said_and_an_older_file_stays(
    command: str,
    small: Path,
    tmp_path: Path,
    hasten: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("hasten.api.simulate_batch", interrupted, raising=False)
    monkeypatch.setattr("hasten.offline.solve_offline", interrupted)
    target = tmp_path / "r.json"
    target.write_text("old")
    assert hasten(command, small, "--json", target) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "hasten: ended by SIGTERM"
    assert target.read_text() == "old"


def test_study_says_what_is_kept(
    tmp_path: Path,
    hasten: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("hasten.study.command.study", interrupted)
    assert hasten("study", "deadline", "--out", tmp_path / "st") == 143
    said = capsys.readouterr()
    assert "the same command continues" in said.out
    assert said.err.strip() == "hasten: ended by SIGTERM"


def test_errors_after_a_signal_do_not_change_the_exit_code(
    small: Path, hasten: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("fell over it") from None

    monkeypatch.setattr("hasten.offline.solve_offline", interrupted)
    assert hasten("solve", small) == 143
    assert "Traceback" not in capsys.readouterr().err
