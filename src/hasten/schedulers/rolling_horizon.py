"""Rolling-horizon planning: at each arrival solve the next few predicted ones exactly, then do only the first.

Model-predictive control without learning. Each stream is forecast as periodic from a moving average of its gaps; the
link's rate is taken to stay as it is. The plan comes from the offline solver's label-setting kernel, started from
the visible backlogs. Where other devices' backlogs are not visible, or every stream has an uplink of its own, only
the deciding stream is planned and the others show through the edge's backlog. Among several edges that is told by
the first one's uplink. Tasks are planned in grant order. Where
predictions are not exact, a plan weighs what the deciding stream's options bring by the share of such promises kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.calibration import expected_share, kinds
from hasten.core.compiled import allocating
from hasten.core.decision import (
    DEAD_LINK_BITS_PER_MS,
    Context,
    Decision,
    EdgeChoosing,
    View,
    predicted_latency,
    useful_limit_ms,
)
from hasten.core.errors import InputError
from hasten.core.expected_gain import expected_gain
from hasten.core.options import OptionTable
from hasten.offline.exact.advance import TIE_PRICE_PER_MS, SearchProgress, advance
from hasten.offline.exact.labels import Frontier, clip, upcoming_from
from hasten.offline.exact.record import DecisionRecord, traced
from hasten.offline.instance import (
    Costs,
    Instance,
    KnownTasks,
    Rates,
    alone_gains,
    among_edges,
    costs_of,
    following_tasks,
)
from hasten.sim.ways import Ways, ways_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DEFAULT_HORIZON = 6
MOST_HORIZON = 100
MOST_LABELS = 200
"""Plans are beams of this width, which bounds the time of a decision."""
NEW_GAP_WEIGHT = 0.2
"""Weight of the newest gap in a stream's moving average."""


