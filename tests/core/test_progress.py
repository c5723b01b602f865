"""Progress of long calls: at a terminal, in a notebook, and nowhere else; one bar at a time."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import contextmanager

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import hasten as hs
from hasten.core import progress

SCENARIO = {
    "schema": "hasten.scenario/1",
    "streams": [
        {"name": "a", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 9}}
    ],
    "uplink": {"topology": "shared", "order": "grant", "rtt_ms": 0, "rate": {"kind": "constant", "mbps": 10}},
    "edge": {"workers": 1, "slowdown": 4.0},
    "tasks_per_stream": 100,
    "noise": "profile",
}
COUNTING = """
from hasten.core import progress
progress.DELAY_S = progress.EVERY_S = 0.01
with progress.shown("starting") as tell:
    for done in range(3):
        tell("counting <b>", done / 4)
        {then}
"""


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, where somebody looks on from the very start."""
    seen = []

    @contextmanager
    def place():
        yield lambda what, done: seen.append((what, done))

    monkeypatch.setattr(progress, "_place", lambda: place)
    monkeypatch.setattr(progress, "DELAY_S", -1.0)
    monkeypatch.setattr(progress, "EVERY_S", 60.0)
    monkeypatch.setattr(progress.threading, "Event", AfterTheFirst)
    return seen


class AfterTheFirst(progress.threading.Event().__class__):
    """An event that is waited for in vain at first, however soon the work ends."""

    def wait(self, timeout=None):
        return super().wait(timeout) if timeout is None or timeout >= 0 else False


def test_what_is_told_last_is_drawn_last_and_whole(drawn):
    with progress.shown("starting") as tell:
        tell("counting", 0.25)
    assert drawn[-1] == ("counting", 1.0)


def test_what_failed_is_not_drawn_as_whole(drawn):
    with pytest.raises(ValueError), progress.shown("starting") as tell:
        tell("counting", 0.25)
        raise ValueError
    assert drawn[-1] == ("counting", 0.25)


def test_what_is_called_within_draws_nothing(drawn):
    with progress.shown("outer") as tell, progress.shown("inner") as inner:
        inner("inner", 0.5)
        tell("outer", 0.75)
    with progress.alone(), progress.shown("inner") as inner:
        inner("inner", 0.5)
    assert drawn[-1] == ("outer", 1.0)
    assert not any(what == "inner" for what, _ in drawn)


def test_plans_are_shown(drawn):
    scenario = hs.scenario_from(SCENARIO)  # refused, so that nothing is compiled for it
    with pytest.raises(hs.InputError, match="noise"):
        hs.solve_offline(scenario)
    assert drawn == [("solving: plan and bound", None)]


def test_nothing_is_shown_where_nobody_looks_on(monkeypatch):
    assert progress._place() is None  # pytest reads what is written
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    assert progress._place() is progress._notebook
    monkeypatch.setattr(progress.multiprocessing, "parent_process", lambda: "a worker's parent")
    assert progress._place() is None


def test_at_a_terminal_a_line_comes_and_goes():
    ours, theirs = pty.openpty()
    code = COUNTING.format(then="__import__('time').sleep(0.2)")
    done = subprocess.run(
        [sys.executable, "-c", code],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
        check=True,
    )
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "counting <b>" in said
    assert done.stdout == b""
    assert said.endswith("\x1b[2K")  # the line is empty again


def test_a_notebook_keeps_what_was_done_and_what_was_cut_short():
    from nbclient import NotebookClient

    whole, cut = COUNTING.format(then="__import__('time').sleep(0.2)"), COUNTING.format(then="tell.nothing")
    notebook = new_notebook(cells=[new_code_cell(whole), new_code_cell(cut.replace("tell.nothing", "1 / (1 - done)"))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(notebook, timeout=100, allow_errors=True).execute()
    (bar,) = notebook.cells[0].outputs
    assert bar.data["text/html"].startswith('<progress value="1.000"></progress>')
    assert bar.data["text/html"].endswith("counting &lt;b&gt;")
    assert bar.data["text/plain"].startswith("counting <b> ██████████████████████████████ 0:0")
    nbformat.validate(notebook)
    assert notebook.cells[1].outputs[-1].ename == "ZeroDivisionError"


def test_the_first_run_says_why_it_takes_longer(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    monkeypatch.setattr("hasten.core.compiled.cache_folder", lambda: folder)
    assert progress.compiling_first("simulating greedy").startswith("simulating greedy (compiling")
    folder.mkdir()
    assert progress.compiling_first("simulating greedy") == "simulating greedy"
