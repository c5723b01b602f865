"""The rule of the largest expected gain: what an option brings on time, weighed by the share of such promises kept.

Shares are those of the view's calibration curves, in the steps of :func:`hasten.core.calibration.counted_share`. An
option that is predicted to be useless by its end is ruled out. Ties go to the earliest finish, then to the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hasten.core.calibration import counted_share, expected_share, kinds, share_at
from hasten.core.decision import (
    DEAD_LINK_BITS_PER_MS,
    Context,
    Decision,
    IntArray,
    View,
    predicted_latency,
    useful_limit_ms,
)
from hasten.core.gain import task_gain
from hasten.core.jit import jitable
from hasten.core.options import DROP, OptionTable
from hasten.core.timing import predict_latency


@jitable
def expected_gain(gain: Any, late_gain: Any, share: Any) -> Any:
    """Of an option that brings ``gain`` if its promise is kept, which ``share`` of them are. Elementwise."""
    return late_gain + counted_share(share) * (gain - late_gain)


class ExpectedGain:
    """The rule over a table of options, each with its ``column`` (M, J') in the context's table."""

    def __init__(self, context: Context, table: OptionTable, column: IntArray) -> None:
        self.table, self.column = table, column
        self._context = context
        self._limit_ms = useful_limit_ms(context)
        self._kind = kinds(table)
        terms = context.gain_terms
        timed = terms.time_weight > 0.0 or terms.fade > 0.0
        self._single = None if timed else [_OneStream(self, context, m) for m in range(table.streams)]

    def decide(self, view: View) -> Decision:
        """The option of the largest expected gain for each decision, or DROP."""
        if len(view.stream) == 1 and self._single is not None and not view.further_edges:
            return Decision(np.array([self._single[view.stream.item()].best(view)]))
        latency_ms = predicted_latency(self._context, view, self.table)
        stream = slice(None) if self.table.streams == 1 else view.stream  # one row broadcasts, which is cheaper
        deadline_ms = self._context.deadline_ms[stream][:, None]
        slack = (self._limit_ms[stream][:, None] - latency_ms) / deadline_ms
        share = expected_share(view, slack, self._kind[stream])
        terms = self._context.gain_terms
        gain = task_gain(self.table.worth[stream], latency_ms, deadline_ms, *terms)
        expected = np.where(slack >= 0.0, expected_gain(gain, terms.late_gain, share), -np.inf)
        equals = expected == expected.max(axis=1, keepdims=True)
        best = np.where(equals, -latency_ms, -np.inf).argmax(axis=1)
        found = expected[np.arange(len(best)), best] > -np.inf
        return Decision(np.where(found, self.column[view.stream, best], DROP))


class _OneStream:
    """The same for one decision of a stream, on a device's budget: what cannot win is not looked at.

    Only where gains do not depend on when an option ends, if that is in time.
    """

    def __init__(self, rule: ExpectedGain, context: Context, stream: int) -> None:
        table, count = rule.table, int(rule.table.count[stream])
        self._limit_ms = float(useful_limit_ms(context)[stream])
        self._deadline_ms = float(context.deadline_ms[stream])
        self._late_gain, self._rtt_ms = context.gain_terms.late_gain, context.rtt_ms
        self._needs = table.device_ms[stream, :count], table.payload_bits[stream, :count], table.edge_ms[stream, :count]
        worth, sends = table.worth[stream, :count], table.payload_bits[stream, :count] > 0
        most = np.maximum(worth, self._late_gain)
        first = np.argsort(-most, kind="stable")
        self._options = list(
            zip(
                first.tolist(),
                worth[first].tolist(),
                most[first].tolist(),
                sends[first].astype(int).tolist(),
                rule.column[stream, first].tolist(),
                strict=True,
            )
        )

    def best(self, view: View) -> int:
        """The option in the context's table, or DROP."""
        waits = view.device_wait_ms.item(), view.uplink_wait_ms.item(), view.edge_wait_ms.item(0)
        rate = max(view.rate_bits_per_ms.item(), DEAD_LINK_BITS_PER_MS)
        rtt_ms = view.beside_ms(self._rtt_ms).item()
        latency_ms = predict_latency(*waits, *self._needs, rate, rtt_ms).tolist()
        shares = None if view.kept_share is None else view.kept_share[0].tolist()
        best, best_gain, best_ms, best_place = DROP, -np.inf, np.inf, 0
        for place, worth, most, kind, column in self._options:
            if most < best_gain:
                break  # nor can any of those behind be better
            end_ms = latency_ms[place]
            slack = (self._limit_ms - end_ms) / self._deadline_ms
            if slack < 0.0:
                continue
            share = 1.0 if shares is None else share_at(slack, shares[kind])
            gain = expected_gain(worth, self._late_gain, share)
            if (gain, -end_ms, -place) > (best_gain, -best_ms, -best_place):
                best, best_gain, best_ms, best_place = column, gain, end_ms, place
        return best
