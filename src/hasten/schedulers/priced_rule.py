"""The rule of ``priced``: what options do to the backlogs, and what backlogs cost.

Prices are functions of single backlogs, piecewise linear, found by :mod:`hasten.schedulers.priced_values`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hasten.core.calibration import counted_share, expected_share, prior_shares
from hasten.core.decision import BoolArray, Context, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.timing import Waits, half_way, stage_ends

NODES = np.array([0.0, 0.05, 0.12, 0.22, 0.35, 0.5, 0.7, 1.0, 1.5])
"""Backlogs, in deadlines, where the slopes change; beyond the last the value stays."""
TIE_PER_MS = 1e-9
"""Among options of equal score the earliest is taken."""
DEVICE, UPLINK, EDGE = range(3)


@dataclass(frozen=True)
class BacklogPrices:
    """What backlogs cost, and how dear broken promises are."""

    at_node: FloatArray
    """(3, nodes): value of a backlog of a device, an uplink and the edge, against an empty one (0), never positive."""
    shares: FloatArray
    """(2, K): shares of promises kept at these prices, for as long as a stream knows no worse."""
    caution: float = 1.0
    """How many times a broken promise costs the option's gain: what comes to nothing has held up others as well."""

    def of(self, resource: int, backlog: FloatArray) -> FloatArray:
        """Value of a backlog, measured in deadlines, of one resource."""
        value: FloatArray = np.interp(backlog, NODES, self.at_node[resource])
        return value

    def scaled(self, part: int, factor: float) -> BacklogPrices:
        """The same with one resource's values, or for ``part`` 3 the caution, multiplied."""
        if part == len(self.at_node):
            return replace(self, caution=factor * self.caution)
        factors = np.ones((len(self.at_node), 1))
        factors[part] = factor
        return replace(self, at_node=factors * self.at_node)


FREE = BacklogPrices(np.zeros((3, len(NODES))), prior_shares())
"""Backlogs that cost nothing: with these ``priced`` is greedy."""


@dataclass
class Effects:
    """What each option of B decisions would do, (B, J): ends in ms from now, and gain above dropping."""

    device_ms: FloatArray
    uplink_ms: FloatArray
    edge_ms: FloatArray
    """When the worker that serves the task is free again."""
    latency_ms: FloatArray
    gain: FloatArray
    slack: FloatArray
    """Latency that is left until the answer is worthless, in deadlines; negative for options that are too late."""
    sends: BoolArray

    def of(self, some: Any) -> Effects:
        """Those of some of the decisions, or of some options of them."""
        parts = (self.device_ms, self.uplink_ms, self.edge_ms, self.latency_ms, self.gain, self.slack, self.sends)
        return Effects(*(part[some] for part in parts))


class PricedRule:
    """The rule of ``priced``: expected gain, plus the value of the backlogs that an option leaves, less that of now.

    Where predictions are not exact a gain is weighed by the share of such promises kept, as greedy does.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        table, self.column = context.options.undominated()
        self._device_ms, self._bits, self._edge_ms = table.device_ms, table.payload_bits, table.edge_ms
        self._worth = table.worth
        self._limit_ms = useful_limit_ms(context)
        self._longest_ms = float(context.deadline_ms.max())

    def effects(self, stream: IntArray, waits: Waits, rate: FloatArray) -> Effects:
        """Run every option through the timing law from backlogs (B,) at ``rate`` (B,) bits per ms."""
        context = self._context
        bits = self._bits[stream]
        sends = bits > 0
        before = waits.for_options()
        costs = self._device_ms[stream], bits, self._edge_ms[stream]
        device_end, sent, edge_end = stage_ends(*before, *costs, rate[:, None], context.rtt_ms)
        latency = np.where(sends, half_way(edge_end, context.rtt_ms), device_end)
        deadline = context.deadline_ms[stream][:, None]
        gain = task_gain(self._worth[stream], latency, deadline, *context.gain_terms) - context.gain_terms.late_gain
        return Effects(
            device_ms=device_end,
            uplink_ms=np.where(sends, sent, before.uplink_ms),
            edge_ms=np.where(sends, edge_end, before.edge_ms),
            latency_ms=latency,
            gain=gain,
            slack=(self._limit_ms[stream][:, None] - latency) / deadline,
            sends=sends,
        )

    def choose(self, view: View, effects: Effects, prices: BacklogPrices) -> tuple[IntArray, IntArray]:
        """The best option's place (B,) among the undominated ones, and its column in the context's table, or DROP.

        Only streams and waits of the view count, and its calibration curves.
        """
        stream, edge_wait_ms = view.stream, view.edge_wait_ms
        device_ms, uplink_ms = view.device_wait_ms, view.uplink_wait_ms
        deadline = self._context.deadline_ms[stream][:, None]
        workers = edge_wait_ms.shape[1]
        total_ms = edge_wait_ms.sum(axis=1, keepdims=True)
        edge_ms = (total_ms + effects.edge_ms - edge_wait_ms[:, :1]) / workers
        lasting = self._longest_ms
        change = (
            prices.of(DEVICE, effects.device_ms / deadline)
            - prices.of(DEVICE, device_ms[:, None] / deadline)
            + prices.of(UPLINK, effects.uplink_ms / lasting)
            - prices.of(UPLINK, uplink_ms[:, None] / lasting)
            + prices.of(EDGE, edge_ms / lasting)
            - prices.of(EDGE, total_ms / (workers * lasting))
        )
        known = prices.shares if view.kept_share is None else np.minimum(view.kept_share, prices.shares)
        curves = np.broadcast_to(known, (len(stream), *prices.shares.shape))
        share = counted_share(expected_share(replace(view, kept_share=curves), effects.slack, effects.sends))
        net = effects.gain * (1.0 - prices.caution * (1.0 - share)) + change - TIE_PER_MS * effects.latency_ms
        net = np.where(effects.slack >= 0.0, net, -np.inf)
        best = net.argmax(axis=1)
        rows = np.arange(len(best))
        return best, np.where(net[rows, best] > 0.0, self.column[stream, best], -1)
