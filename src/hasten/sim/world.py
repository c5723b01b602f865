"""What kernels are handed: the arrays of ``sim.arrays`` bundled by what they are about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.calibration import NODES
from hasten.core.decision import Context, View
from hasten.sim.arrays import BoolArray, FloatArray, IntArray, Links, Log, Rules, State, Tasks
from hasten.sim.beliefs import StreamBeliefs


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


def shown(view: View) -> Shown:
    """A view's own arrays, for a kernel to fill."""
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
    )


def new_view(row: IntArray, context: Context) -> View:
    """A view of these rows, to be filled."""
    rows = len(row)
    return View(
        row=row.copy(),
        now_ms=np.zeros(rows),
        stream=np.zeros(rows, dtype=np.int64),
        device_wait_ms=np.zeros(rows),
        uplink_wait_ms=np.zeros(rows),
        edge_wait_ms=np.zeros((rows, context.workers)),
        unseen_wait_ms=np.zeros(rows),
        rate_bits_per_ms=np.zeros(rows),
        others_wait_ms=np.zeros((rows, context.streams)),
        kept_share=np.ones((rows, 2, NODES)),
        rtt_ms=np.full(rows, context.rtt_ms) if context.from_devices else None,
    )


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
