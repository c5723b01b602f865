"""A logged task as the page shows it."""

from __future__ import annotations

import pytest
from web_logs import logged

from hasten.core.calibration import NODES
from hasten.core.task_log import logged_task
from hasten.web.tasks import shown_task


def shown(accuracy=None, **more):
    latency_ms = more.pop("latency_ms", 50.0)
    return shown_task(logged_task(logged(7, 1000.0, latency_ms, **more), "log"), accuracy or {})


def test_an_answered_task():
    task = shown()
    assert (task.ended_ms, task.outcome, task.place) == (1050.0, "on_time", "split")
    assert (task.exit, task.partition) == (2, 1)
    assert (task.rate_mbps, task.device_wait_ms, task.uplink_wait_ms, task.edge_wait_ms) == (5.0, 4.0, 2.0, 1.0)
    assert task.stages[1:3] == (("device", 20.0), ("encode", 1.0))


@pytest.mark.parametrize(
    ("more", "worth", "measured"),
    [
        ({}, 1.0, True),
        ({"correct": False}, 0.0, True),
        ({"outcome": "late", "latency_ms": 120.0}, 0.0, True),
        ({"latency_ms": None}, 0.0, True),
        ({"label": None, "correct": None}, 0.8, False),
        ({"label": None, "correct": None, "outcome": "late"}, 0.0, False),
        ({"label": None, "correct": None, "answered_exit": 1, "answered_partition": 1}, None, False),
    ],
)
def test_worth_is_measured_where_the_label_is_known_else_expected(more, worth, measured):
    task = shown({(2, 1): 0.8}, **more)
    assert (task.worth, task.measured) == (worth, measured)


@pytest.mark.parametrize(
    ("reason", "ended_ms"),
    [("expired", 1000.0), ("scheduler", 1000.0), ("cancelled_edge", 1100.0), ("no_answer", 1100.0)],
)
def test_what_has_no_answer_ends_at_its_decision_or_at_its_deadline(reason, ended_ms):
    assert shown(latency_ms=None, reason=reason).ended_ms == ended_ms


def test_where_a_task_ran():
    assert shown(parts={"wake": 1.0, "device": 20.0}, answered_partition=2).place == "device"
    assert shown(answered_partition=0).place == "edge"
    assert shown(latency_ms=None, exit=0, partition=0, option=-1).place == "none"
    assert shown(latency_ms=None, exit=0, partition=0, option=-1).promised is None


def test_the_edge_that_answered_is_named_where_there_are_several():
    one = logged(0, 0.0, 50.0)["seen"]
    further = {"uplink_wait_ms": 0.0, "edge_wait_ms": [0.0], "rate_bits_per_ms": 1.0, "rtt_ms": 1.0}
    two = one | {"further_edges": [further | {"kept_share": [1.0] * NODES}]}
    assert shown(answered_by="west").edge is None
    assert shown(seen=two, answered_by="west").edge == "west"


def test_what_the_device_computed_beside_the_edge_is_not_drawn_in_the_way():
    parts = {"device": 60.0, "uplink": 20.0, "edge": 10.0}
    assert shown(parts=parts, latency_ms=50.0).stages == (("device", 20.0), ("uplink", 20.0), ("edge", 10.0))
