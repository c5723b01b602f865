"""Greedy: the feasible option of largest gain now. No look-ahead, but it sees everything an online policy may see.

Ties go to the earliest finish, then to the fewest bytes. If no option is feasible the task is dropped. The paper
compares with a greedy method whose exact rule is not public; this is ours, and it is strong.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import (
    BoolArray,
    Context,
    Decision,
    FloatArray,
    IntArray,
    View,
    predicted_latency,
    useful_limit_ms,
)
from hasten.core.gain import task_gain
from hasten.core.options import DROP, OptionTable
from hasten.schedulers import no_argument


class Greedy:
    """Largest gain among the options predicted to be useful, at the visible backlogs and rate."""

    name = "greedy"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Keep the undominated options: a dominated one is never the largest gain at the earliest finish."""
        table, column = context.options.undominated()
        self._choice = BestGain(context, table, column)

    def decide(self, view: View) -> Decision:
        """The best feasible option for each decision, or DROP."""
        return self._choice.decide(view)


class BestGain:
    """The greedy rule over any table of options, each with its ``column`` (M, J') in the context's table."""

    def __init__(self, context: Context, table: OptionTable, column: IntArray) -> None:
        self._context = context
        self._table = table
        self._column = column
        self._limit_ms = useful_limit_ms(context)
        time_weight, _, fade = context.gain_terms
        self._by_exit = time_weight == 0.0 and fade == 0.0
        # Options of equal worth share a rank; ranks are further apart than any useful latency, so that one
        # argmax over rank * spread - latency finds the largest gain and breaks ties by the earliest finish.
        spread_ms = 2.0 * float(self._limit_ms.max()) + 1.0
        _, rank = np.unique(table.worth, return_inverse=True)
        self._rank_ms = rank.reshape(table.worth.shape) * spread_ms

    def decide(self, view: View) -> Decision:
        """The best feasible option for each decision, or DROP."""
        latency_ms = predicted_latency(self._context, view, self._table)
        useful = latency_ms <= self._limit_ms[view.stream][:, None]
        if self._by_exit:
            rank_ms = self._rank_ms if len(self._rank_ms) == 1 else self._rank_ms[view.stream]
            key = np.where(useful, rank_ms - latency_ms, -np.inf)
        else:
            key = self._gain_key(view, latency_ms, useful)
        best = key.argmax(axis=1)
        rows = np.arange(len(best))
        option = self._column[view.stream, best]
        return Decision(np.where(key[rows, best] > -np.inf, option, DROP))

    def _gain_key(self, view: View, latency_ms: FloatArray, useful: BoolArray) -> FloatArray:
        """A key (B, J') whose argmax is the rule, for gains that depend on time."""
        deadline_ms = self._context.deadline_ms[view.stream][:, None]
        gain = task_gain(self._table.worth[view.stream], latency_ms, deadline_ms, *self._context.gain_terms)
        gain = np.where(useful, gain, -np.inf)
        best = gain == gain.max(axis=1, keepdims=True)
        return np.where(best & useful, -latency_ms, -np.inf)
