"""Priced: each device decides alone, by its own backlog's value and prices for the time of uplink and edge.

An option's score is its gain less what the backlogs that it leaves cost: the device's own and, by prices that rise
with their backlog, those of each edge's uplink and workers. Like greedy it takes the best option in time, but it also
drops a task, or takes an earlier exit, when the time is worth more to the tasks that will come. How many streams
share uplink and edge changes the prices, not the work of a decision. The prices are found before the first decision
(:mod:`hasten.schedulers.priced_values`), or when links that vary are first seen near some rates. Further edges show
in the first decision only; that streams share the links to them is taken from the first.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, EdgeChoosing, FloatArray, IntArray, View
from hasten.schedulers import no_argument
from hasten.schedulers.priced_rule import BacklogPrices, PricedRule
from hasten.schedulers.priced_values import SteadyEdge, learn_prices

RATE_RATIO = 1.5
"""Rates within this factor of each other share their prices."""


class Priced(EdgeChoosing):
    """Gain less the price of uplink and edge time, plus the value of the device's own backlog."""

    name = "priced"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Find the prices where the rate is known beforehand."""
        self._context = context
        self._rule = PricedRule(context)
        self._prices: dict[tuple[int, ...], BacklogPrices] = {}
        rate = context.uplink_bits_per_ms
        if rate is not None:
            step = int(_rate_step(np.array([rate]))[0])
            self._prices[(step,)] = learn_prices(context, [SteadyEdge(context.rtt_ms, context.workers, rate)])

    def decide(self, view: View) -> Decision:
        """The option of best score for each decision, or DROP."""
        effects = self._rule.effects(view)
        option = np.empty(len(view.stream), dtype=np.int64)
        steps = np.stack([_rate_step(edge.rate_bits_per_ms) for edge in view.edges], axis=1)
        if self._context.from_devices and view.further_edges:  # round trips are each run's own
            steps = np.concatenate([steps, view.row[:, None]], axis=1)
        for step in np.unique(steps, axis=0):
            here = (steps == step).all(axis=1)
            prices = self._at_rates(view, tuple(step.tolist()), int(here.argmax()))
            if here.all():
                _, option[:] = self._rule.choose(view, effects, prices)
            else:
                _, option[here] = self._rule.choose(view.of(here), effects.of(here), prices)
        return Decision(option)

    def _at_rates(self, view: View, steps: tuple[int, ...], here: int) -> BacklogPrices:
        """The values for rates of the links around these, learnt when first needed, for the round trips seen then.

        ``here`` is the decision that needs them.
        """
        if steps not in self._prices:
            rtt_ms = [self._context.rtt_ms, *(float(edge.rtt_ms[here]) for edge in view.further_edges)]
            workers = [edge.edge_wait_ms.shape[1] for edge in view.edges]
            rates = [float(RATE_RATIO ** float(step)) for step in steps[: len(workers)]]
            self._prices[steps] = learn_prices(self._context, list(map(SteadyEdge, rtt_ms, workers, rates)))
        return self._prices[steps]


def _rate_step(rate_bits_per_ms: FloatArray) -> IntArray:
    """Rates in steps of ``RATE_RATIO``."""
    step: IntArray = np.rint(np.log(np.maximum(rate_bits_per_ms, 1.0)) / np.log(RATE_RATIO)).astype(np.int64)
    return step
