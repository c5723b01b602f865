"""An edge's page: its own counters, by device."""

from __future__ import annotations

import time

import numpy as np
import pytest
from shared import built_once
from tiny_package import build_tiny

import hasten as hs
from hasten.web.edge import EdgeWatch


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return built_once(tmp_path_factory, "tiny", build_tiny)


def until(update, met):
    """Apply updates until a condition holds of rows, totals and series so far."""
    rows, until_s = {}, time.monotonic() + 10.0
    while time.monotonic() < until_s:
        found = update()
        rows |= dict(found["rows"])
        if found.get("total") and met(rows, found["total"]):
            return rows, found
        time.sleep(0.05)
    raise AssertionError(rows)


def test_tasks_are_counted_by_device(package):
    frame = np.zeros((1, 32, 32), np.uint8)
    with hs.Edge([package.path], port=0) as edge, EdgeWatch() as watch:
        watch.begin(edge._edge.server)
        watch.hear("edge: a line for its operator")
        updates = watch.updates("edge", -1)
        options = {"edge": edge.address, "scheduler": "edge-only:deepest", "deadline_ms": 5000}
        with hs.Device(package.path, **options) as device:
            for _ in range(5):
                assert device.infer(frame).ran_on == "edge"
            rows, found = until(updates.update, lambda rows, total: rows and rows[0]["tasks"] >= 5)
            assert rows[0]["address"].startswith("127.0.0.1:")
            assert (rows[0]["late"], rows[0]["refused"], rows[0]["connected"]) == (0, 0, True)
            assert rows[0]["wait_p95_ms"] is not None
            assert found["total"]["answered"] >= 5
            assert (found["total"]["devices"], found["total"]["workers"]) == (1, 1)
        rows, _ = until(updates.update, lambda rows, total: rows and not rows[0]["connected"])
        fresh = watch.updates("edge", -1).update()
        assert [event["text"] for event in fresh["events"]] == ["edge: a line for its operator"]
        times = fresh["series"]["at_ms"]
        assert times == sorted(times)
        assert all(len(values) == len(times) for name, values in fresh["series"].items() if name != "from_ms")
