"""A task log on disks that are full or hang, and listeners that fail: tasks go on, and it is told once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from virtual_cases import run

from hasten.core.errors import InputError
from hasten.runtime.device import tasklog
from hasten.runtime.device.endings import Teller
from hasten.runtime.device.tasklog import TaskLog


def test_lines_are_written_as_they_come(tmp_path):
    log = TaskLog(tmp_path / "log.jsonl")
    for number in range(3):
        log.write({"task": number})
    log.close()
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"task": number} for number in range(3)
    ]
    assert log.records == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_the_log_and_nothing_else():
    log = TaskLog(Path("/dev/full"), keep=True)
    records, world = run(tasks=50, log=log)
    log.close()
    assert len(records) == 50 and all(record["outcome"] == "on_time" for record in records)
    assert [note for note in world.notes if "log" in note] == [
        "task log /dev/full: No space left on device; no more lines are written"
    ]


def test_a_disk_that_hangs_costs_lines_not_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(tasklog, "MOST_WAITING", 5)
    monkeypatch.setattr(tasklog, "CLOSING_S", 0.01)
    hangs = threading.Event()
    log = TaskLog(tmp_path / "log.jsonl")
    told = []
    log.on_trouble = told.append
    real = log._writer._file

    class Hanging:
        def write(self, text):
            hangs.wait(10)
            return real.write(text)

        def close(self):
            real.close()

    log._writer._file = Hanging()
    for number in range(50):
        log.write({"task": number})
    log.close()
    assert len(told) == 1 and "the disk is too slow; lines are left out" in told[0]
    hangs.set()
    log._writer._thread.join(5)


def test_a_log_that_cannot_be_opened_is_said_at_once(tmp_path):
    with pytest.raises(InputError, match=r"log: got 'log\.jsonl', expected a file that can be written"):
        TaskLog(tmp_path / "nowhere" / "log.jsonl")


def test_a_record_that_json_cannot_hold_is_left_out(tmp_path):
    log = TaskLog(tmp_path / "log.jsonl")
    told = []
    log.on_trouble = told.append
    log.write({"task": object()})
    log.write({"task": 1})
    log.close()
    assert len(told) == 1 and "a line is left out" in told[0]
    assert (tmp_path / "log.jsonl").read_text() == '{"task": 1}\n'


def test_listeners_that_fail_are_told_about_once_and_called_again():
    told, calls = [], []

    class Log(TaskLog):
        def write(self, record):
            super().write(record)
            raise RuntimeError("reporting thread is gone")

    log = Log(None, keep=True)
    records, world = run(tasks=30, log=log)
    assert len(records) == 30
    assert [note for note in world.notes if "log failed" in note] == [
        "log failed: RuntimeError: reporting thread is gone; tasks go on without it"
    ]

    def deaf(text):
        calls.append(text)
        raise BrokenPipeError

    teller = Teller(deaf)
    for text in ("a", "b"):
        teller.tell(text)
    assert calls == ["a"] and told == []


def test_a_callback_that_fails_loses_no_task():
    seen = []

    def setting(world):
        begin = world.agent._endings.begin

        def with_callback(start_ms, log, on_task):
            def fails(task):
                seen.append(task.number)
                raise ValueError("callback")

            begin(start_ms, log, fails)

        world.agent._endings.begin = with_callback

    records, world = run(setting, tasks=30)
    assert len(records) == len(seen) == 30
    assert sum("on_task failed: ValueError: callback" in note for note in world.notes) == 1