class RollingHorizon(EdgeChoosing):
    """Plans the task at hand together with the next ``horizon`` predicted arrivals (``rolling-horizon:8``)."""

    name = "rolling-horizon"

    def __init__(self, argument: str = "") -> None:
        if argument and not (argument.isdigit() and 0 <= int(argument) <= MOST_HORIZON):
            raise InputError("schedulers", self.name, argument, f"a number of arrivals, 0 to {MOST_HORIZON}")
        self._horizon = int(argument) if argument else DEFAULT_HORIZON

    def reset(self, context: Context) -> None:
        """Lay out the costs to plan with, and start every forecast from the nominal arrival rate."""
        table, self._column = context.options.undominated()
        self._context, self._table, self._kind = context, table, kinds(table)
        self._joint = context.shared_uplink and table.streams == context.streams
        rows = [np.arange(table.streams)] if self._joint else [np.array([m]) for m in range(table.streams)]
        self._costs = [
            costs_of(
                _rows(table, row),
                context.deadline_ms[row],
                context.gain_terms,
                context.rtt_ms,
                context.workers,
                shared_uplink=True,
            )
            for row in rows
        ]
        self._gap_ms = np.tile(1000.0 / np.maximum(context.rate_hz, 1e-9), (context.batch, 1))
        self._last_ms = np.full((context.batch, table.streams), np.nan)
        of_streams = np.zeros((0, len(rows[0])))
        stream = np.zeros(0, dtype=np.int64)
        _first_decisions(
            self._costs[0], stream, of_streams, of_streams, of_streams, of_streams, self._horizon, of_streams
        )  # compiles now

    def decide(self, view: View) -> Decision:
        """The first decision of each plan."""
        self._observe(view)
        planned = np.empty(len(view.row), dtype=np.int64)
        groups = np.zeros(len(view.row), dtype=np.int64) if self._joint else view.stream
        for group in np.unique(groups):
            here = np.flatnonzero(groups == group)
            alone = self._context.from_devices and view.further_edges  # round trips are each run's own
            for some in here[:, None] if alone else (here,):
                planned[some] = self._plan(view, some, int(group))
        chosen = self._column[view.stream, np.maximum(planned, 0)]
        return Decision(np.where(planned < 0, planned, chosen))

    def _observe(self, view: View) -> None:
        """Note the arrivals that are being decided."""
        last_ms = self._last_ms[view.row, view.stream]
        seen = ~np.isnan(last_ms)
        gap_ms = self._gap_ms[view.row, view.stream]
        newest = np.where(seen, view.now_ms - last_ms, gap_ms)
        self._gap_ms[view.row, view.stream] = (1.0 - NEW_GAP_WEIGHT) * gap_ms + NEW_GAP_WEIGHT * newest
        self._last_ms[view.row, view.stream] = view.now_ms

    def _plan(self, view: View, here: IntArray, group: int) -> IntArray:
        """Undominated option, or DROP, for the decisions ``here`` (B',), which share one table of costs."""
        row = view.row[here]
        if self._joint:
            stream, device_ms = view.stream[here], view.others_wait_ms[here].copy()
            device_ms[np.arange(len(here)), stream] = view.device_wait_ms[here]
            gap_ms, last_ms = self._gap_ms[row], self._last_ms[row]
        else:
            stream, device_ms = np.zeros(len(here), dtype=np.int64), view.device_wait_ms[here][:, None]
            gap_ms, last_ms = self._gap_ms[row, group][:, None], self._last_ms[row, group][:, None]
        uplinks_ms = [edge.uplink_wait_ms[here][:, None] for edge in view.edges]
        workers_ms = [edge.edge_wait_ms[here] for edge in view.edges]
        rates = np.stack([edge.rate_bits_per_ms[here] for edge in view.edges], axis=1)
        costs = self._costs[group]
        planned: IntArray = _first_decisions(
            among_edges(costs, self._ways(view, group, here[0])) if view.further_edges else costs,
            stream,
            np.ascontiguousarray(np.concatenate([device_ms, *uplinks_ms, *workers_ms], axis=1)),
            np.ascontiguousarray(np.maximum(rates, DEAD_LINK_BITS_PER_MS)),
            np.ascontiguousarray(view.now_ms[here][:, None] - last_ms),
            np.ascontiguousarray(gap_ms),
            self._horizon,
            self._expected_worth(view.of(here)),
        )
        return planned

    def _ways(self, view: View, group: int, here: int) -> Ways:
        """The ways to several edges as seen by decision ``here``, each with one link for all streams planned for."""
        streams = self._costs[group].streams
        link = np.tile(np.arange(len(view.edges))[:, None], (1, streams))
        rtt_ms = [self._context.rtt_ms, *(float(edge.rtt_ms[here]) for edge in view.further_edges)]
        edge = self._table.edge if self._joint else self._table.edge[group : group + 1]
        return ways_of(edge, link, rtt_ms, [seen.edge_wait_ms.shape[1] for seen in view.edges])

    def _expected_worth(self, view: View) -> FloatArray:
        """(B, J): the options' worth by promises kept; no rows where they are taken at their word."""
        if self._context.exact or view.kept_share is None:
            return np.zeros((0, 0))
        stream, late_gain = view.stream, self._context.gain_terms.late_gain
        latency_ms = predicted_latency(self._context, view, self._table)
        slack = (useful_limit_ms(self._context)[stream][:, None] - latency_ms) / self._context.deadline_ms[stream][
            :, None
        ]
        share = np.where(slack >= 0.0, expected_share(view, slack, self._kind[stream]), 1.0)
        return np.ascontiguousarray(expected_gain(self._table.worth[stream], late_gain, share))


def _rows(table: OptionTable, row: IntArray) -> OptionTable:
    """Some rows of a table of options; a plan takes tasks that may stop early as if they went all the way."""
    names = (name for name in OptionTable.__dataclass_fields__ if name != "stops")
    return OptionTable(**{name: getattr(table, name)[row] for name in names})


@allocating
def _first_decisions(
    costs: Costs,
    stream: IntArray,
    waits_ms: FloatArray,
    rate: FloatArray,
    since_ms: FloatArray,
    gap_ms: FloatArray,
    horizon: int,
    worth: FloatArray,
) -> IntArray:
    """Plan each of B decisions by itself.

    Args:
        costs: of the streams planned for, on one uplink to each edge.
        stream: (B,), of the task at hand.
        waits_ms: (B, M + E + W), backlogs of devices, uplinks and workers.
        rate: (B, E), bits per ms.
        since_ms: (B, M), time since each stream's last arrival; NaN for a stream not seen yet.
        gap_ms: (B, M), predicted gaps.
        horizon: predicted arrivals per plan.
        worth: (B, J), of the options of each task's stream; no rows where the costs tell it.

    Returns:
        (B,): the first option of each plan, or DROP.
    """
    decided = np.empty(len(stream), np.int64)
    for b in range(len(stream)):
        expected = _with_worth(costs, stream[b], worth[b]) if len(worth) else costs
        rates = _steady(expected, rate[b])
        tasks = _forecast(expected, rates, stream[b], since_ms[b], gap_ms[b], horizon)
        decided[b] = _plan_from(Instance(expected, rates, tasks), waits_ms[b])
    return decided


