"""Plan recombination: stretches of time are taken over from one plan into another where that gains.

Plans of beams under slightly different prices are about equally good, but not in the same places, and what is decided
at one time matters for a few deadlines only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.offline.time_limit import TimeLimit

IntArray = NDArray[np.int64]

STRETCHES = (48, 24, 12, 6)
"""Lengths of the stretches, in tasks per stream."""
OVERLAP = 4
"""Each next stretch begins this part of its length later."""

MOST_REPLAYED = 8_000_000
"""Tasks, over all stretches that are tried."""


def recombined(
    plans: Sequence[IntArray], streams: int, gain: Callable[[IntArray], float], limit: TimeLimit
) -> IntArray:
    """A plan (N,) that gains at least as much as the best of ``plans``, all of them (N,)."""
    best = max(plans, key=gain).copy()
    best_gain = gain(best)
    trials = 0
    for stretch in (streams * tasks for tasks in STRETCHES):
        for begin in range(0, len(best), max(stretch // OVERLAP, 1)):
            part = slice(begin, begin + stretch)
            for plan in plans:
                if np.array_equal(plan[part], best[part]):
                    continue
                trials += 1
                if limit.expired or trials * len(best) > MOST_REPLAYED:
                    return best
                trial = best.copy()
                trial[part] = plan[part]
                trial_gain = gain(trial)
                if trial_gain > best_gain:
                    best, best_gain = trial, trial_gain
    return best
