"""What commands write: whole or not at all, and what cannot be written is one line."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from hasten.cli.output import show
from hasten.cli.tables import result_table


def test_a_plan_goes_to_standard_output_and_the_table_does_not(
    small: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hasten("solve", small, "--plan", "-") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["schema"] == "hasten.plan/1"
    assert "upper bound" in said.err


def test_an_older_result_survives_a_full_disk(
    small: Path, tmp_path: Path, hasten: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "r.json"
    target.write_text("{}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        assert hasten("simulate", small, "--schedulers", "greedy", "--json", target) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in capsys.readouterr().err
    assert target.read_text() == "{}"


@pytest.mark.parametrize("target", ["table", "--json"])
def test_a_full_standard_output_is_one_line_and_exit_code_two(small: Path, target: str) -> None:
    code = "import sys; from hasten.cli.output import show, write_json; from hasten.cli.app import app, main\n"
    code += "@app.command()\ndef spill() -> None:\n"
    if target == "table":
        code += "    from hasten.cli.tables import make_console; show(make_console(), 'table')\n"
    else:
        code += "    write_json('-', {'schema': 'x'})\n"
    code += "sys.argv = ['hasten', 'spill']; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr == "hasten: standard output cannot be written: No space left on device\n"


def test_shares_of_edges_are_shown_where_there_is_room_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "scheduler": "greedy", "seed": 0, "tasks": 3, "on_time_accuracy": 0.7, "on_time_rate": 0.9,
        "latency_ms": {"mean": 60.0, "p50": 61.2, "p95": 78.5, "p99": 79.6}, "dropped": 0, "late": 0,
        "exit_share": {"3": 1.0}, "partition_share": {"0": 1.0}, "uplink_bytes": 9e3,
    }  # fmt: skip
    runs = [entry | {"seed": seed, "edge_share": {"west": west, "east": 0.4}} for seed, west in ((0, 0.2), (1, 0.6))]
    for width, shown in ((150, True), (80, False)):
        show(Console(width=width), result_table({"results": runs}, "title", width))
        assert ("west:40% east:40%" in capsys.readouterr().out) == shown


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 150, 180])
def test_numbers_are_shown_in_full_or_not_at_all(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "scheduler": "device-only:deepest", "seed": 0, "tasks": 300, "on_time_accuracy": 0.7291, "on_time_rate": 0.97,
        "latency_ms": {"mean": 60.0, "p50": 61.2, "p95": 78.5, "p99": 79.6}, "dropped": 9, "late": 0,
        "exit_share": {"1": 0.07, "2": 0.28, "3": 0.65}, "partition_share": {"0": 0.5, "3": 0.5}, "uplink_bytes": 9e6,
    }  # fmt: skip
    show(Console(width=width), result_table({"results": [entry]}, "title", width))
    said = capsys.readouterr().out
    assert "0.729" in said
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= width