@allocating
def _with_worth(costs: Costs, stream: int, worth: FloatArray) -> Costs:
    """The same costs, but for what one stream's options are worth (J,)."""
    of_all = costs.worth.copy()
    of_all[stream] = worth
    return Costs(
        costs.device_ms, costs.payload_bits, costs.edge_ms, of_all, costs.options, costs.deadline_ms, costs.limit_ms,
        costs.gain_terms, costs.rtt_ms, costs.workers, costs.streams, costs.links, costs.before_send_ms,
        costs.ways,
    )  # fmt: skip


@allocating
def _steady(costs: Costs, rate: FloatArray) -> Rates:
    """Uplinks whose rates (E,) stay."""
    smallest_bits = np.inf
    for bits in costs.payload_bits.flat:
        if bits > 0:
            smallest_bits = min(smallest_bits, bits)
    links = len(rate)
    nothing = np.zeros(links)
    return Rates(nothing, rate, nothing, np.arange(links + 1), np.full(links, np.inf), smallest_bits / rate)


@allocating
def _forecast(
    costs: Costs, rates: Rates, stream: int, since_ms: FloatArray, gap_ms: FloatArray, horizon: int
) -> KnownTasks:
    """The task at hand at time 0 and the next arrivals if every stream is periodic.

    An overdue arrival is expected a whole gap from now: taking it for imminent, as a truly periodic one would be,
    makes plans for Poisson arrivals so cautious that they fall behind Greedy.
    """
    streams = len(gap_ms)
    due_ms = np.empty(streams)
    for m in range(streams):
        since = 0.0 if np.isnan(since_ms[m]) or since_ms[m] >= gap_ms[m] else since_ms[m]
        due_ms[m] = gap_ms[m] - since
    arrival_ms, of_stream = np.zeros(horizon + 1), np.empty(horizon + 1, np.int64)
    of_stream[0] = stream
    for k in range(1, horizon + 1):
        first = 0
        for m in range(1, streams):
            if due_ms[m] < due_ms[first]:
                first = m
        arrival_ms[k], of_stream[k] = due_ms[first], first
        due_ms[first] += gap_ms[first]
    following, first_task = following_tasks(of_stream, streams)
    alone = alone_gains(arrival_ms, of_stream, of_stream, costs, rates)
    remaining = np.zeros(horizon + 2)
    for k in range(horizon, -1, -1):
        remaining[k] = remaining[k + 1] + alone[k]
    return KnownTasks(arrival_ms, of_stream, of_stream, following, first_task, alone, remaining)


@allocating
def _plan_from(instance: Instance, waits_ms: FloatArray) -> Any:
    """The first decision of the best plan that starts with these backlogs."""
    costs, rates, tasks = instance
    n, width = len(tasks.arrival_ms), len(waits_ms)
    state_ms = np.empty((1, width))
    for d in range(width):
        state_ms[0, d] = waits_ms[d]
    clip(costs, rates, upcoming_from(tasks, 0).arrival_ms, state_ms[0])
    frontier = Frontier(state_ms, np.zeros((1, width)), np.zeros(1), np.full(1, -1))
    room = (n + 1) * MOST_LABELS
    record = DecisionRecord(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int16))
    plan = np.empty(n, np.int64)
    progress = SearchProgress(0, 1, 0, 1, -1, False, False, tasks.remaining[0], 0.0)
    progress, frontier = advance(
        instance, progress, frontier, record, plan, n, MOST_LABELS, -np.inf, TIE_PRICE_PER_MS, np.inf, np.inf,
        np.zeros(1, np.int64),
    )  # fmt: skip
    best = 0
    for i in range(progress.labels):
        if frontier.gain[i] > frontier.gain[best]:
            best = i
    traced(record, frontier.node[best], plan)
    return plan[0]
