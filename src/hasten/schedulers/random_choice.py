"""Random: uniform over all (exit, partition) pairs, or (``random:feasible``) over those predicted to be useful."""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, EdgeChoosing, FloatArray, View, predicted_latency, useful_limit_ms
from hasten.core.errors import InputError
from hasten.core.options import DROP

BLOCK = 1024
"""Random numbers drawn at once for each row of the batch."""


class RandomChoice(EdgeChoosing):
    """Each row of the batch draws from a generator of its own, so a batch and single runs choose alike."""

    def __init__(self, argument: str = "") -> None:
        if argument not in ("", "feasible"):
            raise InputError("schedulers", "random", argument, "random or random:feasible")
        self._feasible = argument == "feasible"
        self.name = "random:feasible" if self._feasible else "random"

    def reset(self, context: Context) -> None:
        """Seed a generator for each row."""
        self._context = context
        self._limit_ms = useful_limit_ms(context)
        self._generators = [np.random.default_rng([int(seed), 3]) for seed in context.seeds]
        self._drawn = np.zeros((context.batch, BLOCK))
        self._next = np.full(context.batch, BLOCK)

    def decide(self, view: View) -> Decision:
        """A random option for each decision; with ``feasible``, DROP when none is useful."""
        uniform = self._draw(view)
        if not self._feasible:
            return Decision((uniform * self._context.options.count[view.stream]).astype(np.int64))
        useful = predicted_latency(self._context, view) <= self._limit_ms[view.stream][:, None]
        count = useful.sum(axis=1)
        wanted = (uniform * count).astype(np.int64)
        choice = (useful.cumsum(axis=1) > wanted[:, None]).argmax(axis=1)
        return Decision(np.where(count > 0, choice, DROP))

    def _draw(self, view: View) -> FloatArray:
        """The next uniform number of each decision's row."""
        for row in view.row[self._next[view.row] == BLOCK]:
            self._drawn[row] = self._generators[row].random(BLOCK)
            self._next[row] = 0
        uniform: FloatArray = self._drawn[view.row, self._next[view.row]]
        self._next[view.row] += 1
        return uniform
