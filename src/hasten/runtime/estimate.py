"""What a device believes of its link: rate, round trip, and the edge's clock.

A transfer's time is what remains of the time to its answer without the edge's own time and the round trip, counted
from when its own predecessor had left. Leaving these in is the common mistake: on recorded LTE uplinks it costs more
than half of the estimate, whatever the filter. The filter is an exponentially weighted mean over rates.
"""

from __future__ import annotations

from collections import deque
from statistics import median

RATE_WEIGHT = 0.3
"""Weight of the newest rate sample when it follows the one before closely."""
RATE_MEMORY_MS = 200.0
"""After a longer pause the newest sample weighs more, as if samples had come at this pace meanwhile."""
TIMING_NOISE_MS = 0.3
"""About how wrong a measured transfer time is; transfers that are short against it count little."""
SHORTEST_TRANSFER_MS = 0.05
"""No measured transfer time is taken to be shorter."""
PINGS_KEPT = 32
RATE_STALE_MS = 500.0
"""An estimate older than this is renewed by a padded probe when the device is idle."""


class LinkEstimate:
    """Estimates from pings and answered transfers; all times are this device's clock in milliseconds."""

    def __init__(self) -> None:
        self._pings: deque[tuple[float, float]] = deque(maxlen=PINGS_KEPT)
        self.forget()

    def forget(self) -> None:
        """Start anew, as after a lost connection."""
        self.rate_bits_per_ms = 0.0
        self.updated_ms = -float("inf")
        self._pings.clear()
        self._rtt_ms = 0.0
        self._clock_offset_ms = 0.0

    @property
    def rtt_ms(self) -> float:
        """The median round trip of recent pings, wake-ups and frame handling included; 0 before the first."""
        return self._rtt_ms

    @property
    def knows_clock(self) -> bool:
        """Whether a ping has told the edge's clock."""
        return bool(self._pings)

    def edge_clock(self, here_ms: float) -> float:
        """The edge's clock at ``here_ms``, wrong by at most half of how unequal the two ways are."""
        return here_ms + self._clock_offset_ms

    def ping(self, sent_ms: float, received_ms: float, edge_ms: float) -> None:
        """Take an unpadded ping's times into account; ``edge_ms`` is the edge's clock when it answered."""
        self._pings.append((received_ms - sent_ms, edge_ms - 0.5 * (sent_ms + received_ms)))
        self._rtt_ms = median(rtt_ms for rtt_ms, _ in self._pings)
        self._clock_offset_ms = min(self._pings)[1]

    def transfer(self, start_ms: float, end_ms: float, bits: float) -> None:
        """Take a finished transfer into account: when its first bit could leave and when its last bit had."""
        took_ms = max(end_ms - start_ms, SHORTEST_TRANSFER_MS)
        sample = bits / took_ms
        if self.rate_bits_per_ms <= 0:
            self.rate_bits_per_ms = sample
        else:
            pause = max((end_ms - self.updated_ms) / RATE_MEMORY_MS, 1.0)
            weight = (1.0 - (1.0 - RATE_WEIGHT) ** pause) * took_ms / (took_ms + TIMING_NOISE_MS)
            self.rate_bits_per_ms += weight * (sample - self.rate_bits_per_ms)
        self.updated_ms = end_ms
