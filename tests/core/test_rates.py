"""Finding the step of a rate trace: near or far, the same as a walk from the start."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.rates import rate_trace
from hasten.core.timing import step_at


def irregular(rng, steps, periodic):
    from_ms = np.concatenate([[0.0], np.cumsum(rng.exponential(10, steps - 1) ** 2)])
    bits = rng.uniform(10, 1000, steps) * (rng.random(steps) < 0.4)
    return rate_trace(from_ms, bits, float(from_ms[-1] + 5) if periodic else np.inf)


@pytest.mark.parametrize("seed", range(20))
def test_the_step_in_force_is_the_last_that_has_begun(seed):
    rng = np.random.default_rng(seed)
    trace = irregular(rng, int(rng.integers(2, 300)), periodic=False)
    end = trace.from_ms[-1] * 1.2
    for offset in [0.0, *trace.from_ms.tolist(), *rng.uniform(0, end, 50).tolist()]:
        begun = [i for i, start in enumerate(trace.from_ms) if start <= offset]
        assert step_at(offset, trace.from_ms) == begun[-1]


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_a_transfer_ends_where_the_integral_reaches_its_size(seed, periodic):
    rng = np.random.default_rng(seed)
    trace = irregular(rng, int(rng.integers(2, 300)), periodic)
    one = float(trace.sent_bits[-1]) + 1.0
    for size in rng.uniform(1, one * (3 if periodic else 1), 40):
        start = float(rng.uniform(0, trace.from_ms[-1]))
        end = trace.transfer_end(start, float(size))
        if np.isinf(end):
            assert not periodic or not trace.bits_per_ms.any()
            assert sent(trace, start, start + 1e9) < size
        else:
            assert sent(trace, start, end) == pytest.approx(size, rel=1e-6, abs=1e-3)
            assert sent(trace, start, end - 1e-3 * (1 + end - start)) < size  # and not earlier


def sent(trace, start, end):
    """Integral of the rate from ``start`` to ``end``."""
    return sent_until(trace, end) - sent_until(trace, start)


def sent_until(trace, end):
    cycles = int(end // trace.period_ms) if np.isfinite(trace.period_ms) else 0
    starts, bits = trace.from_ms.tolist(), trace.bits_per_ms.tolist()
    ends = [*starts[1:], trace.period_ms]
    rest = end - cycles * trace.period_ms if cycles else end
    whole = sum(b * (t1 - t0) for b, t0, t1 in zip(bits, starts, ends, strict=True)) if cycles else 0.0
    return cycles * whole + sum(b * max(min(t1, rest) - t0, 0.0) for b, t0, t1 in zip(bits, starts, ends, strict=True))


def test_changes_come_again_with_each_period():
    trace = rate_trace(np.array([0.0, 1000.0]), np.array([1.0, 8.0]), 2000.0)
    expected = [(0.0, 1.0), (1000.0, 8.0), (2000.0, 1.0), (3000.0, 8.0), (4000.0, 1.0)]
    assert list(trace.changes(4500.0)) == expected
    assert [trace.at(at_ms) for at_ms, _ in expected] == [rate for _, rate in expected]
    assert list(rate_trace(np.zeros(1), np.array([5.0])).changes(1e9)) == [(0.0, 5.0)]
