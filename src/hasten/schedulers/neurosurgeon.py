"""Neurosurgeon: the final exit, cut where the unloaded latency at the current rate is least. Ignores queues.

Kang et al., "Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile Edge", ASPLOS 2017, section 5. As
published it takes every cut for equally accurate.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, EdgeChoosing
from hasten.core.ranking import RankedScheduler, Ranking
from hasten.schedulers import no_argument


class Neurosurgeon(RankedScheduler, EdgeChoosing):
    """The cut of least device + upload + edge time for the whole network."""

    name = "neurosurgeon"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Rank each stream's options that end at its final exit by unloaded latency, in time or not."""
        exits = context.options.exit
        bonus_ms = np.where(exits == exits.max(axis=1, keepdims=True), 0.0, -np.inf)
        self.choice = Ranking(context, bonus_ms, bonus_ms, sees_queues=False)
