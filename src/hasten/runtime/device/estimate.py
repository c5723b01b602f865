"""What a device believes of its link: rate, round trip, and the edge's clock.

The law of the estimates is in ``core.estimators``; here is what a device remembers, and the clock.

Round trip and clock come from small pings that found the link idle; where they are few, the clock is followed by the
way back of every answer, whose change between two pings is taken to be the clocks' drift.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from hasten.core.estimators import PING_MEMORY_MS, median_of, outdated_pings, rate_after

WAYS_KEPT = 32
CLOCK_DOUBT = 1e-4
"""A clock that was not heard of for some time may be wrong by this share of it."""


class _PingTimes(NamedTuple):
    received_ms: float
    rtt_ms: float
    offset_ms: float
    """The edge's clock less ours, if both ways took equally long."""
    way_ms: float
    """Our clock at the end of the way back less the edge's at its begin."""


class LinkEstimate:
    """Estimates from pings and answered transfers; all times are this device's clock in milliseconds."""

    def __init__(self) -> None:
        self._pings: deque[_PingTimes] = deque()
        self._ways: deque[tuple[float, float]] = deque(maxlen=WAYS_KEPT)
        self.forget()

    def forget(self) -> None:
        """Start anew, as after a lost connection."""
        self.rate_bits_per_ms = 0.0
        self.updated_ms = -math.inf
        """When the rate was last measured."""
        self.pinged_ms = -math.inf
        """When the round trip was last measured."""
        self._pings.clear()
        self._ways.clear()
        self._rtt_ms = 0.0
        self._waited_ms = 0.0
        self._offset_ms = 0.0

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
        return here_ms + self._offset_ms

    def clock_doubt_ms(self, now_ms: float) -> float:
        """By how much the clocks may have come apart since they were last compared."""
        return CLOCK_DOUBT * max(now_ms - self._ways[-1][0], 0.0) if self._ways else 0.0

    def ping(self, sent_ms: float, received_ms: float, edge_ms: float) -> None:
        """Take an unpadded ping's times into account; ``edge_ms`` is the edge's clock when it answered."""
        offset_ms = edge_ms - 0.5 * (sent_ms + received_ms)
        answered_ms = [ping.received_ms for ping in self._pings]
        for _ in range(outdated_pings(answered_ms, len(answered_ms), received_ms)):
            self._pings.popleft()
        self._pings.append(_PingTimes(received_ms, received_ms - sent_ms, offset_ms, received_ms - edge_ms))
        self.pinged_ms = received_ms
        self._waited_ms = 0.0
        self._ways.append((received_ms, received_ms - edge_ms))
        self._reckon()

    def ping_waits(self, waited_ms: float) -> None:
        """A ping on an idle link is not answered for so long yet: its round trip is at least that."""
        if waited_ms > max(self._rtt_ms, self._waited_ms):
            self._waited_ms = waited_ms
            self._reckon()

    def heard(self, received_ms: float, edge_ms: float) -> None:
        """An answer came that the edge sent at ``edge_ms`` of its clock."""
        self._ways.append((received_ms, received_ms - edge_ms))
        self._reckon()

    def transfer(self, start_ms: float, end_ms: float, bits: float) -> None:
        """Take a finished transfer into account: when its first bit could leave and when its last bit had."""
        self.rate_bits_per_ms = rate_after(self.rate_bits_per_ms, self.updated_ms, start_ms, end_ms, bits)
        self.updated_ms = end_ms

    def _reckon(self) -> None:
        if not self._pings:
            return
        trips_ms = [ping.rtt_ms for ping in self._pings]
        if self._waited_ms > 0:
            trips_ms.append(self._waited_ms)
        self._rtt_ms = median_of(trips_ms, len(trips_ms))
        fastest = min(self._pings, key=lambda ping: ping.rtt_ms)
        newest_ms = self._ways[-1][0]
        shortest_way_ms = min(way for at_ms, way in self._ways if newest_ms - at_ms <= PING_MEMORY_MS)
        # Between pings the shortest way back changes as the clocks drift apart.
        drift_ms = fastest.way_ms - shortest_way_ms if newest_ms - fastest.received_ms > PING_MEMORY_MS else 0.0
        self._offset_ms = fastest.offset_ms + drift_ms
