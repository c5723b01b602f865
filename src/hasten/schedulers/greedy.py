"""Greedy: the feasible option of largest expected gain now, which is its gain times the share of promises kept.

No look-ahead, but it sees everything an online policy may see. Ties go to the earliest finish, then to the fewest
bytes. If no option is feasible the task is dropped. ``greedy:point`` takes predictions at their word, as the paper
does; where they are exact both are the same. The paper compares with a greedy method whose exact rule is not public;
these are ours, and they are strong.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, EdgeChoosing, IntArray, View, predicted_latency, useful_limit_ms
from hasten.core.errors import InputError
from hasten.core.expected_gain import ExpectedGain
from hasten.core.gain import task_gain
from hasten.core.options import DROP, OptionTable
from hasten.core.ranking import DecisionRule, RankedScheduler, Ranking, rank_bonus_ms


class Greedy(RankedScheduler, EdgeChoosing):
    """Largest expected gain among the options predicted to be useful, at the visible backlogs and rate."""

    def __init__(self, argument: str = "") -> None:
        if argument not in ("", "point"):
            raise InputError("schedulers", "greedy", argument, "greedy or greedy:point")
        self._point = argument == "point"
        self.name = "greedy:point" if self._point else "greedy"

    def reset(self, context: Context) -> None:
        """Keep the undominated options: a dominated one is never the largest gain at the earliest finish."""
        part = context.options.undominated()
        self.choice = best_gain(context, *part) if self._point or context.exact else ExpectedGain(context, *part)


def best_gain(context: Context, table: OptionTable, column: IntArray) -> DecisionRule:
    """The rule on point predictions over a table of options, each with its ``column`` (M, J') in the context's."""
    if context.gain_terms.time_weight > 0.0 or context.gain_terms.fade > 0.0:
        return _LargestTimedGain(context, table, column)
    _, rank = np.unique(table.worth, return_inverse=True)  # options of equal worth share a rank
    bonus_ms = rank_bonus_ms(context, rank.reshape(table.worth.shape))
    return Ranking(context, bonus_ms, np.full_like(bonus_ms, -np.inf), (table, column))


class _LargestTimedGain:
    """The greedy rule where an option's gain depends on when it finishes."""

    def __init__(self, context: Context, table: OptionTable, column: IntArray) -> None:
        self._context = context
        self._table = table
        self._column = column
        self._limit_ms = useful_limit_ms(context)

    def decide(self, view: View) -> Decision:
        """The best feasible option for each decision, or DROP."""
        latency_ms = predicted_latency(self._context, view, self._table)
        useful = latency_ms <= self._limit_ms[view.stream][:, None]
        deadline_ms = self._context.deadline_ms[view.stream][:, None]
        gain = task_gain(self._table.worth[view.stream], latency_ms, deadline_ms, *self._context.gain_terms)
        gain = np.where(useful, gain, -np.inf)
        equals = gain == gain.max(axis=1, keepdims=True)
        best = np.where(equals & useful, -latency_ms, -np.inf).argmax(axis=1)
        return Decision(np.where(useful.any(axis=1), self._column[view.stream, best], DROP))
