"""Ranked choice: the rule that most classical schedulers share, as data.

The option of the largest ``bonus - latency`` wins, the first of equals. An option predicted to be useful by its end has
one bonus and any other has another; a bonus of -inf rules an option out, and a task whose options are all ruled out is
dropped. Options may also be considered within a window of load only. Being data, the same rule is decided by numpy
for one task on a device and by compiled code for the millions of a simulation.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from hasten.core.decision import (
    Context,
    Decision,
    FloatArray,
    IntArray,
    Observer,
    View,
    predicted_latency,
    unloaded_latency,
    useful_limit_ms,
)
from hasten.core.jit import jitable, select
from hasten.core.options import DROP, OptionTable


@jitable
def score(latency_ms: Any, limit_ms: Any, useful_ms: Any, late_ms: Any) -> Any:
    """How an option ranks; ``useful_ms`` and ``late_ms`` are its bonuses. Elementwise."""
    return select(latency_ms <= limit_ms, useful_ms, late_ms) - latency_ms


@jitable
def load_share(device_wait_ms: Any, uplink_wait_ms: Any, edge_wait_ms: Any, deadline_ms: Any) -> Any:
    """The load: the visible waits for device, uplink and edge as a share of the deadline. Elementwise."""
    return (device_wait_ms + uplink_wait_ms + edge_wait_ms) / deadline_ms


class LoadWindow(NamedTuple):
    """Between which loads (M, J') each option is considered, the lower one included."""

    low: FloatArray
    high: FloatArray


class DecisionRule(Protocol):
    """What decides for a :class:`RankedScheduler`."""

    def decide(self, view: View) -> Decision:
        """Choose an option for each decision in ``view``."""


class Ranking:
    """A ranking of all options, or of a part of them: ``table`` and each option's column (M, J') in the context's."""

    def __init__(
        self,
        context: Context,
        useful_ms: FloatArray,
        late_ms: FloatArray,
        part: tuple[OptionTable, IntArray] | None = None,
        sees_queues: bool = True,
        window: LoadWindow | None = None,
    ) -> None:
        self._context = context
        streams, options = context.options.exit.shape
        everything = context.options, np.tile(np.arange(options), (streams, 1))
        self.table, self.column = part if part is not None else everything
        self.useful_ms = useful_ms
        """(M, J'): bonus of an option that is predicted to be useful by its end."""
        self.late_ms = late_ms
        """(M, J'): bonus of any other."""
        self.limit_ms = useful_limit_ms(context)
        self.sees_queues = sees_queues
        """Whether latencies are predicted from the visible backlogs, or for an empty system."""
        self._windowed = window is not None
        always = LoadWindow(np.full(useful_ms.shape, -np.inf), np.full(useful_ms.shape, np.inf))
        self.window = window if window is not None else always

    def decide(self, view: View) -> Decision:
        """The option of the best score for each decision, or DROP."""
        predict = predicted_latency if self.sees_queues else unloaded_latency
        latency_ms = predict(self._context, view, self.table)
        stream = slice(None) if self.table.streams == 1 else view.stream  # one row broadcasts, which is cheaper
        key = score(latency_ms, self.limit_ms[stream][:, None], self.useful_ms[stream], self.late_ms[stream])
        if self._windowed:
            load = load_share(*view.waits, self._context.deadline_ms[view.stream])[:, None]
            considered = (load >= self.window.low[stream]) & (load < self.window.high[stream])
            key = np.where(considered, key, -np.inf)
        best = key.argmax(axis=1)
        found = key[np.arange(len(best)), best] > -np.inf
        return Decision(np.where(found, self.column[view.stream, best], DROP))


class RankedScheduler:
    """A scheduler that leaves its decisions to a rule, which ``reset`` makes."""

    name: str
    choice: DecisionRule

    def decide(self, view: View) -> Decision:
        """The best option of each decision, or DROP."""
        return self.choice.decide(view)


def rule_of(scheduler: object) -> DecisionRule | None:
    """The rule that is all that a scheduler decides by, after its ``reset``; None if there is more to it."""
    if not isinstance(scheduler, RankedScheduler) or isinstance(scheduler, Observer):
        return None
    inherits = getattr(scheduler.decide, "__func__", None) is RankedScheduler.decide
    return scheduler.choice if inherits else None


def rank_bonus_ms(context: Context, rank: IntArray) -> FloatArray:
    """Bonuses (M, J') by which the higher ``rank`` always wins, and among equals the earlier useful finish."""
    bonus_ms: FloatArray = rank * np.float64(2.0 * useful_limit_ms(context).max() + 1.0)
    return bonus_ms
