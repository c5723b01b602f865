"""The task log `hasten.tasks/1`: what the runtime writes is what the learner reads, and nothing else."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from hasten.core.calibration import NODES
from hasten.core.errors import InputError
from hasten.core.task_log import TASKS_SCHEMA, Facts, LoggedTask, Seen, SeenEdge, parse_task
from hasten.learn.logs import read_tasks
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Task
from hasten.runtime.outputs import ExitAnswer

FACTS = Facts(
    plan=1, from_ms=0.0, rtt_ms=2.5, workers=2, edge_slowdown=1.0, slowdown=1.0, rate_hz=10.0, stream=0, streams=3,
    shared_uplink=True, gain_terms=(0.0, 0.5, 10.0), energy_weight_per_mj=0.0,
)  # fmt: skip
SEEN = Seen(
    now_ms=1 / 3, device_wait_ms=2 / 3, uplink_wait_ms=0.1, edge_wait_ms=(0.0, 1e-9), rate_bits_per_ms=1e4, rtt_ms=2.5
)
FOR_PEOPLE = {
    "schema", "sample", "label", "predicted_ms", "promised", "decision_us", "note", "parts", "bytes", "outcome", "reason",
    "answered_partition", "class", "confidence", "correct", "score",
    "edge", "answered_by",
}  # fmt: skip


def ended(number: int) -> Task:
    task = Task(number, Arrival(10.0, 7, [np.zeros((1, 2))], 4), 110.0, 80.0, 190.0)
    task.seen, task.facts, task.option, task.exit, task.partition = SEEN, FACTS, 3, 2, 1
    task.answer(150.0, 1, ExitAnswer(4, 0.75, {}, 2))
    return task


def test_what_the_runtime_writes_is_what_the_learner_reads(tmp_path):
    log = TaskLog(tmp_path / "log.jsonl")
    for number in (1, 0):
        log.write(ended(number).record(100.0))
    log.close()
    first, second = read_tasks(tmp_path / "log.jsonl")
    assert (first.task, second.task) == (0, 1)
    assert (first.seen, first.facts) == (SEEN, FACTS)  # to the last bit
    assert first == LoggedTask(
        task=0, arrival_ms=10.0, sample=7, label=4, option=3, exit=2, partition=1, decision_us=0.0, seen=SEEN, facts=FACTS,
        parts={}, bytes=0, outcome="on_time", reason="answered", fallback=None, latency_ms=40.0, deadline_ms=80.0,
        answered_exit=2, answered_partition=1, class_index=4, confidence=0.75, correct=True,
    )  # fmt: skip
    assert replace(first, task=1) == second


def test_every_line_names_the_schema_and_has_every_field():
    line = ended(0).record(100.0)
    assert line["schema"] == TASKS_SCHEMA == "hasten.tasks/1"
    named = {"class" if field.name == "class_index" else field.name for field in fields(LoggedTask)}
    assert set(line) == named
    assert set(line["seen"]) == {field.name for field in fields(Seen)}
    assert set(line["facts"]) == {field.name for field in fields(Facts)}


def test_what_was_seen_of_further_edges_is_read_again():
    curve = tuple(np.linspace(0.0, 1.0, NODES))
    task, further = ended(0), SeenEdge(1 / 3, (0.1, 2 / 3), 1e4, 30.0, curve)
    task.edge, task.answered_by = 1, "192.0.2.8:7700"
    task.seen, task.facts = replace(SEEN, further_edges=(further,)), replace(FACTS, further_edge_slowdowns=(2.0,))
    read = parse_task(json.dumps(task.record(100.0)), "log:1")
    assert (read.seen, read.facts) == (task.seen, task.facts)
    assert (read.edge, read.answered_by) == (1, "192.0.2.8:7700")


def test_a_line_of_before_is_read_and_what_is_new_is_passed_over():
    line = ended(0).record(100.0)
    before = {key: value for key, value in line.items() if key not in FOR_PEOPLE}
    assert parse_task(json.dumps(before | {"colour": "red"}), "log:1").seen == SEEN


@pytest.mark.parametrize("name", sorted(set(ended(0).record(100.0)) - FOR_PEOPLE))
def test_no_field_that_is_needed_may_be_missing(name):
    line = ended(0).record(100.0)
    del line[name]
    with pytest.raises(InputError, match=f"log:1: {name}: .*present"):
        parse_task(json.dumps(line), "log:1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "hasten.tasks/2"}, r"schema: got 'hasten\.tasks/2', expected .*hasten\.tasks/1"),
        ({"schema": None}, r"schema: got None, expected .*hasten\.tasks/1"),
        ({"task": True}, "task: got True"),
        ({"task": "3"}, "task: got '3'"),
        ({"task": 3.0}, "task: got 3.0"),
        ({"option": -2}, "option: got -2"),
        ({"deadline_ms": 0}, "deadline_ms: got 0"),
        ({"class": "cat"}, "class: got 'cat'"),
    ],
)
def test_another_schema_and_wrong_fields_are_refused_by_name(tmp_path, change, says):
    good = json.dumps(ended(0).record(100.0))
    (tmp_path / "log.jsonl").write_text(f"{good}\n{json.dumps(ended(1).record(100.0) | change)}\n")
    with pytest.raises(InputError, match=rf"log\.jsonl:2: {says}") as caught:
        read_tasks(tmp_path / "log.jsonl")
    assert "\n" not in str(caught.value)
