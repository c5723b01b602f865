"""The rule of ``priced``: what options do to the backlogs, and what backlogs cost.

Prices are functions of single backlogs, piecewise linear, found by :mod:`hasten.schedulers.priced_values`. Of several
edges each one's uplink and workers have prices of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hasten.core.calibration import counted_share, expected_share, kinds, prior_shares
from hasten.core.decision import (
    DEAD_LINK_BITS_PER_MS,
    Context,
    EdgeView,
    FloatArray,
    IntArray,
    View,
    useful_limit_ms,
)
from hasten.core.gain import task_gain
from hasten.core.timing import half_way, stage_ends

NODES = np.array([0.0, 0.05, 0.12, 0.22, 0.35, 0.5, 0.7, 1.0, 1.5])
"""Backlogs, in deadlines, where the slopes change; beyond the last the value stays."""
TIE_PER_MS = 1e-9
"""Among options of equal score the earliest is taken."""
DEVICE, UPLINK, EDGE = range(3)
"""Resources; those of further edges follow: :func:`uplink_of`, :func:`workers_of`."""


def uplink_of(edge: int) -> int:
    """The resource that the uplink to an edge is."""
    return UPLINK + 2 * edge


def workers_of(edge: int) -> int:
    """The resource that an edge's workers are."""
    return EDGE + 2 * edge


@dataclass(frozen=True)
class BacklogPrices:
    """What backlogs cost, and how dear broken promises are."""

    at_node: FloatArray
    """(1 + 2 E, nodes): value of a backlog of a device, and of each edge's uplink and workers, against an empty
    one (0); never positive."""
    shares: FloatArray
    """(1 + E, K): shares of promises kept at these prices, for as long as a stream knows no worse."""
    caution: float = 1.0
    """How many times a broken promise costs the option's gain: what comes to nothing has held up others as well."""

    def of(self, resource: int, backlog: FloatArray) -> FloatArray:
        """Value of a backlog, measured in deadlines, of one resource."""
        value: FloatArray = np.interp(backlog, NODES, self.at_node[resource])
        return value

    def scaled(self, part: int, factor: float) -> BacklogPrices:
        """The same with one resource's values, or for the part behind the last resource the caution, multiplied."""
        if part == len(self.at_node):
            return replace(self, caution=factor * self.caution)
        factors = np.ones((len(self.at_node), 1))
        factors[part] = factor
        return replace(self, at_node=factors * self.at_node)


def free(edges: int = 1) -> BacklogPrices:
    """Backlogs that cost nothing: with these ``priced`` is greedy."""
    return BacklogPrices(np.zeros((1 + 2 * edges, len(NODES))), prior_shares(edges))


@dataclass
class Effects:
    """What each option of B decisions would do, (B, J): ends in ms from now, and gain above dropping."""

    device_ms: FloatArray
    uplink_ms: FloatArray
    """(E, B, J): of the uplink to each edge."""
    edge_ms: FloatArray
    """(E, B, J): when each edge's worker that is free first, and serves the task if it comes there, is free again."""
    latency_ms: FloatArray
    gain: FloatArray
    slack: FloatArray
    """Latency that is left until the answer is worthless, in deadlines; negative for options that are too late."""

    def of(self, some: Any) -> Effects:
        """Those of some of the decisions, or, given as a pair, of some options of them."""
        at_edges = (slice(None), *(some if isinstance(some, tuple) else (some,)))
        return Effects(
            self.device_ms[some],
            self.uplink_ms[at_edges],
            self.edge_ms[at_edges],
            self.latency_ms[some],
            self.gain[some],
            self.slack[some],
        )


class PricedRule:
    """The rule of ``priced``: expected gain, plus the value of the backlogs that an option leaves, less that of now.

    Where predictions are not exact a gain is weighed by the share of such promises kept, as greedy does.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        table, self.column = context.options.undominated()
        self._table, self._kind = table, kinds(table)
        self._limit_ms = useful_limit_ms(context)
        self._longest_ms = float(context.deadline_ms.max())

    def effects(self, view: View) -> Effects:
        """Run every option through the timing law from the backlogs and at the rates of each edge."""
        context, table, stream = self._context, self._table, view.stream
        bits = table.payload_bits[stream]
        latency = np.zeros(bits.shape)
        uplink_ms, edge_ms = np.empty((2, len(view.edges), *bits.shape))
        for edge, seen in enumerate(view.edges):
            sends = (bits > 0) & (table.edge[stream] == edge)
            rtt_ms = seen.rtt_ms[:, None] if isinstance(seen, EdgeView) else context.rtt_ms
            before = seen.uplink_wait_ms[:, None], seen.edge_wait_ms[:, :1]
            rate = np.maximum(seen.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)[:, None]
            costs = table.device_ms[stream], np.where(sends, bits, 0.0), table.edge_ms[stream]
            device_end, sent, edge_end = stage_ends(view.device_wait_ms[:, None], *before, *costs, rate, rtt_ms)
            uplink_ms[edge], edge_ms[edge] = np.where(sends, sent, before[0]), np.where(sends, edge_end, before[1])
            latency = np.where(sends, half_way(edge_end, rtt_ms), latency)
        latency = np.where(bits > 0, latency, device_end)
        deadline = context.deadline_ms[stream][:, None]
        gain = task_gain(table.worth[stream], latency, deadline, *context.gain_terms) - context.gain_terms.late_gain
        slack = (self._limit_ms[stream][:, None] - latency) / deadline
        return Effects(device_end, uplink_ms, edge_ms, latency, gain, slack)

    def choose(self, view: View, effects: Effects, prices: BacklogPrices) -> tuple[IntArray, IntArray]:
        """The best option's place (B,) among the undominated ones, and its column in the context's table, or DROP.

        Only streams and waits of the view count, and its calibration curves.
        """
        stream = view.stream
        deadline, lasting = self._context.deadline_ms[stream][:, None], self._longest_ms
        change = prices.of(DEVICE, effects.device_ms / deadline)
        change -= prices.of(DEVICE, view.device_wait_ms[:, None] / deadline)
        for edge, seen in enumerate(view.edges):
            uplink, at_edge, workers = uplink_of(edge), workers_of(edge), seen.edge_wait_ms.shape[1]
            total_ms = seen.edge_wait_ms.sum(axis=1, keepdims=True)
            edge_ms = (total_ms + effects.edge_ms[edge] - seen.edge_wait_ms[:, :1]) / workers
            change += prices.of(uplink, effects.uplink_ms[edge] / lasting)
            change -= prices.of(uplink, seen.uplink_wait_ms[:, None] / lasting)
            change += prices.of(at_edge, edge_ms / lasting)
            change -= prices.of(at_edge, total_ms / (workers * lasting))
        known = prices.shares if view.kept_share is None else np.minimum(view.kept_share, prices.shares)
        curves = np.broadcast_to(known, (len(stream), *prices.shares.shape))
        share = counted_share(expected_share(replace(view, kept_share=curves), effects.slack, self._kind[stream]))
        net = effects.gain * (1.0 - prices.caution * (1.0 - share)) + change - TIE_PER_MS * effects.latency_ms
        net = np.where(effects.slack >= 0.0, net, -np.inf)
        best = net.argmax(axis=1)
        rows = np.arange(len(best))
        return best, np.where(net[rows, best] > 0.0, self.column[stream, best], -1)
