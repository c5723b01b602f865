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


def test_a_transfer_within_what_a_pings_bits_take_says_little():
    """On a link of 4 bits/ms a ping's bits took 40 ms of the round trip; it got faster, so that nothing is left."""
    steady = estimators.rate_after(4.0, 0.0, 100.0, 350.0, 1000.0)
    assert steady == pytest.approx(4.0)
    rate = estimators.rate_after(4.0, 0.0, 100.0, 80.0, 1000.0)
    assert 4.0 < rate < 4.0 + 0.3 * 1000.0 / 60.0  # 20 ms less than nothing
    assert estimators.rate_after(400.0, 0.0, 100.0, 102.0, 1000.0) == pytest.approx(400.0 + 0.3 * 100.0 * 2.0 / 2.7)


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


@compiled
def foresee(load, residual_ms, workers):
    return (
        estimators.worker_free(100.0, 30.0, 115.0, load, workers),
        estimators.unseen_wait(load, residual_ms, workers),
    )


@pytest.mark.parametrize("backlog_ms", [0.0, 3.0, 30.0])
@pytest.mark.parametrize(("load", "workers"), [(0.0, 1), (0.4, 1), (1.5, 2), (3.0, 1)])
def test_a_reported_backlog_shrinks_step_by_step(backlog_ms, load, workers):
    """Small steps in which work comes and is done."""
    step_ms, left_ms = 0.001, backlog_ms
    for _ in range(15_000):
        left_ms = max(left_ms + step_ms * min(load / workers, 1.0) - step_ms, 0.0)
    free_ms = estimators.worker_free(100.0, backlog_ms, 115.0, load, workers)
    assert free_ms - 115.0 == pytest.approx(left_ms, abs=0.01)


def test_without_others_nothing_is_foreseen():
    assert estimators.worker_free(100.1, 30.3, 115.0, 0.0, 1) == 100.1 + 30.3  # to the bit
    assert estimators.unseen_wait(0.0, 0.0, 1) == 0.0


@pytest.mark.parametrize(("load", "workers", "tolerance"), [(0.3, 1, 0.05), (0.7, 1, 0.05), (1.4, 2, 0.1)])
def test_the_unseen_wait_is_that_of_a_queue_played_task_by_task(load, workers, tolerance):
    rng = np.random.default_rng(0)
    work_ms = rng.choice([5.0, 25.0], 300_000)
    arrival_ms = np.cumsum(rng.exponential(work_ms.mean() / load, len(work_ms)))
    free_ms, waits_ms = [0.0] * workers, []
    for at_ms, needs_ms in zip(arrival_ms.tolist(), work_ms.tolist(), strict=True):
        first = free_ms.index(min(free_ms))
        start_ms = max(at_ms, free_ms[first])
        waits_ms.append(start_ms - at_ms)
        free_ms[first] = start_ms + needs_ms
    residual_ms = 0.5 * load / work_ms.mean() * np.mean(work_ms**2)
    assert estimators.unseen_wait(load, residual_ms, workers) == pytest.approx(np.mean(waits_ms), rel=tolerance)


def test_a_forecast_is_bounded_and_the_same_when_compiled():
    most_ms = estimators.unseen_wait(5.0, 50.0, 1)
    assert most_ms == pytest.approx(10.0 * estimators.MOST_BUSY / (1.0 - estimators.MOST_BUSY))
    for load, workers in ((0.0, 1), (0.6, 1), (5.0, 1), (1.1, 2)):
        assert foresee(load, 8.0, workers) == foresee.py_func(load, 8.0, workers)
