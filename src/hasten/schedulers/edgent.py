"""Edgent: the deepest exit whose best unloaded cut meets the deadline, at that cut; else the fastest option.

Li, Zeng, Zhou, Chen, "Edge AI: On-Demand Accelerating Deep Neural Network Inference via Edge Computing" (Edgent),
IEEE TWC 2020, arXiv 1910.05316, algorithm 2. It ignores queues; ``edgent:slack`` counts the known
waiting against the deadline.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, View, predicted_latency, unloaded_latency, useful_limit_ms
from hasten.core.errors import InputError


class Edgent:
    """Deepest exit in time, by unloaded latencies."""

    def __init__(self, argument: str = "") -> None:
        if argument not in ("", "slack"):
            raise InputError("schedulers", "edgent", argument, "edgent or edgent:slack")
        self._slack = argument == "slack"
        self.name = "edgent:slack" if self._slack else "edgent"

    def reset(self, context: Context) -> None:
        """Remember the facts."""
        self._context = context
        self._limit_ms = useful_limit_ms(context)
        self._spread_ms = 2.0 * float(self._limit_ms.max()) + 1.0

    def decide(self, view: View) -> Decision:
        """For each decision the deepest exit in time at its fastest cut, else the fastest option."""
        latency_ms = (predicted_latency if self._slack else unloaded_latency)(self._context, view)
        in_time = latency_ms <= self._limit_ms[view.stream][:, None]
        depth = self._context.options.exit[view.stream]
        deepest = np.where(in_time, depth * self._spread_ms - latency_ms, -np.inf).argmax(axis=1)
        return Decision(np.where(in_time.any(axis=1), deepest, latency_ms.argmin(axis=1)))
