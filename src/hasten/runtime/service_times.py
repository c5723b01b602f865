"""How long segments really take: their profile, corrected by what was measured of them and of the others.

What a service takes beyond its profile is put down to a constant and to a factor, which all segments share, in
proportion to how uncertain each is beforehand: of short services mostly to the constant, of long ones to the factor.
Both are medians over the last services, so that one that hangs once changes nothing and a slower machine is known after
a few. Where a segment was measured often enough itself, its own median takes over from the shared correction, the more
the more of its measurements are recent (shrinkage); they are forgotten as others are measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

KEPT = 7
"""Measurements remembered, of all segments and of each."""
CONSTANT_MS, FACTOR = 10.0, 1.0
"""Uncertainty beforehand: of what every service takes longer, and of the factor on its profiled time."""
LEAST_SHARE = 0.2
"""No service is taken to be shorter than this share of its profile."""
NEGLIGIBLE_MS, NEGLIGIBLE_SHARE = 0.5, 0.05
"""A difference below this is a profile's own error: the profile is planned with."""
LEAST_OWN, HALF_KNOWN = 3, 0.1
"""A segment's own median counts from so many measurements on; with this much evidence it counts as half."""
FORGOTTEN_CALLS = 10
"""A measurement counts half after so many of other segments."""
TOLD_FACTOR, TOLD_MS = 1.15, 1.0
"""A segment that differs from its profile by more than both is worth a word."""

Segment = tuple[int, int]
"""From which partition to which exit; exit 0 is a prefix: blocks 1..partition."""
FloatArray = NDArray[np.float64]


class ServiceTimes:
    """The correction of profiled service times.

    Attributes:
        extra_ms: what every service takes longer.
        factor: on the profiled time.
        version: changes with every measurement.
    """

    def __init__(self) -> None:
        self.version = 0
        self.forget()

    def forget(self) -> None:
        """Believe the profile, as of a machine that was never heard of."""
        # The profile counts like one measurement, so that a first surprise alone is not believed.
        self._shared: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=KEPT)
        self._own: dict[Segment, deque[tuple[int, float]]] = {}
        self._calls = 0
        self.extra_ms, self.factor = 0.0, 1.0
        self.version += 1

    def measured(self, segment: Segment, profiled_ms: float, took_ms: float) -> None:
        """A service profiled at ``profiled_ms`` took ``took_ms``."""
        beyond_ms = took_ms - profiled_ms
        if abs(beyond_ms) <= NEGLIGIBLE_MS + NEGLIGIBLE_SHARE * profiled_ms:
            beyond_ms = 0.0
        of_factor = (FACTOR * profiled_ms) ** 2
        share = of_factor / (of_factor + CONSTANT_MS**2)
        factor = share * beyond_ms / profiled_ms if profiled_ms > 0 else 0.0
        self._shared.append(((1.0 - share) * beyond_ms, factor))
        self.extra_ms = median(extra_ms for extra_ms, _ in self._shared)
        self.factor = max(1.0 + median(factor for _, factor in self._shared), LEAST_SHARE)
        self._calls += 1
        self._own.setdefault(segment, deque(maxlen=KEPT)).append((self._calls, beyond_ms))
        self.version += 1

    def service_ms(self, segment: Segment, profiled_ms: float) -> float:
        """What a service profiled at ``profiled_ms`` is believed to take."""
        shared_ms = self.extra_ms + self.factor * profiled_ms
        own_ms, weight = self._known(segment)
        return max(shared_ms + weight * (profiled_ms + own_ms - shared_ms), LEAST_SHARE * profiled_ms)

    def corrected(self, profiled_ms: FloatArray, columns: Mapping[Segment, NDArray[np.int64]]) -> FloatArray:
        """What services (J,) are believed to take; ``columns`` says which of them are of which segment."""
        times = np.maximum(self.extra_ms + self.factor * profiled_ms, LEAST_SHARE * profiled_ms)
        for segment in self._own:
            for j in columns.get(segment, ()):
                times[j] = self.service_ms(segment, float(profiled_ms[j]))
        return times

    def calls(self, segment: Segment | None = None) -> int:
        """How often anything, or this segment, was measured; of the latter as far as is remembered."""
        return self._calls if segment is None else len(self._own.get(segment, ()))

    def departs(self, segment: Segment, profiled_ms: float) -> bool:
        """Whether a segment that was measured differs from its profile by so much that it is worth a word."""
        if self.calls(segment) < LEAST_OWN:
            return False
        measured_ms = self.service_ms(segment, profiled_ms)
        low, high = sorted((measured_ms, profiled_ms))
        return high - low > TOLD_MS and high > TOLD_FACTOR * low

    def _known(self, segment: Segment) -> tuple[float, float]:
        """A segment's own median beyond its profile, and how much that counts."""
        own = self._own.get(segment, ())
        if len(own) < LEAST_OWN:
            return 0.0, 0.0
        evidence = sum(0.5 ** ((self._calls - call) / FORGOTTEN_CALLS) for call, _ in own)
        return median(beyond_ms for _, beyond_ms in own), evidence / (evidence + HALF_KNOWN)
