"""Min-latency: the option that finishes first now. Tends to the first exit: a lower anchor for accuracy."""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, EdgeChoosing
from hasten.core.ranking import RankedScheduler, Ranking
from hasten.schedulers import no_argument


class MinLatency(RankedScheduler, EdgeChoosing):
    """Earliest predicted finish, whatever it is worth; DROP when even that is useless."""

    name = "min-latency"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Rank by latency alone."""
        bonus_ms = np.zeros(context.options.exit.shape)
        self.choice = Ranking(context, bonus_ms, np.full_like(bonus_ms, -np.inf))
