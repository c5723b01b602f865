"""The filter of a hidden arrival state against small steps of its definition."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.schedulers.modulated import ModulatedArrivals

RATES_HZ, DWELL_MS = (5.0, 40.0), (300.0, 700.0)
CHAINS = [(RATES_HZ, DWELL_MS), ((0.0, 60.0), (300.0, 200.0)), ((10.0, 10.0), (50.0, 50.0))]


def slowly(belief: float, gap_ms: float, rates_hz: tuple[float, ...], dwell_ms: tuple[float, ...]) -> np.ndarray:
    """Chance of each state without an arrival during the gap, in tiny steps of the chain."""
    steps = 10_000
    step = gap_ms / steps
    density = np.array([belief, 1.0 - belief])
    for _ in range(steps):
        moved = density * step / np.array(dwell_ms)
        density = density - moved + moved[::-1] - density * step * np.array(rates_hz) / 1000.0
    return density


@pytest.mark.parametrize(("rates_hz", "dwell_ms"), CHAINS)
@pytest.mark.parametrize("gap_ms", [1.0, 80.0, 900.0])
def test_belief_follows_the_chain(rates_hz: tuple[float, ...], dwell_ms: tuple[float, ...], gap_ms: float) -> None:
    arrivals = ModulatedArrivals(rates_hz, dwell_ms)
    for belief in (0.0, 0.3, 1.0):
        density = slowly(belief, gap_ms, rates_hz, dwell_ms)
        chance, quiet = arrivals.quiet(np.array([belief]), np.array([gap_ms]))
        assert chance[0] == pytest.approx(density.sum(), rel=1e-2)
        assert quiet[0] == pytest.approx(density[0] / density.sum(), abs=2e-3)
        weighted = density * np.array(rates_hz)
        arrived = arrivals.arrived(np.array([belief]), np.array([gap_ms]))
        assert arrived[0] == pytest.approx(weighted[0] / weighted.sum(), abs=2e-3)


def test_very_long_gaps_do_not_underflow() -> None:
    arrivals = ModulatedArrivals(RATES_HZ, DWELL_MS)
    beliefs = arrivals.arrived(np.array([0.2, 0.2]), np.array([1e4, 1e9]))
    assert np.all((beliefs > 0) & (beliefs < 1))
    assert beliefs[0] == pytest.approx(beliefs[1])


def test_first_belief_weighs_states_by_the_arrivals_they_bring() -> None:
    busy, calm = 40.0 * 700.0, 5.0 * 300.0
    assert ModulatedArrivals(RATES_HZ, DWELL_MS).first() == pytest.approx(calm / (calm + busy))


def test_one_state_is_a_poisson_process() -> None:
    arrivals = ModulatedArrivals((20.0,), (1.0,))
    chance, belief = arrivals.quiet(np.ones(1), np.array([50.0]))
    assert chance[0] == pytest.approx(np.exp(-1.0))
    assert belief[0] == arrivals.first() == 1.0


def test_more_states_are_refused() -> None:
    with pytest.raises(ValueError, match="one or two"):
        ModulatedArrivals((1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
