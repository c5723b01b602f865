"""The order in which an edge serves, and which scenarios may ask for one."""

from __future__ import annotations

import pytest

from hasten.core.edge_order import QUEUES
from hasten.core.errors import InputError
from hasten.core.scenario import scenario_from


def scenario(order="ready", queue="deadline", **given):
    stream = {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 5}}
    data = {
        "schema": "hasten.scenario/1",
        "streams": [stream],
        "uplink": {"order": order, "rate": {"kind": "constant", "mbps": 10}},
        "edge": {"queue": queue},
        "tasks_per_stream": 5,
    }
    return scenario_from(data | given)


def test_turns_are_by_arrival_or_by_deadline():
    tasks = {"first": (1.0, 90.0), "urgent": (2.0, 30.0), "last": (3.0, 60.0)}
    served = {name: sorted(tasks, key=lambda task: by(*tasks[task])) for name, by in QUEUES.items()}
    assert served == {"fifo": ["first", "urgent", "last"], "deadline": ["urgent", "last", "first"]}


def test_an_edge_serves_as_they_came_unless_it_is_told_otherwise():
    assert scenario(edge={}).edge.queue == "fifo"
    assert scenario().edge.queue == "deadline"


@pytest.mark.parametrize("queue", ["lifo", "edf", True, None])
def test_other_orders_are_refused(queue):
    with pytest.raises(InputError, match=r"edge\.queue: got .*fifo.*deadline"):
        scenario(queue=queue)


@pytest.mark.parametrize("given", [{"order": "grant"}, {"view": {"age_ms": 5}}])
def test_where_the_order_of_service_is_not_free_or_not_known_it_is_refused(given):
    with pytest.raises(InputError, match="ready and no view"):
        scenario(**given)


def test_with_views_of_devices_the_order_is_ready_anyway():
    seen = scenario(order="grant", view={"kind": "device"})
    assert (seen.uplink.order, seen.edge.queue) == ("ready", "deadline")
