"""What a task costs beyond its services, its transfer and the round trip: as profiled, until it is measured here."""

from __future__ import annotations

from collections import deque
from statistics import median

from hasten.core.profile import Profile

KEPT, PROFILE_COUNTS = 15, 3
"""So many measurements are remembered; the profile counts like so many."""
NEGLIGIBLE_MS = 0.25
"""A difference below this is a profile's own error."""
MOST_OFFLOAD_MS = 5.0
"""What takes so much longer than profiled is no handling: the link has changed."""


class Overheads:
    """Medians over the last tasks.

    Attributes:
        task_ms: of every task: waking up, deciding, handing over between threads.
        offload_ms: of an offloaded task, beyond its transfer, a ping's round trip and its time at the edge.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.forget_device()
        self.forget_edge()

    def forget_device(self) -> None:
        """Believe the profile of what is here."""
        self._task = deque([self._profile.task_ms] * PROFILE_COUNTS, maxlen=KEPT)
        self.task_ms = self._profile.task_ms

    def forget_edge(self) -> None:
        """Believe the profile of what is at the edge."""
        self._offload = deque([self._profile.offload_ms] * PROFILE_COUNTS, maxlen=KEPT)
        self.offload_ms = self._profile.offload_ms

    @property
    def profiled_offload_ms(self) -> float:
        """``offload_ms`` by the profile: what is measured rests on the believed rate, and may not correct it."""
        return self._profile.offload_ms

    def task(self, took_ms: float) -> None:
        """A task that found the device idle took so much longer on it than its work."""
        self._task.append(max(took_ms, 0.0))
        self.task_ms = _believed(self._task, self._profile.task_ms)

    def offload(self, took_ms: float) -> None:
        """A frame that found the link idle took so much longer than its transfer, the round trip and the edge."""
        if took_ms <= self._profile.offload_ms + MOST_OFFLOAD_MS:
            self._offload.append(max(took_ms, 0.0))
            self.offload_ms = _believed(self._offload, self._profile.offload_ms)


def _believed(measured: deque[float], profiled_ms: float) -> float:
    found = median(measured)
    return found if abs(found - profiled_ms) > NEGLIGIBLE_MS else profiled_ms
