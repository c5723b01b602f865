"""What a task costs beyond its services, its transfer and the round trip: as profiled, until it is measured here."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from hasten.core.estimators import NEGLIGIBLE_MS, OVERHEADS_KEPT, PROFILE_COUNTS


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
        self._measured = deque([self.profiled_ms] * PROFILE_COUNTS, maxlen=OVERHEADS_KEPT)
        self.ms = self.profiled_ms

    def took(self, took_ms: float) -> None:
        """A task that found nothing in its way took so much longer than all that is counted apart."""
        if took_ms <= self._most_ms:
            self._measured.append(max(took_ms, 0.0))
            found = median(self._measured)
            self.ms = found if abs(found - self.profiled_ms) > NEGLIGIBLE_MS else self.profiled_ms
