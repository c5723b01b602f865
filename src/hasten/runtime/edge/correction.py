"""How much longer an edge's services take than profiled: a ratio that all segments share, and one for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

WEIGHT = 0.1
"""Weight of the newest measurement in a running ratio of measured to profiled service times."""
RANGE = (0.2, 5.0)
FADES_MS = 10_000.0
"""Without measurements a ratio goes back to 1, so that an edge that was slow once is tried again."""
Segment = tuple[bytes, int, int]
"""Package, cut and exit."""
HALF_KNOWN = 2.0
"""With so many measurements a segment's own ratio counts as much as the shared one."""


@dataclass(slots=True)
class _Ratio:
    value: float = 1.0
    at_ms: float = 0.0
    measurements: int = 0

    def now(self, now: float) -> float:
        return 1.0 + (self.value - 1.0) * math.exp((self.at_ms - now) / FADES_MS)

    def follow(self, ratio: float, weight: float, now: float) -> None:
        before = self.now(now)
        self.value, self.at_ms = before + weight * (ratio - before), now
        self.measurements += 1


class ServiceCorrection:
    """Follows ratios of measured to profiled times; all times are the edge's clock in milliseconds."""

    def __init__(self) -> None:
        self._shared = _Ratio()
        self._own: dict[Segment, _Ratio] = {}

    def ratio(self, segment: Segment, now: float) -> float:
        """How many times its profiled time a segment is believed to take."""
        shared, own = self._shared.now(now), self._own.get(segment)
        if own is None:
            return shared
        return shared + own.measurements / (own.measurements + HALF_KNOWN) * (own.now(now) - shared)

    def measured(self, segment: Segment, profiled_ms: float, took_ms: float, now: float) -> None:
        """A service took so long."""
        if profiled_ms <= 0.0:
            return
        ratio = min(max(took_ms / profiled_ms, RANGE[0]), RANGE[1])
        self._shared.follow(ratio, WEIGHT, now)
        own = self._own.setdefault(segment, _Ratio())
        own.follow(ratio, max(WEIGHT, 1.0 / (own.measurements + 1)), now)

    def forget(self, package: bytes) -> None:
        """A package is not run any more."""
        self._own = {segment: own for segment, own in self._own.items() if segment[0] != package}
