"""One computer plays weak devices and an edge: how much slower each has to be, by the profile measured on it.

The factors follow from the profile, so that the regime is the same on any computer: a device alone cannot finish the
last exit in time, the edge could if the link were always good.
"""

from __future__ import annotations

from hasten.core.profile import Profile

DEVICE_FULL_MS = 250.0
"""A device is slowed until the last exit takes this long on it: longer than the deadline."""
EDGE_FULL_MS = 25.0
"""The edge is slowed until the last exit takes this long there."""
DEADLINE_MS = 150.0
RATE_HZ, RTT_MS = 8.0, 6.0
FRAMES_PER_S = 10.0
"""A link's mean rate carries so many whole frames per second: hardly more than there are tasks."""


def slowdowns(profile: Profile) -> tuple[float, float]:
    """Of device and edge, at least 1: a computer cannot be made faster."""
    full_ms = sum(block.device_ms for block in profile.blocks) + profile.exits[-1].device_ms
    return max(1.0, round(DEVICE_FULL_MS / full_ms, 1)), max(1.0, round(EDGE_FULL_MS / full_ms, 1))


def link_mbps(profile: Profile, frames_per_s: float = FRAMES_PER_S) -> float:
    """The rate that carries so many whole frames per second."""
    return frames_per_s * profile.input_bytes * 8.0 / 1e6
