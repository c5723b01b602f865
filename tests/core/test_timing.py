"""The timing law and the rate integral against slow, obvious versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from hasten.core import gain, timing
from hasten.core.rates import rate_trace


@njit
def compiled_transfer_end(start, bits, from_ms, bits_per_ms, sent_bits, period_ms):  # type: ignore[no-untyped-def]
    return timing.transfer_end(start, bits, from_ms, bits_per_ms, sent_bits, period_ms)


def walk(start_ms: float, bits: float, steps: list[tuple[float, float]], periodic: bool) -> float:
    """Send bit by bit through (duration, rate) steps; the last holds for ever when not periodic."""
    now, i, left = 0.0, 0, bits
    if not any(rate > 0 for _, rate in steps):
        return np.inf
    for _ in range(100_000):
        duration, rate = steps[i % len(steps)]
        last = not periodic and i == len(steps) - 1
        end = np.inf if last else now + duration
        begin = max(now, start_ms)
        if begin < end:
            if rate > 0 and left <= (end - begin) * rate:
                return begin + left / rate
            if last:
                return np.inf
            left -= (end - begin) * rate
        now, i = end, i + 1
    return np.inf


steps_strategy = st.lists(
    st.tuples(st.floats(1.0, 50.0), st.sampled_from([0.0, 0.5, 1.0, 7.0, 100.0])), min_size=1, max_size=6
)


@settings(max_examples=400, deadline=None)
@given(steps_strategy, st.floats(0, 300), st.floats(0.1, 5000), st.booleans())
def test_a_transfer_ends_when_the_integral_reaches_its_size(
    steps: list[tuple[float, float]], start_ms: float, bits: float, periodic: bool
) -> None:
    durations, rates = np.array(steps).T
    from_ms = np.concatenate([[0.0], np.cumsum(durations)[:-1]])
    trace = rate_trace(from_ms, rates, float(durations.sum()) if periodic else np.inf)
    got = trace.transfer_end(start_ms, bits)
    # Where the rate is zero just when the size is reached, rounding decides on which side of the gap a sum falls.
    soonest, latest = (walk(start_ms, bits * size, steps, periodic) for size in (1 - 1e-11, 1 + 1e-11))
    assert soonest * (1 - 1e-9) - 1e-6 <= got <= latest * (1 + 1e-9) + 1e-6
    arrays = (trace.from_ms, trace.bits_per_ms, trace.sent_bits, trace.period_ms)
    assert compiled_transfer_end(start_ms, bits, *arrays) == pytest.approx(got, rel=1e-12) or got == np.inf
    assert trace.transfer_end(start_ms + 1.0, bits) >= got - 1e-6  # first in, first out


def test_a_transfer_that_fills_whole_periods_does_not_wait_for_the_next_burst() -> None:
    dark_ms, burst_ms = 1.0 + 47.005833781458406, 32.32051520769175
    trace = rate_trace(np.array([0.0, dark_ms]), np.array([0.0, 0.5]), dark_ms + burst_ms)
    for periods in (1, 2, 3, 7):
        filled = trace.transfer_end(0.0, periods * burst_ms * 0.5)
        assert filled == pytest.approx(periods * (dark_ms + burst_ms), rel=1e-9)


def test_a_transfer_of_nothing_takes_no_time() -> None:
    assert rate_trace(np.zeros(1), np.zeros(1)).transfer_end(5.0, 0.0) == 5.0


def test_a_link_without_rate_never_ends_a_transfer() -> None:
    assert rate_trace(np.zeros(1), np.zeros(1)).transfer_end(5.0, 1.0) == np.inf
    assert rate_trace(np.array([0.0, 10.0]), np.array([1.0, 0.0])).transfer_end(5.0, 6.0) == np.inf


def test_predicted_latency_of_an_idle_system_is_the_sum_of_its_parts() -> None:
    latency = timing.predict_latency(0.0, 0.0, 0.0, 10.0, 5000.0, 7.0, 1000.0, 20.0)
    assert latency == pytest.approx(10.0 + 5.0 + 20.0 + 7.0)
    assert timing.predict_latency(3.0, 99.0, 99.0, 10.0, 0.0, 0.0, 1000.0, 20.0) == pytest.approx(13.0)


def test_each_stage_waits_for_its_own_backlog() -> None:
    # device free at 4, ready at 14; uplink free at 30, sent at 35, arrives 36; edge free at 50, ends 57, back 58
    assert timing.predict_latency(4.0, 30.0, 50.0, 10.0, 5000.0, 7.0, 1000.0, 2.0) == pytest.approx(58.0)


@pytest.mark.parametrize(
    ("terms", "latency", "expected"),
    [
        ((0.0, 0.0, 0.0), 100.0, 0.8),
        ((0.0, 0.0, 0.0), 100.0000001, 0.8),
        ((0.0, 0.0, 0.0), 100.1, 0.0),
        ((0.0, 0.0, 0.0), np.inf, 0.0),
        ((0.2, -0.1, 0.0), 50.0, 0.8 - 0.2 * 0.5),
        ((0.2, -0.1, 0.0), 101.0, -0.1),
        ((0.0, 0.0, 0.5), 125.0, 0.4),
        ((0.0, 0.0, 0.5), 151.0, 0.0),
    ],
)
def test_gain(terms: tuple[float, float, float], latency: float, expected: float) -> None:
    assert gain.task_gain(0.8, latency, 100.0, *terms) == pytest.approx(expected)
