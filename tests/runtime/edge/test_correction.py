"""What an edge makes of services that do not keep to the profile."""

from __future__ import annotations

import pytest

from hasten.runtime.edge.correction import FADES_MS, RANGE, ServiceCorrection


def after(correction: ServiceCorrection, ratios: dict[str, float], times: int) -> float:
    """Measure each segment's ratio so often, 10 ms apart; returns when."""
    now = 0.0
    for _ in range(times):
        for segment, ratio in ratios.items():
            now += 10.0
            correction.measured(segment, 20.0, 20.0 * ratio, now)
    return now


def test_a_slower_machine_is_slower_for_every_segment():
    correction = ServiceCorrection()
    now = after(correction, {"a": 2.0}, 40)
    assert correction.ratio("a", now) == pytest.approx(2.0, abs=0.05)
    assert correction.ratio("never run", now) == pytest.approx(2.0, abs=0.05)


def test_one_slower_segment_is_known_from_the_others():
    correction = ServiceCorrection()
    now = after(correction, {"slow": 3.0, "a": 1.0, "b": 1.0, "c": 1.0}, 40)
    assert correction.ratio("slow", now) == pytest.approx(3.0, abs=0.2)
    assert correction.ratio("a", now) == pytest.approx(1.0, abs=0.05)


def test_what_was_slow_is_forgotten():
    correction = ServiceCorrection()
    now = after(correction, {"a": 4.0}, 40)
    assert correction.ratio("a", now + 6.0 * FADES_MS) == pytest.approx(1.0, abs=0.2)


def test_a_service_that_hangs_counts_no_more_than_the_range():
    correction = ServiceCorrection()
    correction.measured("a", 1.0, 1e6, 0.0)
    assert correction.ratio("a", 0.0) <= RANGE[1]
    correction.measured("nothing", 0.0, 5.0, 0.0)  # no profile, nothing to learn
    assert correction.ratio("nothing", 0.0) == correction.ratio("another", 0.0)
