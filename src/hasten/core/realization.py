"""A realization: everything random about one run, fixed beforehand, so that all schedulers meet the very same tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.noise import Noise
from hasten.core.rates import RateTrace

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Realization:
    """Everything random about one run. Tasks are in order of arrival (ties: stream order)."""

    seed: int
    arrival_ms: FloatArray
    """(N,)"""
    stream: IntArray
    """(N,): index of each task's stream."""
    rates: tuple[RateTrace, ...]
    """One trace for a shared uplink, one for each stream otherwise; of several edges one after the other, as
    ``Scenario.links`` says."""
    rate_factor: FloatArray
    """(N,): what the estimated rate at each decision is multiplied by."""
    noise: Noise | None = None
    """How tasks' times turn out, where they are not those of the profiles."""
    ease: FloatArray | None = None
    """(N,): how easy each task is, 0 (easiest) to 1, where they may stop early: it stops at the first exit up to which
    a larger share of tasks does."""

    @property
    def tasks(self) -> int:
        """Number of tasks N."""
        return len(self.arrival_ms)

    def rates_of(self, links: IntArray) -> tuple[RateTrace, ...]:
        """The rates of the ways to one edge, by a row (M,) of ``Scenario.links``: one if it is shared."""
        return self.rates[int(links.min()) : int(links.max()) + 1]

    def part(self, tasks: slice) -> Realization:
        """Some consecutive tasks, at their own times."""
        return replace(
            self,
            arrival_ms=self.arrival_ms[tasks],
            stream=self.stream[tasks],
            rate_factor=self.rate_factor[tasks],
            noise=None if self.noise is None else self.noise.part(tasks),
            ease=None if self.ease is None else self.ease[tasks],
        )


def rate_errors(rate_error: float, tasks: int, seed: int) -> FloatArray:
    """(N,): lognormal factors on estimated rates; ``rate_error`` is the standard deviation of their logarithm."""
    if rate_error == 0:
        return np.ones(tasks)
    return np.exp(rate_error * np.random.default_rng([seed, 2]).standard_normal(tasks))
