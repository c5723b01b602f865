"""What a task costs beyond its services, its transfer and the round trip: as profiled, until it is measured here."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

KEPT, PROFILE_COUNTS = 15, 3
"""So many measurements are remembered; the profile counts like so many."""
NEGLIGIBLE_MS = 0.25
"""A difference below this is a profile's own error."""
MOST_OFFLOAD_MS = 5.0
"""What takes so much longer than profiled is no handling: the link has changed."""


class Overhead:
    """A median over the last tasks.

    Either of every task: waking up, deciding, handing over between threads. Or of an offloaded one, beyond its
    transfer, a ping's round trip and its time at the edge.

    Attributes:
        ms: as believed now.
        profiled_ms: by the profile.
    """

    def __init__(self, profiled_ms: float, most_beyond_ms: float = math.inf) -> None:
        self.profiled_ms, self._most_ms = profiled_ms, profiled_ms + most_beyond_ms
        self.forget()

    def forget(self) -> None:
        """Believe the profile."""
        self._measured = deque([self.profiled_ms] * PROFILE_COUNTS, maxlen=KEPT)
        self.ms = self.profiled_ms

    def took(self, took_ms: float) -> None:
        """A task that found nothing in its way took so much longer than all that is counted apart."""
        if took_ms <= self._most_ms:
            self._measured.append(max(took_ms, 0.0))
            found = median(self._measured)
            self.ms = found if abs(found - self.profiled_ms) > NEGLIGIBLE_MS else self.profiled_ms
