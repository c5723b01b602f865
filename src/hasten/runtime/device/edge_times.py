"""How much longer (or shorter) the edge really takes than its profile says, learnt from the times in its answers.

An answer's time beyond the profiled one is put down to a constant and to a factor, in proportion to how uncertain each
is beforehand: of short services mostly to the constant, of long ones to the factor. Both are medians over the last
answers, so that a worker that hangs once changes nothing and a slower machine is known after a few answers.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from hasten.runtime.wire.tasks import EdgeAnswer

KEPT = 7
"""Answers remembered."""
CONSTANT_MS, FACTOR = 10.0, 1.0
"""Uncertainty beforehand: of what every service takes longer, and of the factor on its profiled time."""
LEAST_SHARE = 0.2
"""No service is taken to be shorter than this share of its profile."""
NEGLIGIBLE_MS, NEGLIGIBLE_SHARE = 0.5, 0.05
"""A difference below this is a profile's own error."""


class EdgeTimes:
    """The correction of profiled service times.

    Attributes:
        extra_ms: what every service takes longer.
        factor: on the profiled time.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Believe the profile, as of an edge that was never heard."""
        # The profile counts like one answer, so that a first surprise alone is not believed.
        self._seen: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=KEPT)
        self.extra_ms, self.factor = 0.0, 1.0

    @property
    def slower(self) -> bool:
        """Whether the edge is believed to be slower than profiled."""
        return self.extra_ms > 0 or self.factor > 1.0

    def service_ms(self, profiled_ms: float) -> float:
        """What a service profiled at ``profiled_ms`` is believed to take."""
        return max(self.extra_ms + self.factor * profiled_ms, LEAST_SHARE * profiled_ms)

    def answered(self, profiled_ms: float, answer: EdgeAnswer) -> None:
        """Learn from the times in an answer to a task whose service was profiled at ``profiled_ms``."""
        self._learn(profiled_ms, answer.service_ms - profiled_ms)

    def _learn(self, profiled_ms: float, beyond_ms: float) -> None:
        if abs(beyond_ms) <= NEGLIGIBLE_MS + NEGLIGIBLE_SHARE * profiled_ms:
            beyond_ms = 0.0
        of_factor = (FACTOR * profiled_ms) ** 2
        share = of_factor / (of_factor + CONSTANT_MS**2)
        factor = share * beyond_ms / profiled_ms if profiled_ms > 0 else 0.0
        self._seen.append(((1.0 - share) * beyond_ms, factor))
        self.extra_ms = median(extra_ms for extra_ms, _ in self._seen)
        self.factor = max(1.0 + median(factor for _, factor in self._seen), LEAST_SHARE)
