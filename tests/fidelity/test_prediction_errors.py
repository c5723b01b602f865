"""Matching the tasks of two results and the errors that follow, on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hasten.core.errors import HastenError
from hasten.core.results import Result
from hasten.fidelity.prediction_errors import conformance

DROPPED = (0, 0)


def result(decisions, latency_ms, **changes):
    """Five tasks of two streams, 100 ms apart, due after 50 and 100 ms; exits 1 and 2 are right 0.5 and 0.8 of the time."""
    decisions = np.array(decisions)
    arrival_ms, stream = np.arange(5) * 100.0, np.array([0, 1, 0, 1, 0])
    accuracy = np.array([0.0, 0.5, 0.8])[decisions[:, 0]]
    fields = {
        "scheduler": "greedy",
        "seed": 3,
        "arrival_ms": arrival_ms,
        "stream": stream,
        "decisions": decisions,
        "finish_ms": arrival_ms + np.array(latency_ms),
        "deadline_ms": np.where(stream == 0, 50.0, 100.0),
        "accuracy": accuracy,
        "gain": accuracy,
        "uplink_bytes": 0.0,
    }
    return Result(**(fields | changes))


SIMULATED = result([(1, 0), (2, 1), (2, 2), DROPPED, (1, 1)], [20.0, 60.0, 40.0, np.inf, 30.0])
REAL = result([(1, 0), (2, 1), (1, 0), DROPPED, (1, 1)], [22.0, 56.0, 30.0, np.inf, 60.0], notes={"fallback_lost": 1})


def test_runs_stand_side_by_side():
    entry = conformance(SIMULATED, REAL)
    assert (entry["scheduler"], entry["seed"], entry["tasks"]) == ("greedy", 3, 5)
    assert entry["simulated"]["on_time_accuracy"] == pytest.approx((0.5 + 0.8 + 0.8 + 0.5) / 5)
    assert entry["real"]["on_time_accuracy"] == pytest.approx((0.5 + 0.8 + 0.5) / 5)
    difference = entry["difference"]
    assert difference["on_time_accuracy"] == pytest.approx(-0.8 / 5)
    assert difference["on_time_rate"] == pytest.approx(-0.2)
    assert (difference["dropped"], difference["late"]) == (0, 1)
    assert difference["latency_ms"]["mean"] == pytest.approx((22 + 56 + 30 + 60 - 20 - 60 - 40 - 30) / 4)
    assert difference["latency_ms"]["p50"] == pytest.approx(43.0 - 35.0)
    assert difference["exit_share"] == pytest.approx({"0": 0.0, "1": 0.2, "2": -0.2})
    assert difference["partition_share"] == pytest.approx({"0": 0.25, "1": 0.0, "2": -0.25})
    assert entry["notes"] == {"fallback_lost": 1}


def test_of_several_edges_the_same_decision_is_for_the_same_one():
    def at(run, *edge):
        share = {"west": edge.count(0) / 5, "east": edge.count(1) / 5}
        return replace(run, edge=np.array(edge), edge_share=share)

    entry = conformance(at(SIMULATED, 1, 0, 0, 0, 0), at(REAL, 0, 0, 1, 0, 0))
    assert entry["same_decision_share"] == pytest.approx(3 / 5) and entry["latency_error"]["tasks"] == 2
    assert entry["difference"]["edge_share"] == {"west": 0.0, "east": 0.0}
    assert entry["real"]["edge_share"] == {"west": 0.8, "east": 0.2}
    assert "edge_share" not in conformance(SIMULATED, REAL)["difference"]


def test_errors_are_those_of_tasks_decided_alike():
    entry = conformance(SIMULATED, REAL)
    assert entry["same_decision_share"] == pytest.approx(4 / 5)
    error, ms, share = entry["latency_error"], np.array([2.0, -4.0, 30.0]), np.array([0.04, -0.04, 0.6])
    assert error["tasks"] == 3
    for found, errors in ((error["ms"], ms), (error["share_of_deadline"], share)):
        assert found["median"] == pytest.approx(np.median(errors))
        assert [found["p5"], found["p95"]] == pytest.approx(np.percentile(errors, [5, 95]).tolist())
        assert found["mean_absolute"] == pytest.approx(np.abs(errors).mean())


def test_a_task_that_another_exit_answered_has_no_error():
    fell_back = replace(REAL, answered_exit=np.array([1, 1, 1, 0, 1]))
    assert conformance(SIMULATED, fell_back)["latency_error"]["tasks"] == 2


def test_without_answers_there_is_nothing_to_compare():
    nothing = result([DROPPED] * 5, [np.inf] * 5)
    entry = conformance(SIMULATED, nothing)
    assert entry["same_decision_share"] == pytest.approx(1 / 5)
    assert entry["difference"]["latency_ms"] == {"mean": None, "p50": None, "p95": None}
    assert entry["latency_error"]["tasks"] == 0
    assert set(entry["latency_error"]["ms"].values()) == {None}


def test_different_tasks_are_refused():
    with pytest.raises(HastenError, match="greedy, seed 3: simulated and real tasks are not the same"):
        conformance(SIMULATED, replace(REAL, arrival_ms=REAL.arrival_ms + 1.0))
