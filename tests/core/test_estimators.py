"""What a device believes: the law in plain Python, against obvious definitions, and the same when compiled."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest

from hasten.core import estimators, ping_schedule
from hasten.core.compiled import compiled


@compiled
def project_two(workers, free_ms, ready_ms, rate, reported_ms, now_ms, due_ms):
    held = estimators.hold_up(workers, 0, due_ms, now_ms)
    for i in range(len(ready_ms)):
        free_ms = estimators.project_frame(workers, free_ms, ready_ms[i], 100.0 / rate, 7.0, 4.0, reported_ms)
    return free_ms, held


@compiled
def believe(rate, updated_ms, start_ms, end_ms, bits, trips, received_ms):
    return (
        estimators.rate_after(rate, updated_ms, start_ms, end_ms, bits),
        estimators.median_of(trips, len(trips)),
        estimators.outdated_pings(received_ms, len(received_ms), 5000.0),
        ping_schedule.probe_padding_bytes(rate),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 10])
def test_median_is_that_of_the_standard_library(count):
    values = np.random.default_rng(count).integers(0, 6, count).astype(float).tolist()
    assert estimators.median_of([*values, 99.0], count) == median(values)


@pytest.mark.parametrize(
    ("received_ms", "outdated"),
    [
        ([], 0),
        ([0.0, 1.0], 0),  # with the newest there are no more than three, however old
        ([0.0, 1.0, 2.0], 1),
        ([0.0, 1.0, 4000.0, 4001.0], 2),
        ([4000.0 + i for i in range(9)], 1),  # ten would be more than are kept
    ],
)
def test_pings_that_are_old_or_too_many_are_outdated(received_ms, outdated):
    assert estimators.outdated_pings(received_ms, len(received_ms), 5000.0) == outdated


def test_a_frame_that_the_edge_has_for_too_long_holds_a_worker_up_for_as_long_again():
    workers = [110.0, 120.0]
    assert estimators.hold_up(workers, 0, 95.0, 100.0) == 0 or workers[0] == 110.0
    assert workers == [110.0, 120.0]  # 5 ms overdue: until 105, and the worker is busy for longer anyway
    assert estimators.hold_up(workers, 1, 60.0, 100.0) == 1
    assert workers == [110.0, 140.0]
    assert estimators.hold_up(workers, 2, 0.0, 100.0) == 0  # there is no third worker
    assert estimators.hold_up(workers, 0, 101.0, 100.0) == 0  # not due yet
    assert workers == [110.0, 140.0]


def test_a_frame_takes_the_worker_that_is_free_first_unless_the_report_counted_it():
    workers = [130.0, 100.0]
    assert estimators.project_frame(workers, 90.0, 80.0, 10.0, 7.0, 4.0, 50.0) == 100.0
    assert workers == [130.0, 109.0]  # there at 102, then 7 ms
    assert estimators.project_frame(workers, 10.0, 20.0, 10.0, 7.0, 4.0, 50.0) == 30.0
    assert workers == [130.0, 109.0]  # there at 32, before the report of 50


def test_an_unanswered_frame_bounds_the_rate():
    assert estimators.rate_bound(10.0, 500.0, 70.0, 50.0) == 50.0
    assert estimators.rate_bound(10.0, 500.0, 60.0, 50.0) == math.inf


def test_compiled_and_interpreted_law_agree():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ready_ms, workers = np.sort(rng.uniform(0, 100, 4)), np.sort(rng.uniform(50, 150, 3))
        given = 30.0, ready_ms, 12.5, 40.0, 100.0, rng.uniform(60, 110)
        plain, fast = workers.tolist(), workers.copy()
        assert project_two.py_func(plain, *given) == project_two(fast, *given)
        assert plain == fast.tolist()
        link = (
            rng.uniform(0, 100),
            50.0,
            60.0,
            rng.uniform(60, 900),
            5000.0,
            rng.uniform(1, 9, 6),
            rng.uniform(0, 5e3, 9),
        )
        assert believe.py_func(*link) == pytest.approx(believe(*link), rel=1e-15)
