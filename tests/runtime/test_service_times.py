"""What is made of measured service times, without any machine."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.runtime.service_times import ServiceTimes


def measure(times: ServiceTimes, segment: tuple[int, int], profiled_ms: float, took_ms: float, often: int) -> None:
    for _ in range(often):
        times.measured(segment, profiled_ms, took_ms)


def test_a_difference_within_the_profiles_error_changes_nothing():
    times = ServiceTimes()
    measure(times, (0, 1), 40.0, 42.4, 20)  # 0.5 ms and 5 %
    assert times.service_ms((0, 1), 40.0) == 40.0 and not times.departs((0, 1), 40.0)


def test_others_share_a_slower_machine_until_they_are_measured():
    times = ServiceTimes()
    measure(times, (0, 1), 100.0, 150.0, 10)
    assert times.service_ms((0, 1), 100.0) == pytest.approx(150.0, rel=0.01)
    assert 70.0 < times.service_ms((0, 2), 50.0) < 80.0  # mostly a factor, a little of a constant
    measure(times, (0, 2), 50.0, 50.0, 10)
    assert times.service_ms((0, 2), 50.0) == pytest.approx(50.0, rel=0.02)
    assert times.service_ms((0, 1), 100.0) == pytest.approx(150.0, rel=0.05)


def test_one_service_that_hangs_changes_nothing():
    times = ServiceTimes()
    measure(times, (0, 1), 20.0, 20.0, 4)
    times.measured((0, 1), 20.0, 9000.0)
    assert times.service_ms((0, 1), 20.0) == 20.0
    times.measured((0, 2), 30.0, 9000.0)
    assert times.service_ms((0, 2), 30.0) == 30.0


def test_a_segments_own_times_are_forgotten_as_others_are_measured():
    times = ServiceTimes()
    measure(times, (0, 1), 20.0, 60.0, 7)
    measure(times, (0, 2), 20.0, 20.0, 7)
    assert times.service_ms((0, 1), 20.0) > 55.0
    measure(times, (0, 2), 20.0, 20.0, 200)
    assert times.service_ms((0, 1), 20.0) == pytest.approx(20.0, abs=0.1)


def test_all_options_at_once_are_corrected_as_one_by_one():
    times = ServiceTimes()
    measure(times, (0, 1), 20.0, 60.0, 5)
    measure(times, (1, 1), 10.0, 12.0, 5)
    profiled_ms = np.array([20.0, 10.0, 35.0])
    columns = {(0, 1): np.array([0]), (1, 1): np.array([1]), (0, 2): np.array([2])}
    found = times.corrected(profiled_ms, columns)
    assert found.tolist() == [times.service_ms(s, profiled_ms[j[0]]) for s, j in columns.items()]


def test_a_slower_segment_is_worth_a_word_once_it_was_measured_three_times():
    times = ServiceTimes()
    measure(times, (0, 1), 10.0, 20.0, 2)
    assert not times.departs((0, 1), 10.0)
    times.measured((0, 1), 10.0, 20.0)
    assert times.departs((0, 1), 10.0)
    assert not times.departs((0, 2), 10.0)  # never measured


def test_the_edge_is_begun_anew():
    times = ServiceTimes()
    measure(times, (0, 1), 20.0, 60.0, 7)
    before = times.version
    times.forget()
    assert times.service_ms((0, 1), 20.0) == 20.0 and times.calls() == 0 and times.version > before
