"""Min-latency: the option that finishes first now. Tends to the first exit: a lower anchor for accuracy."""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, View, predicted_latency, useful_limit_ms
from hasten.core.options import DROP
from hasten.schedulers import no_argument


class MinLatency:
    """Earliest predicted finish, whatever it is worth."""

    name = "min-latency"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Remember the facts."""
        self._context = context
        self._limit_ms = useful_limit_ms(context)

    def decide(self, view: View) -> Decision:
        """The fastest option, or DROP when even that is useless."""
        latency_ms = predicted_latency(self._context, view)
        best = latency_ms.argmin(axis=1)
        useful = latency_ms[np.arange(len(best)), best] <= self._limit_ms[view.stream]
        return Decision(np.where(useful, best, DROP))
