"""Edgent: the deepest exit whose best unloaded cut meets the deadline, at that cut; else the fastest option.

Li, Zeng, Zhou, Chen, "Edge AI: On-Demand Accelerating Deep Neural Network Inference via Edge Computing" (Edgent),
IEEE TWC 2020, arXiv 1910.05316, algorithm 2. It ignores queues; ``edgent:slack`` counts the known
waiting against the deadline. As published it takes deeper exits for better ones, and every cut of an exit for equally
accurate: it does not look at accuracies.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, EdgeChoosing
from hasten.core.errors import InputError
from hasten.core.ranking import RankedScheduler, Ranking, rank_bonus_ms


class Edgent(RankedScheduler, EdgeChoosing):
    """Deepest exit in time at its fastest cut, by unloaded latencies; else the fastest option."""

    def __init__(self, argument: str = "") -> None:
        if argument not in ("", "slack"):
            raise InputError("schedulers", "edgent", argument, "edgent or edgent:slack")
        self._slack = argument == "slack"
        self.name = "edgent:slack" if self._slack else "edgent"

    def reset(self, context: Context) -> None:
        """Rank options in time by depth, and behind them all others by latency."""
        bonus_ms = rank_bonus_ms(context, context.options.exit)
        self.choice = Ranking(context, bonus_ms, np.zeros_like(bonus_ms), sees_queues=self._slack)
