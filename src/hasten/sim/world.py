"""What kernels are handed: the arrays of ``sim.arrays`` bundled by what they are about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.calibration import prior_shares
from hasten.core.decision import EdgeView, View
from hasten.sim.arrays import BoolArray, FloatArray, IntArray, Links, Log, Rules, State, Tasks
from hasten.sim.beliefs import StreamBeliefs
from hasten.sim.ways import Ways


class World(NamedTuple):
    """All that runs are made of; kernels take it as a whole."""

    rules: Rules
    tasks: Tasks
    links: Links
    state: State
    log: Log
    beliefs: StreamBeliefs


class Lane(NamedTuple):
    """A row of the batch, and where its tasks lie: slots in the state's arrays, facts in the tasks' arrays."""

    row: int
    first_slot: int
    first_task: int


class Shown(NamedTuple):
    """The arrays of a view (``core.decision.View``) that ``steps.observe`` fills, and the rows (A,) that it is of."""

    row: IntArray
    now_ms: FloatArray
    stream: IntArray
    device_wait_ms: FloatArray
    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    unseen_wait_ms: FloatArray
    rtt_ms: FloatArray
    """Empty where it is the context's."""
    rate_bits_per_ms: FloatArray
    others_wait_ms: FloatArray
    further_uplink_wait_ms: FloatArray
    """(E - 1, A): of further edges; likewise the rate."""
    further_edge_wait_ms: FloatArray
    """(E - 1, A, W): W is the most workers of one of these; those that an edge has not are not shown."""
    further_rate_bits_per_ms: FloatArray
    further_rtt_ms: FloatArray


class FurtherEdges(NamedTuple):
    """Room for what A decisions see of edges 1, 2, ...; arrays as in :class:`Shown`."""

    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    rate_bits_per_ms: FloatArray
    rtt_ms: FloatArray

    def seen(self, ways: Ways) -> tuple[EdgeView, ...]:
        """The part of a view that shows them."""
        workers = np.diff(ways.first_worker)[1:].tolist()
        return tuple(
            EdgeView(self.uplink_wait_ms[i], self.edge_wait_ms[i, :, :own], self.rate_bits_per_ms[i], self.rtt_ms[i])
            for i, own in enumerate(workers)
        )


def further_edges(ways: Ways, rows: int) -> FurtherEdges:
    """Room for ``rows`` decisions."""
    further = len(ways.rtt_ms) - 1
    most = int(np.diff(ways.first_worker)[1:].max(initial=0))
    shape = further, rows
    return FurtherEdges(np.zeros(shape), np.zeros((*shape, most)), np.zeros(shape), np.zeros(shape))


def shown(view: View, room: FurtherEdges) -> Shown:
    """A view's own arrays, for a kernel to fill; ``room`` is that of its further edges."""
    assert view.unseen_wait_ms is not None  # the simulator makes its views with it
    return Shown(
        row=view.row,
        now_ms=view.now_ms,
        stream=view.stream,
        device_wait_ms=view.device_wait_ms,
        uplink_wait_ms=view.uplink_wait_ms,
        edge_wait_ms=view.edge_wait_ms,
        unseen_wait_ms=view.unseen_wait_ms,
        rtt_ms=np.zeros(0) if view.rtt_ms is None else view.rtt_ms,
        rate_bits_per_ms=view.rate_bits_per_ms,
        others_wait_ms=view.others_wait_ms,
        further_uplink_wait_ms=room.uplink_wait_ms,
        further_edge_wait_ms=room.edge_wait_ms,
        further_rate_bits_per_ms=room.rate_bits_per_ms,
        further_rtt_ms=room.rtt_ms,
    )


def new_view(row: IntArray, rules: Rules) -> tuple[View, Shown]:
    """A view of these rows, and its arrays to be filled."""
    rows, ways = len(row), rules.ways
    room = further_edges(ways, rows)
    view = View(
        row=row.copy(),
        now_ms=np.zeros(rows),
        stream=np.zeros(rows, dtype=np.int64),
        device_wait_ms=np.zeros(rows),
        uplink_wait_ms=np.zeros(rows),
        edge_wait_ms=np.zeros((rows, ways.first_worker[1])),
        unseen_wait_ms=np.zeros(rows),
        rate_bits_per_ms=np.zeros(rows),
        others_wait_ms=np.zeros((rows, len(rules.deadline_ms))),
        kept_share=prior_shares(len(ways.rtt_ms))[None].repeat(rows, axis=0),
        rtt_ms=np.full(rows, rules.rtt_ms) if rules.from_devices else None,
        further_edges=room.seen(ways),
    )
    return view, shown(view, room)


class Told(NamedTuple):
    """Which outcomes a learning scheduler has been told, of T tasks."""

    chosen: IntArray
    """(T,): options as the scheduler chose them."""
    reported: BoolArray
    """(T,)"""
    oldest: IntArray
    """(B,): each row's first task that may still be open."""
    task_of: IntArray
    """(T,): the tasks whose outcome is told now, and their rows."""
    row_of: IntArray


class OptionFacts(NamedTuple):
    """The (exit, partition) of each option, (M, J), and the accuracy of each column of what tasks need, (M, J * E)."""

    exit: IntArray
    partition: IntArray
    accuracy: FloatArray


class Ends(NamedTuple):
    """What became of T tasks of B rows."""

    pair: IntArray
    """(T, 2): exit and partition; zeros for a task that was dropped."""
    accuracy: FloatArray
    exit: IntArray
    """(T,): the exit that has answered; 0 without an answer."""
    gain: FloatArray
    uplink_bits: FloatArray
    """(B,)"""
