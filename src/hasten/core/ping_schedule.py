"""When a device pings its edge, and with how many bytes: the only copy, for the agent and for the simulator.

While frames are sent, pings ride along: one ahead of a frame that finds the link idle, and one now and then while an
answer is waited for. Otherwise they are few, the fewer the longer nothing was offloaded: an estimate may be as old as a
tenth of the time since it was last used, and what idle probing costs stays within a budget of bytes. When a decision
would be another at a better link, and nothing is known of it any more, the rate is probed for that decision's sake.
"""

from __future__ import annotations

import numpy as np

from hasten.core.jit import jitable
from hasten.core.profile import Profile

PING_BYTES = 20
"""Size of a plain ping."""
PING_BITS = 8.0 * PING_BYTES
WATCH_EVERY_MS = 50.0
"""So often a device looks whether a ping is due."""
PROBE_MS = 5.0
"""A probe of a known link takes about so long: long against timing noise, short against the time between probes."""
LEAST_PROBE_BYTES, MOST_PROBE_BYTES = 256, 8192
WARM_UP_PINGS, WARM_UP_PROBES = 8, 3
"""A device that has connected measures its link with so many, one after the other,"""
WARM_UP_MS = 3000.0
"""for so long at most,"""
WARM_UP_PAUSE_MS = 20.0
"""and so long between them, so that they find threads and caches as cold as a task does that comes now and then."""
RIDING_MS = 200.0
"""With tasks under way, so often a ping rides along."""
WAITING_MS = 100.0
"""And so often one is sent while frames are unanswered and none is under way."""
SAME_MS = 1.0
"""A device looks at even times: that they are so late or early must not decide."""
RATE_STALE_MS = 500.0
"""An estimate older than this says little of a link that changes."""
IDLE_MS, IDLE_SHARE, IDLE_MOST_MS = 1000.0, 0.1, 60_000.0
"""Idle pings come at least so far apart, then at this share of the time since a frame was last sent, at most that."""
BUDGET_BYTES_PER_S, BUDGET_BYTES = 60.0, 600.0
"""What idle probing may cost, answers included: on average, and saved up."""


@jitable
def pong_bytes(workers: int) -> int:
    """Size of a ping's answer from an edge with so many workers: see ``runtime.wire.frames``."""
    return 46 + 4 * workers


@jitable
def pause_ms(now_ms: float, used_ms: float, may_offload: bool) -> float:
    """How old an estimate may be where a frame was last sent at ``used_ms``."""
    return min(IDLE_SHARE * (now_ms - used_ms), IDLE_MOST_MS) if may_offload else IDLE_MOST_MS


@jitable
def rides_along(now_ms: float, clean_ms: float) -> bool:
    """Whether a frame that finds the link idle has a ping ahead of it; the last to find it so was at ``clean_ms``."""
    return now_ms - clean_ms > RIDING_MS


@jitable
def is_due(now_ms: float, pinged_ms: float, pause: float, frames_wait: bool) -> bool:
    """Whether, with no ping under way, it is time for one after that at ``pinged_ms``."""
    return now_ms - pinged_ms >= max(WAITING_MS if frames_wait else IDLE_MS, pause) - SAME_MS


@jitable
def saved_bytes(saved: float, saved_ms: float, now_ms: float) -> float:
    """What idle probing may cost now, if that was ``saved`` at ``saved_ms``."""
    return min(saved + BUDGET_BYTES_PER_S * (now_ms - saved_ms) / 1000.0, BUDGET_BYTES)


@jitable
def is_stale(now_ms: float, measured_ms: float) -> bool:
    """Whether a rate measured at ``measured_ms`` should be measured anew with the next idle ping."""
    return now_ms - measured_ms > RATE_STALE_MS


@jitable
def may_want(now_ms: float, looked_ms: float, pause: float) -> bool:
    """Whether the rate, looked for at ``looked_ms``, is so old that a decision may want it anew."""
    return now_ms - looked_ms > max(RATE_STALE_MS, pause)


@jitable
def probe_padding_bytes(rate_bits_per_ms: float) -> int:
    """Padding that occupies the link for a few milliseconds at its last known rate."""
    if rate_bits_per_ms <= 0:
        return LEAST_PROBE_BYTES
    return int(min(max(rate_bits_per_ms * PROBE_MS / 8.0, LEAST_PROBE_BYTES), MOST_PROBE_BYTES))


def probe_bytes(profile: Profile) -> int:
    """Padding of the first probes of a link: a typical payload."""
    sizes = [profile.input_bytes, *(block.output_bytes for block in profile.blocks)]
    return int(min(max(np.median(sizes), 1500.0), MOST_PROBE_BYTES))
