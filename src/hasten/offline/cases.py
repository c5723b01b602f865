"""Cases: what the options of each task need, where it is known at which exit it stops.

Without early stops a stream's tasks are all alike, and each stream is a case. With them (``core.confidence``) a
realization says how easy each task is, so it is known beforehand where it stops with each option: the tasks of a
stream that stop alike with all of them are one case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import OptionTable
from hasten.core.scenario import Realization, Scenario
from hasten.core.stops import Stops
from hasten.sim.edge_batches import pack_batches

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Cases(NamedTuple):
    """K cases, and which of them each task is."""

    table: OptionTable
    """Rows are cases: what their tasks need and are worth with each option, (K, J)."""
    stream: IntArray
    """(K,)"""
    case: IntArray
    """(N,)"""
    excess_ms: FloatArray
    """(K, J): how much before its last useful moment a task must be answered: what is cancelled in ready order is
    judged as if it went all the way."""

    def undominated(self) -> tuple[Cases, IntArray]:
        """The same with the options that are worth considering, and the column (K, J') each had here."""
        table, column = self.table.undominated(self.excess_ms)
        return self._replace(table=table, excess_ms=np.take_along_axis(self.excess_ms, column, axis=1)), column


def cases_of(scenario: Scenario, realization: Realization) -> Cases:
    """The cases of a realization's tasks; where tasks stop early, only those that occur."""
    table = in_largest_batches(scenario)
    if table.stops is None or realization.ease is None or realization.tasks == 0:
        return Cases(table, np.arange(table.streams), realization.stream, np.zeros(table.exit.shape))
    streams: list[IntArray] = []
    stops: list[IntArray] = []
    case = np.zeros(realization.tasks, dtype=np.int64)
    for m in np.unique(realization.stream):
        mine = realization.stream == m
        stop, which = _stop_alike(table.stops.until[m], realization.ease[mine])
        case[mine] = sum(len(rows) for rows in stops) + which
        streams.append(np.full(len(stop), m))
        stops.append(stop)
    stream = np.concatenate(streams)
    cases = _stopping(table, table.stops, stream, np.concatenate(stops))
    return Cases(cases, stream, case, _excess_ms(scenario, cases, stream))


def in_largest_batches(scenario: Scenario) -> OptionTable:
    """A scenario's options; of an edge that runs tasks at once with the least that each can take of a worker.

    That is a task's share of the batch that takes least per task. Any schedule with batches is one of tasks that take
    their share each, one after the other while the batch lasts: none starts before it could, or ends later. So what
    bounds these, in any order of service, bounds those.
    """
    table, batches = scenario.options, pack_batches(scenario, scenario.options)
    if len(batches.kind) == 0:
        return table
    least = np.append((batches.times.factors / batches.times.sizes).min(axis=1), 1.0)  # the last is of BY_ITSELF
    return replace(table, edge_ms=table.edge_ms * least[batches.kind])


def _stop_alike(until: FloatArray, ease: FloatArray) -> tuple[IntArray, IntArray]:
    """Where a stream's tasks stop, (K, J): indices of exits; and which of these rows each task is, (N,).

    ``until`` (J, E) is the share of tasks that stop at each exit or before, ``ease`` (N,) how easy the tasks are.
    """
    steps = np.unique(until[:, :-1])
    passed, which = np.unique(np.searchsorted(steps, ease, side="right"), return_inverse=True)
    least = np.append(-1.0, steps)[passed]
    return (least[:, None, None] >= until[:, :-1]).sum(axis=2), which.ravel()


def _stopping(table: OptionTable, stops: Stops, stream: IntArray, stop: IntArray) -> OptionTable:
    """Options of tasks of ``stream`` (K,) that stop at ``stop`` (K, J)."""
    at = stream[:, None], np.arange(stop.shape[1]), stop
    return OptionTable(
        exit=table.exit[stream],
        partition=table.partition[stream],
        device_ms=stops.device_ms[at],
        payload_bits=stops.payload_bits[at],
        edge_ms=stops.edge_ms[at],
        accuracy=stops.accuracy[at],
        worth=stops.worth[at],
        energy_mj=stops.energy_mj[at],
        edge=table.edge[stream],
        count=table.count[stream],
    )


def _excess_ms(scenario: Scenario, cases: OptionTable, stream: IntArray) -> FloatArray:
    """(K, J): see :class:`Cases`; in grant order a task is dropped by what it really needs."""
    whole = scenario.options
    if scenario.uplink.order != "ready":
        return np.zeros(cases.exit.shape)
    real = np.arange(cases.exit.shape[1]) < cases.count[:, None]
    device_ms = np.where(real, whole.device_ms[stream], 0.0) - np.where(real, cases.device_ms, 0.0)
    edge_ms = whole.edge_ms[stream] - cases.edge_ms
    way_ms = np.where((whole.payload_bits[stream] > 0) & (cases.payload_bits == 0), scenario.uplink.rtt_ms, 0.0)
    return np.asarray(np.maximum(device_ms + edge_ms + way_ms, 0.0))
