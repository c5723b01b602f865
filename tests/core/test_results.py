"""What a result says of its tasks, worked out by hand for five."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.results import Result, result_document

LATENCY_MS = np.array([40.0, 80.0, 80.5, np.inf, np.inf])
"""In time, just in time, just late, cancelled on the way, dropped at the decision."""


def result(**more) -> Result:
    arrival_ms = np.arange(5) * 10.0
    return Result(
        scheduler="greedy",
        seed=7,
        arrival_ms=arrival_ms,
        stream=np.zeros(5, np.int64),
        decisions=np.array([[1, 0], [2, 3], [2, 3], [2, 0], [0, 0]]),
        finish_ms=arrival_ms + LATENCY_MS,
        deadline_ms=np.full(5, 80.0),
        accuracy=np.array([0.5, 0.75, 0.75, 0.0, 0.0]),
        gain=np.array([0.5, 0.75, 0.0, 0.0, 0.0]),
        uplink_bytes=1234.0,
        **more,
    )


def test_every_task_has_exactly_one_outcome():
    found = result()
    assert found.on_time.tolist() == [True, True, False, False, False]
    assert found.late.tolist() == [False, False, True, True, False]
    assert found.dropped.tolist() == [False, False, False, False, True]


def test_the_summary_counts_them():
    entry = result().summary()
    assert entry["on_time_accuracy"] == pytest.approx((0.5 + 0.75) / 5)
    assert entry["on_time_rate"] == pytest.approx(0.4)
    assert entry["accuracy_when_on_time"] == pytest.approx(0.625)
    assert (entry["tasks"], entry["late"], entry["dropped"], entry["uplink_bytes"]) == (5, 2, 1, 1234.0)
    assert entry["latency_ms"]["p50"] == 80.0 and entry["latency_ms"]["mean"] == pytest.approx(200.5 / 3)
    assert entry["exit_share"] == {"0": 0.2, "1": 0.2, "2": 0.6}
    assert entry["partition_share"] == {"0": 0.5, "3": 0.5}
    assert not {"measured_on_time_accuracy", "device_energy_mj_per_task", "notes"} & entry.keys()


def test_what_was_measured_is_told_beside_what_was_expected():
    found = result(
        correct=np.array([1.0, 0.0, 1.0, 0.0, 0.0]),
        answered_exit=np.array([1, 1, 2, 0, 0]),
        energy_mj=np.array([1.0, 2.0, 3.0, 4.0, 0.0]),
        notes={"fallback": 1},
    )
    entry = found.summary()
    assert found.measured_on_time_accuracy == entry["measured_on_time_accuracy"] == 0.2
    assert entry["measured_accuracy_when_on_time"] == 0.5
    assert entry["exit_share"] == {"0": 0.4, "1": 0.4, "2": 0.2}
    assert entry["device_energy_mj_per_task"] == 2.0 and entry["notes"] == {"fallback": 1}


def test_a_run_without_tasks_has_a_summary():
    none = np.zeros(0)
    empty = Result("greedy", 0, none, none.astype(int), np.zeros((0, 2), int), none, none, none, none, 0.0)
    entry = empty.summary()
    assert entry["on_time_accuracy"] == entry["on_time_rate"] == 0.0
    assert entry["latency_ms"] == {"mean": None, "p50": None, "p95": None, "p99": None}


def test_a_document_names_schema_and_scenario():
    document = result_document("three cameras", [result()], runtime={"link": "relay"})
    assert document["schema"] == "hasten.result/1" and document["scenario"] == "three cameras"
    assert document["runtime"] == {"link": "relay"} and document["results"] == [result().summary()]
