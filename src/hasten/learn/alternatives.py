"""What another option would have left, and what the next decision would have met then: the timing law's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hasten.core.decision import Context, EdgeView, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.options import OptionTable
from hasten.core.rates import RateTrace
from hasten.core.timing import offload_ends
from hasten.features.afterstates import Afterstates


class Alternatives:
    """What the other option of each row's last decision would have left at every edge."""

    def __init__(
        self,
        context: Context,
        table: OptionTable,
        rates: Sequence[Sequence[RateTrace]] = (),
        links: IntArray | None = None,
    ) -> None:
        """``rates`` are those of each row's links, ``links`` (E, M) each stream's to each edge; one edge without."""
        streams = len(context.deadline_ms)
        one = np.zeros(streams, dtype=np.int64) if context.shared_uplink else np.arange(streams)
        self._links = one[None] if links is None else links
        self._context, self._table = context, table
        self._rates = rates if any(len(trace.from_ms) > 1 for links in rates for trace in links) else ()
        self._limit_ms = useful_limit_ms(context)
        self._stream = np.full(context.batch, -1)
        self._now_ms, self._device_ms = np.zeros(context.batch), np.zeros(context.batch)
        self._uplink_ms = np.zeros((len(self._links), context.batch))
        self._edge_ms: list[FloatArray] = []

    def keep(self, view: View, after: Sequence[Afterstates], other: IntArray) -> None:
        """Remember these decisions, after which each edge is as ``after`` tells."""
        row, at = view.row, np.arange(len(view.row))
        if not self._edge_ms:
            self._edge_ms = [np.zeros((self._context.batch, left.edge_ms.shape[2])) for left in after]
        self._stream[row], self._now_ms[row] = view.stream, view.now_ms
        self._device_ms[row] = after[0].device_ms[at, other]
        for left, uplink_ms, edge_ms in zip(after, self._uplink_ms, self._edge_ms, strict=True):
            uplink_ms[row], edge_ms[row] = left.uplink_ms[at, other], left.edge_ms[at, other]
        if self._rates:
            self._transfer(view, other)

    def _transfer(self, view: View, other: IntArray) -> None:
        """Let what was to be sent go at the rates to come, where they vary; what would come too late uses nothing."""
        options = self._table.exit.shape[1]
        for i, (row, stream, option) in enumerate(zip(view.row, view.stream, other, strict=True)):
            bits = self._table.payload_bits[stream, option] if option < options else 0.0
            edge = int(self._table.edge[stream, option]) if bits > 0 else 0
            trace = self._rates[row][self._links[edge, stream]]
            if bits == 0 or len(trace.from_ms) == 1:
                continue
            there = view.edges[edge]
            rtt_ms = there.rtt_ms[i] if isinstance(there, EdgeView) else self._context.rtt_ms
            now_ms, workers_ms = view.now_ms[i], there.edge_wait_ms[i].copy()
            waits_ms = self._device_ms[row], there.uplink_wait_ms[i], workers_ms[0]
            costs = bits, self._table.edge_ms[stream, option], rtt_ms
            sent_ms, end_ms, answer_ms = offload_ends(*waits_ms, *costs, _sent_on, trace, now_ms)
            if answer_ms <= self._limit_ms[stream]:
                workers_ms[0] = end_ms
                self._uplink_ms[edge, row], self._edge_ms[edge][row] = sent_ms, np.sort(workers_ms)
            else:
                self._device_ms[row], self._uplink_ms[edge, row] = view.device_wait_ms[i], there.uplink_wait_ms[i]
                self._edge_ms[edge][row] = workers_ms

    def otherwise(self, view: View) -> View:
        """The view had the other option been taken before; the same where nothing was decided yet."""
        row, at = view.row, np.arange(len(view.row))
        stream, gap_ms = self._stream[row], view.now_ms - self._now_ms[row]
        some, own = stream >= 0, stream == view.stream
        if not some.any():
            return view
        device_ms = np.maximum(self._device_ms[row] - gap_ms, 0.0)
        others_ms = view.others_wait_ms.copy()
        others_ms[at, stream] = np.where(some, device_ms, others_ms[at, stream])
        edges = []
        for there, links, left_ms, workers_left_ms in zip(
            view.edges, self._links, self._uplink_ms, self._edge_ms, strict=True
        ):
            same = some & (links[stream] == links[view.stream])
            uplink_ms = np.maximum(left_ms[row] - gap_ms, 0.0)
            edge_ms = np.maximum(workers_left_ms[row] - gap_ms[:, None], 0.0)
            edges.append(
                (
                    np.where(same, uplink_ms, there.uplink_wait_ms),
                    np.where(some[:, None], edge_ms, there.edge_wait_ms),
                )
            )
        further = tuple(
            replace(edge, uplink_wait_ms=uplink_ms, edge_wait_ms=edge_ms)
            for edge, (uplink_ms, edge_ms) in zip(view.further_edges, edges[1:], strict=True)
        )
        return replace(
            view,
            device_wait_ms=np.where(own, device_ms, view.device_wait_ms),
            uplink_wait_ms=edges[0][0],
            edge_wait_ms=edges[0][1],
            others_wait_ms=others_ms,
            further_edges=further,
        )


def _sent_on(start_ms: float, payload_bits: float, trace: RateTrace, now_ms: float) -> float:
    """When a transfer at the rates of a link ends; times from now on."""
    return trace.transfer_end(now_ms + start_ms, payload_bits) - now_ms
