"""DADS: the final exit, cut for latency while the pipeline keeps up with the stream, else for throughput.

Hu, Bao, Wang, Liu, "Dynamic Adaptive DNN Surgery for Inference Acceleration on the Edge", INFOCOM 2019: with stage
times Te (device), Tt (transfer) and Tc (edge) of a cut and Q tasks per second, the cut of least Te + Tt + Tc is taken
if its max(Te, Tt, Tc) < 1/Q (light load), else the cut of least max(Te, Tt, Tc) (heavy load). There a minimum cut of
the network's graph finds either; here the options are few and are all looked at. What M streams share is M times as
busy, so there a shared uplink's Tt counts M times and the edge's Tc M times per worker. It ignores queues, and takes
every cut for equally accurate.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, Decision, View, unloaded_latency
from hasten.schedulers import no_argument


class Dads:
    """The fastest cut of the whole network if the pipeline keeps up with it, else the cut of highest throughput."""

    name = "dads"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Find each stream's options that end at its final exit, and how busy the shared stages are."""
        self._context = context
        options = context.options
        final = options.exit == options.exit.max(axis=1, keepdims=True)
        self._table, self._column = options.columns([np.flatnonzero(row).tolist() for row in final])
        self._interval_ms = 1000.0 / context.rate_hz
        self._uplink_share = float(context.streams if context.shared_uplink else 1)
        self._own_load_ms = np.maximum(self._table.device_ms, self._table.edge_ms * (context.streams / context.workers))

    def decide(self, view: View) -> Decision:
        """The cut of the final exit, by the load."""
        stream, rows = view.stream, np.arange(len(view.stream))
        rate = np.maximum(view.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)[:, None]
        uplink_load_ms = self._uplink_share * self._table.payload_bits[stream] / rate
        busiest_ms = np.maximum(self._own_load_ms[stream], uplink_load_ms)
        fastest = unloaded_latency(self._context, view, self._table).argmin(axis=1)
        keeps_up = busiest_ms[rows, fastest] < self._interval_ms[stream]
        return Decision(self._column[stream, np.where(keeps_up, fastest, busiest_ms.argmin(axis=1))])
