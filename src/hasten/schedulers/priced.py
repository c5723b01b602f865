"""Priced: each device decides alone, by its own backlog's value and prices for the time of uplink and edge.

An option's score is its gain less what the backlogs that it leaves cost: the device's own and, by prices that rise with
their backlog, the uplink's and the edge's. Like greedy it takes the best option in time, but it also drops a task,
or takes an earlier exit, when the time is worth more to the tasks that will come. How many streams share uplink and
edge changes the prices, not the work of a decision. The prices are found before the first decision
(:mod:`hasten.schedulers.priced_values`), or when a link that varies is first seen near some rate.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, Decision, FloatArray, IntArray, View
from hasten.schedulers import no_argument
from hasten.schedulers.priced_rule import BacklogPrices, PricedRule
from hasten.schedulers.priced_values import learn_prices

RATE_RATIO = 1.5
"""Rates within this factor of each other share their prices."""


class Priced:
    """Gain less the price of uplink and edge time, plus the value of the device's own backlog."""

    name = "priced"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Find the prices where the rate is known beforehand."""
        self._context = context
        self._rule = PricedRule(context)
        self._prices: dict[int, BacklogPrices] = {}
        if context.uplink_bits_per_ms is not None:
            self._at_rate(_rate_step(np.array([context.uplink_bits_per_ms]))[0], context.uplink_bits_per_ms)

    def decide(self, view: View) -> Decision:
        """The option of best score for each decision, or DROP."""
        rate = np.maximum(view.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
        effects = self._rule.effects(view.stream, view.waits, rate)
        option = np.empty(len(rate), dtype=np.int64)
        steps = _rate_step(rate)
        for step in np.unique(steps):
            here = steps == step
            prices = self._at_rate(int(step), float(RATE_RATIO ** float(step)))
            if here.all():
                _, option[:] = self._rule.choose(view, effects, prices)
            else:
                _, option[here] = self._rule.choose(view.of(here), effects.of(here), prices)
        return Decision(option)

    def _at_rate(self, step: int, rate_bits_per_ms: float) -> BacklogPrices:
        """The values for rates around this one, learnt when first needed."""
        if step not in self._prices:
            self._prices[step] = learn_prices(self._context, rate_bits_per_ms)
        return self._prices[step]


def _rate_step(rate_bits_per_ms: FloatArray) -> IntArray:
    """Rates in steps of ``RATE_RATIO``."""
    step: IntArray = np.rint(np.log(np.maximum(rate_bits_per_ms, 1.0)) / np.log(RATE_RATIO)).astype(np.int64)
    return step
