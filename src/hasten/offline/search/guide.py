"""What guides the search for plans: the price of time, and what each stream alone can still gain at these prices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import inlined
from hasten.offline.bound.bounds import paid_before
from hasten.offline.bound.decomposition import Prices
from hasten.offline.bound.grid import Grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


DISCOUNT = 0.9
"""Plans turn out better at somewhat less than the prices of the bound, where tasks may be shared out in fractions."""


class Guide(NamedTuple):
    """Prices and values for tasks by stream (Q) and in order of arrival (N), over cells (T)."""

    place: IntArray
    """(N,): position q of each task in order of streams."""
    stream_first: IntArray
    """(M,): each stream's first position."""
    stream_end: IntArray
    """(M,): one past each stream's last position."""
    first_cell: IntArray
    """(Q,): cell of each task's arrival."""
    values: FloatArray
    """(Q, width): what a stream can gain from this task on, by its device's backlog in cells."""
    usable: NDArray[np.bool_]
    """(M, J)"""
    link_paid: FloatArray
    """(L, T + 3): price of all time of a link before each cell."""
    edge_paid: FloatArray
    """(T + 3,): likewise for one worker."""
    cell_ms: float
    origin_cell: int
    toll: FloatArray
    """(Q, blocks): what a transfer pays for starting in a block, see ``offline.bound.order``; (0, 0) without tolls."""
    collected: FloatArray
    """(N + 1, blocks): tolls that are still to be collected from a task and a block on."""
    first_block: IntArray
    """(N,): block of each task's arrival."""
    toll_cells: int


def guide_of(prices: Prices, grid: Grid, values: FloatArray) -> Guide:
    """``values`` (Q, grid.width) are those of the relaxation at the prices."""
    place = np.empty(len(grid.order), dtype=np.int64)
    place[grid.order] = np.arange(len(grid.order))
    order, toll = prices.order, prices.toll
    return Guide(
        place=place,
        stream_first=grid.first[:-1].copy(),
        stream_end=grid.first[1:].copy(),
        first_cell=grid.arrival,
        values=values,
        usable=grid.usable,
        link_paid=DISCOUNT * paid_before(prices.link),
        edge_paid=DISCOUNT * paid_before(prices.edge),
        cell_ms=grid.cell_ms,
        origin_cell=grid.origin_cell,
        toll=np.zeros((0, 0)) if toll is None else toll,
        collected=np.zeros((0, 0)) if order is None else order.collected,
        first_block=np.zeros(0, dtype=np.int64) if order is None else order.first_block,
        toll_cells=1 if order is None else order.toll_cells,
    )


def discounted(guide: Guide, by: float) -> Guide:
    """The same guide with all time of uplink and edge at ``by`` times its price."""
    return guide._replace(link_paid=by * guide.link_paid, edge_paid=by * guide.edge_paid)


@inlined
def paid_until(guide: Guide, paid: FloatArray, time_ms: float) -> Any:
    """Price of all time before ``time_ms``."""
    position = time_ms / guide.cell_ms - guide.origin_cell
    last = len(paid) - 1
    if position >= last:
        return paid[last]
    cell = int(position)
    return paid[cell] + (position - cell) * (paid[cell + 1] - paid[cell])


@inlined
def future(guide: Guide, stream: int, q: int, free_ms: float) -> Any:
    """What a stream can gain from its task at ``q`` on when its device is free from ``free_ms``."""
    if q >= guide.stream_end[stream]:
        return 0.0
    backlog = guide.values.shape[1] - 1
    position = free_ms / guide.cell_ms - guide.origin_cell - guide.first_cell[q]
    if position < backlog:
        backlog = max(int(position), 0)
    return guide.values[q, backlog]


@inlined
def toll_at(guide: Guide, k: int, start_ms: float) -> Any:
    """What task ``k`` pays for a transfer that starts at ``start_ms``; 0 without tolls."""
    if guide.toll.shape[0] == 0:
        return 0.0
    block = (int(start_ms / guide.cell_ms) - guide.origin_cell) // guide.toll_cells - guide.first_block[k]
    return guide.toll[guide.place[k], min(max(block, 0), guide.toll.shape[1] - 1)]


@inlined
def to_collect(guide: Guide, k: int, from_ms: float) -> Any:
    """Tolls that tasks from ``k`` on can pay if no transfer of theirs starts before ``from_ms``; 0 without tolls."""
    if guide.toll.shape[0] == 0 or k >= len(guide.first_block):
        return 0.0
    last = guide.collected.shape[1] - 1
    position = from_ms / guide.cell_ms - guide.origin_cell - guide.first_block[k] * guide.toll_cells
    if position >= (last + 1) * guide.toll_cells:
        return guide.collected[k, last]
    return guide.collected[k, max(int(position), 0) // guide.toll_cells]
