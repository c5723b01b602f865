"""How much of an edge's time each device takes up, so that the others can be told, and shares are fair."""

from __future__ import annotations

import math

from hasten.core.estimators import FORECAST_MEMORY_MS, begun, faded


class CarriedWork:
    """Work that workers have begun lately, exponentially weighted; times are the edge's clock in ms.

    Attributes:
        waiting_ms: work of a device that waits,
        waiting: in so many tasks.
        within_ms: in how long its last task had to be answered when it came.
    """

    __slots__ = ("_at_ms", "_load", "_residual_ms", "waiting", "waiting_ms", "within_ms")

    def __init__(self) -> None:
        self.waiting_ms, self.waiting = 0.0, 0
        self.within_ms = math.inf
        self._load = self._residual_ms = 0.0
        self._at_ms = 0.0

    def began(self, work_ms: float, now_ms: float) -> None:
        """A task of so much work has begun."""
        (load, residual_ms), (more, more_ms) = self.lately(now_ms), begun(work_ms)
        self._load, self._residual_ms, self._at_ms = load + more, residual_ms + more_ms, now_ms

    def lately(self, now_ms: float) -> tuple[float, float]:
        """Load (ms per ms) and residual (ms), see :func:`hasten.core.estimators.begun`."""
        age_ms = now_ms - self._at_ms
        return faded(self._load, age_ms), faded(self._residual_ms, age_ms)

    def asked_ms(self, now_ms: float) -> float:
        """Work lately begun and work that waits."""
        return self.lately(now_ms)[0] * FORECAST_MEMORY_MS + self.waiting_ms


def others_work(of_all: CarriedWork, own: CarriedWork, now_ms: float) -> tuple[float, float]:
    """What :meth:`CarriedWork.lately` says of all but one device: exactly nothing where there is no other."""
    (load, residual_ms), (own_load, own_residual_ms) = of_all.lately(now_ms), own.lately(now_ms)
    return max(load - own_load, 0.0), max(residual_ms - own_residual_ms, 0.0)
