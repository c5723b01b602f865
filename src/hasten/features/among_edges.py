"""The observation of :mod:`hasten.features.afterstates` where a device chooses among several edges.

Columns that speak of *the* uplink and *the* edge are those of the nearest edge, further columns hold means over all
others. So the length does not depend on the number of edges, nor does it matter in which order they are listed. The
nearest edge is the one that would be done first with the stream's mean tensor on an idle link and worker, at the
visible rate: backlogs do not count, so that it is the same after every option.

One decision or many: the same code makes both, in numpy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, IntArray, View
from hasten.core.options import OptionTable
from hasten.features.afterstates import (
    BEFORE,
    AfterstateFeatures,
    Afterstates,
    Observed,
    RateMemory,
    afterstates,
    longest_shares,
)
from hasten.features.layout import ContextFeature, Feature, FurtherContextFeature, FurtherOptionFeature, OptionFeature
from hasten.features.observation import CLIP, deadline_rates

LINK = {
    FurtherContextFeature.FURTHER_RATE: ContextFeature.RATE,
    FurtherContextFeature.FURTHER_RATE_AVERAGE: ContextFeature.RATE_AVERAGE,
    FurtherContextFeature.FURTHER_LONGEST_EDGE_TIME: ContextFeature.LONGEST_EDGE_TIME,
    FurtherContextFeature.FURTHER_ROUND_TRIP: FurtherContextFeature.ROUND_TRIP,
}
"""What is told of further edges, and of the nearest one."""
WAITS = {
    FurtherContextFeature.FURTHER_UPLINK_WAIT: ContextFeature.UPLINK_WAIT,
    FurtherContextFeature.FURTHER_EDGE_WAIT: ContextFeature.EDGE_WAIT,
}
LEFT = {
    FurtherOptionFeature.FURTHER_UPLINK_WAIT: OptionFeature.UPLINK_WAIT,
    FurtherOptionFeature.FURTHER_EDGE_WAIT: OptionFeature.EDGE_WAIT,
    FurtherOptionFeature.FURTHER_EDGE_MEAN_WAIT: OptionFeature.EDGE_MEAN_WAIT,
}


def afterstate_features(context: Context, options: OptionTable) -> AfterstateFeatures:
    """The features of a run with one edge or several."""
    return (AmongEdges if context.options.edge.any() else AfterstateFeatures)(context, options)


class AmongEdges(AfterstateFeatures):
    """Computes observations and masks from the views of one run, decision by decision."""

    def __init__(self, context: Context, options: OptionTable) -> None:
        super().__init__(context, options)
        edges = range(int(context.options.edge.max()) + 1)
        self._tables = [table_of_edge(options, edge) for edge in edges]
        rate = deadline_rates(options, context.deadline_ms)
        self._rates_of = [RateMemory(rate, context.batch) for _ in edges]
        self._longest_of = np.stack([longest_shares(table, context.deadline_ms)[:, 1] for table in self._tables])
        means = [_means(table) for table in self._tables]
        self._mean_bits, self._mean_edge_ms = (np.stack(parts) for parts in zip(*means, strict=True))

    def _look_at_links(self, view: View, features: FloatArray) -> None:
        near, views = self._near(view), views_of_edges(view)
        deadline_ms = self._context.deadline_ms[view.stream]
        trip_ms = np.stack([seen.beside_ms(self._context.rtt_ms) for seen in views])
        links = [
            memory.after(view.row, view.stream, seen.rate_bits_per_ms)
            for memory, seen in zip(self._rates_of, views, strict=True)
        ]
        share, average, variability = (np.stack(parts) for parts in zip(*links, strict=True))
        of_edges: dict[Feature, FloatArray] = {
            ContextFeature.RATE: share,
            ContextFeature.RATE_AVERAGE: average,
            ContextFeature.LONGEST_EDGE_TIME: self._longest_of[:, view.stream],
            FurtherContextFeature.ROUND_TRIP: trip_ms / (trip_ms + deadline_ms),
        }
        features[:, ContextFeature.RATE_VARIABILITY] = variability[near, np.arange(len(near))]
        for further, of_nearest in LINK.items():
            features[:, of_nearest], features[:, further] = split(of_edges[of_nearest], near)

    def _near(self, view: View) -> IntArray:
        """(B,): the nearest edge."""
        done_ms = [
            seen.beside_ms(self._context.rtt_ms)
            + bits[view.stream] / np.maximum(seen.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
            + edge_ms[view.stream]
            for seen, bits, edge_ms in zip(views_of_edges(view), self._mean_bits, self._mean_edge_ms, strict=True)
        ]
        return np.asarray(np.stack(done_ms).argmin(axis=0))

    def _complete(self, view: View, features: FloatArray) -> Observed:
        """Fill in what depends on backlogs."""
        near, views, stream = self._near(view), views_of_edges(view), view.stream
        after = [
            afterstates(replace(self._context, workers=seen.edge_wait_ms.shape[1]), seen, table)
            for seen, table in zip(views, self._tables, strict=True)
        ]
        at = self._options.edge[stream], np.arange(len(stream))[:, None], np.arange(self._options.edge.shape[1])
        latency_ms = np.stack([left.latency_ms for left in after])[at]
        per_deadline = 1.0 / self._context.deadline_ms[stream]
        waits = np.minimum(np.stack([np.stack(seen.waits) for seen in views]) * per_deadline, CLIP)  # (E, 3, B)
        first = replace(after[0], latency_ms=latency_ms)
        found = self._filled(view, features, first)
        if self._context.ready_order:
            for further, of_nearest in WAITS.items():
                found[:, of_nearest], found[:, further] = split(waits[:, BEFORE.index(of_nearest)], near)
        for further_block, block in LEFT.items():
            shares = split(_shares(block, after, per_deadline), near)
            found[:, self.layout.block(block)], found[:, self.layout.block(further_block)] = shares
        return found, self._mask(view, first), after


def table_of_edge(options: OptionTable, edge: int) -> OptionTable:
    """The same options, of which those at other edges send nothing: they leave this edge as it is."""
    here = options.edge == edge
    return replace(
        options, payload_bits=np.where(here, options.payload_bits, 0.0), edge_ms=np.where(here, options.edge_ms, 0.0)
    )


def views_of_edges(view: View) -> list[View]:
    """A view of each edge as if there were no other."""
    alone = replace(view, further_edges=())
    return [
        alone,
        *(
            replace(
                alone,
                uplink_wait_ms=edge.uplink_wait_ms,
                edge_wait_ms=edge.edge_wait_ms,
                rate_bits_per_ms=edge.rate_bits_per_ms,
                rtt_ms=edge.rtt_ms,
                unseen_wait_ms=None,
            )
            for edge in view.further_edges
        ),
    ]


def split(of_edges: FloatArray, near: IntArray) -> tuple[FloatArray, FloatArray]:
    """Of numbers (E, B, ...) those of the nearest edge (B, ...), and the means of all others."""
    nearest = of_edges[near, np.arange(len(near))]
    return nearest, (of_edges.sum(axis=0) - nearest) / (len(of_edges) - 1)


def _shares(feature: Feature, after: list[Afterstates], per_deadline: FloatArray) -> FloatArray:
    """(E, B, J+1): backlogs left at each edge as shares of the deadline, cut off."""
    if feature == OptionFeature.UPLINK_WAIT:
        left_ms = [left.uplink_ms for left in after]
    elif feature == OptionFeature.EDGE_WAIT:
        left_ms = [left.edge_ms[:, :, 0] for left in after]
    else:
        left_ms = [left.edge_ms.mean(axis=2) for left in after]
    return np.asarray(np.minimum(np.stack(left_ms) * per_deadline[:, None], CLIP))


def _means(table: OptionTable) -> tuple[FloatArray, FloatArray]:
    """(M,) each: mean payload in bits and mean edge time of the options that send something."""
    sends = table.payload_bits > 0
    count = np.maximum(sends.sum(axis=1), 1)
    return table.payload_bits.sum(axis=1) / count, np.where(sends, table.edge_ms, 0.0).sum(axis=1) / count
