"""What can be known of a hidden arrival state: the belief of a two-state Markov-modulated Poisson process.

A scheduler sees when tasks arrive, not the state that brings them. The filter below is exact: between arrivals the
belief moves by the generator less the arrival rates, at an arrival it is weighted by each state's rate (Fischer and
Meier-Hellstern, "The Markov-modulated Poisson process (MMPP) cookbook", Performance Evaluation 18, 1993). A plain
Poisson process is the case of one state. Beliefs are given as the probability of the first state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_STATES = 2


class ModulatedArrivals:
    """Arrivals of ``rates_hz[i]`` in state ``i``, which lasts an exponential time of mean ``dwell_ms[i]``."""

    def __init__(self, rates_hz: Sequence[float], dwell_ms: Sequence[float]) -> None:
        if not 1 <= len(rates_hz) <= MAX_STATES:
            raise ValueError(f"one or two states, not {len(rates_hz)}")
        self.states = len(rates_hz)
        self._rate_per_ms = np.asarray(rates_hz, dtype=np.float64) / 1000.0
        leaving = 1.0 / np.asarray(dwell_ms, dtype=np.float64) if self.states > 1 else np.zeros(1)
        moving = np.roll(np.diag(leaving), 1, axis=1) - np.diag(leaving)
        # The generator less the arrival rates: exp of it over a time is the density of "no arrival meanwhile".
        # Of a cycle of two states its eigenvalues are real and apart; one part decays slowly, the other faster.
        decay, basis = np.linalg.eig(moving - np.diag(self._rate_per_ms))
        order = np.argsort(-decay)
        basis = basis[:, order]
        inverse = np.linalg.inv(basis)
        self._slow_decay = float(decay[order[0]])
        self._more_decay = float(decay[order[-1]] - decay[order[0]])
        self._slow = basis[:, :1] @ inverse[:1]
        self._fast = basis[:, 1:] @ inverse[1:]
        self._share = leaving[::-1] / leaving.sum() if self.states > 1 else np.ones(1)

    def first(self) -> float:
        """The belief at an arrival of which nothing earlier is known."""
        weight = self._share * self._rate_per_ms
        return float(weight[0] / weight.sum())

    def quiet(self, belief: FloatArray, gap_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability that a gap is at least ``gap_ms``, and the belief then; arguments and results (B,)."""
        first, second = self._no_arrival(belief, gap_ms)
        total = first + second
        return total * np.exp(self._slow_decay * gap_ms), first / total

    def arrived(self, belief: FloatArray, gap_ms: FloatArray) -> FloatArray:
        """The belief (B,) at the next arrival, ``gap_ms`` (B,) after the one at which it was ``belief`` (B,).

        A gap of 0 out of a state that brings no arrivals cannot be, and has no belief (NaN).
        """
        if self.states == 1:
            return np.ones(len(belief))
        first, second = self._no_arrival(belief, gap_ms)
        first, second = self._rate_per_ms[0] * first, self._rate_per_ms[1] * second
        share: FloatArray = first / (first + second)
        return share

    def _no_arrival(self, belief: FloatArray, gap_ms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Densities (B,) of both states after a gap without arrivals, scaled so that long gaps do not underflow."""
        if self.states == 1:
            return np.ones(len(belief)), np.zeros(len(belief))
        fading = np.exp(self._more_decay * gap_ms)
        other = 1.0 - belief
        slow, fast = self._slow, self._fast
        first = belief * (slow[0, 0] + fast[0, 0] * fading) + other * (slow[1, 0] + fast[1, 0] * fading)
        second = belief * (slow[0, 1] + fast[0, 1] * fading) + other * (slow[1, 1] + fast[1, 1] * fading)
        return np.maximum(first, 0.0), np.maximum(second, 0.0)
