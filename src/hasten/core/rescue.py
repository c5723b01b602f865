"""When a device finishes a task that it has sent: the only copy of the law, for the agent and for the simulator.

A task that is away is looked at again at the last moment of each way in which the device could still finish it. How
likely its answer is to come in time is read off the answers before it: of those that were not there so long after
their predicted time, how many came before this one's deadline. One that is not there yet counts as soon as it is later
than this one may be. An idle device then computes an answer of its own in case none comes, and gives it when the
deadline is near; a busy one does so when that is worth more than waiting.
"""

from __future__ import annotations

from typing import Any

from hasten.core.jit import jitable

LATENESS_KEPT = 32
"""So many answers are remembered."""
MARGIN_MS, MARGIN_SHARE = 15.0, 0.1
"""A task is taken back so much before the last moment (at most this share of its deadline)."""
SURE, HOPELESS = 0.97, 0.1
"""An answer this likely is waited for; one less likely than the latter is not."""
UNHEARD_OF = 0.9
"""How likely an answer is that is later than any before, if not by far."""
LAST_WORD_MS = 3.0
"""An answer found here is given so much before the deadline, when the edge's has not come; the last look is so much
before the last moment of the shortest way."""
RUNNING_LATE_MS, RUNNING_LATE_SHARE = 5.0, 0.5
"""Without experience an answer is still likely until it is so much later than predicted, or this share of it."""
GRACE_MS = 1000.0
"""So long after its last useful moment a task still waits for its answer, to tell how late it was."""


@jitable
def look_ms(ends_ms: float, device_ms: float, deadline_ms: float) -> float:
    """When to look again at a task that ends at ``ends_ms``, for the sake of a way that takes ``device_ms``."""
    return ends_ms - device_ms - min(MARGIN_MS, MARGIN_SHARE * deadline_ms)


@jitable
def last_look_ms(ends_ms: float, device_ms: float) -> float:
    """When to look for the last time at a task that ends at ``ends_ms``; the shortest way takes ``device_ms``."""
    return ends_ms - device_ms - LAST_WORD_MS


@jitable
def answer_chance(came_late_ms: Any, count: int, later: int, late_ms: float, slack_ms: float, away_ms: float) -> float:
    """Share of answers that come within ``slack_ms`` of their predicted time, of those not here at ``late_ms``.

    ``came_late_ms`` (count,) is how much later than predicted answers came, infinite if they did not; ``later`` are
    not here and later than ``slack_ms`` already; ``away_ms`` is how long this one was predicted to take.
    """
    if slack_ms <= late_ms:
        return 0.0
    still_away, in_time = later, 0
    for i in range(count):
        if came_late_ms[i] > late_ms:
            still_away += 1
            in_time += came_late_ms[i] <= slack_ms
    if still_away == 0:  # as late as none before
        if late_ms <= 0.0:
            return 1.0
        return UNHEARD_OF if late_ms < max(RUNNING_LATE_MS, RUNNING_LATE_SHARE * away_ms) else 0.0
    return in_time / still_away


@jitable
def takes_back(chance: float, accuracy: float, edge_accuracy: float, next_accuracy: float, idle: bool) -> bool:
    """Whether the device finishes a task now, with an answer of this accuracy.

    The edge's answer comes in time with this ``chance``; the next shorter way gives ``next_accuracy``.
    """
    if chance >= SURE:
        return False
    return bool(idle or accuracy > chance * edge_accuracy + (1.0 - chance) * next_accuracy)
