"""Neurosurgeon: the final exit, cut where the unloaded latency at the current rate is least. Ignores queues.

Kang et al., "Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile Edge", ASPLOS 2017, section 5.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, View, unloaded_latency
from hasten.schedulers import no_argument


class Neurosurgeon:
    """The cut of least device + upload + edge time for the whole network."""

    name = "neurosurgeon"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Find each stream's options that end at its final exit."""
        self._context = context
        exits = context.options.exit
        self._final = exits == exits.max(axis=1, keepdims=True)

    def decide(self, view: View) -> Decision:
        """The fastest unloaded cut of the final exit."""
        latency_ms = unloaded_latency(self._context, view)
        return Decision(np.where(self._final[view.stream], latency_ms, np.inf).argmin(axis=1))
