"""The value-to-go heuristic: dual prices of time, and what each stream alone can still gain at these prices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import inlined
from hasten.offline.bound.bounds import paid_before
from hasten.offline.bound.decomposition import DualPrices
from hasten.offline.bound.grid import Grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


DISCOUNT = 0.9
"""Plans turn out better at somewhat less than the prices of the bound, where tasks may be shared out in fractions."""


class Heuristic(NamedTuple):
    """DualPrices and values for tasks by stream (Q) and in order of arrival (N), over cells (T)."""

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
    """(K, J), by case (``offline.cases``)."""
    link_paid: FloatArray
    """(L, T + 3): price of all time of a link before each cell."""
    edge_paid: FloatArray
    """(T + 3,): likewise for one worker."""
    cell_ms: float
    origin_cell: int
    multiplier: FloatArray
    """(Q, blocks): what a transfer pays for starting in a block (``offline.bound.grant_order``); (0, 0) without."""
    collected: FloatArray
    """(N + 1, blocks): multipliers that are still to be collected from a task and a block on."""
    first_block: IntArray
    """(N,): block of each task's arrival."""
    block_cells: int


def heuristic_of(prices: DualPrices, grid: Grid, values: FloatArray) -> Heuristic:
    """``values`` (Q, grid.width) are those of the relaxation at the prices."""
    place = np.empty(len(grid.order), dtype=np.int64)
    place[grid.order] = np.arange(len(grid.order))
    order, multiplier = prices.order, prices.multiplier
    return Heuristic(
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
        multiplier=np.zeros((0, 0)) if multiplier is None else multiplier,
        collected=np.zeros((0, 0)) if order is None else order.collected,
        first_block=np.zeros(0, dtype=np.int64) if order is None else order.first_block,
        block_cells=1 if order is None else order.block_cells,
    )


def discounted(heuristic: Heuristic, by: float) -> Heuristic:
    """The same heuristic with all time of uplink and edge at ``by`` times its price."""
    return heuristic._replace(link_paid=by * heuristic.link_paid, edge_paid=by * heuristic.edge_paid)


@inlined
def price_until(heuristic: Heuristic, paid: FloatArray, time_ms: float) -> Any:
    """Price of all time before ``time_ms``."""
    position = time_ms / heuristic.cell_ms - heuristic.origin_cell
    last = len(paid) - 1
    if position >= last:
        return paid[last]
    cell = int(position)
    return paid[cell] + (position - cell) * (paid[cell + 1] - paid[cell])


@inlined
def value_to_go(heuristic: Heuristic, stream: int, q: int, free_ms: float) -> Any:
    """What a stream can gain from its task at ``q`` on when its device is free from ``free_ms``."""
    if q >= heuristic.stream_end[stream]:
        return 0.0
    backlog = heuristic.values.shape[1] - 1
    position = free_ms / heuristic.cell_ms - heuristic.origin_cell - heuristic.first_cell[q]
    if position < backlog:
        backlog = max(int(position), 0)
    return heuristic.values[q, backlog]


@inlined
def multiplier_at(heuristic: Heuristic, k: int, start_ms: float) -> Any:
    """What task ``k`` pays for a transfer that starts at ``start_ms``; 0 without multipliers."""
    if heuristic.multiplier.shape[0] == 0:
        return 0.0
    block = (
        int(start_ms / heuristic.cell_ms) - heuristic.origin_cell
    ) // heuristic.block_cells - heuristic.first_block[k]
    return heuristic.multiplier[heuristic.place[k], min(max(block, 0), heuristic.multiplier.shape[1] - 1)]


@inlined
def to_collect(heuristic: Heuristic, k: int, from_ms: float) -> Any:
    """Multipliers that tasks from ``k`` on can pay if no transfer of theirs starts before ``from_ms``; 0 without."""
    if heuristic.multiplier.shape[0] == 0 or k >= len(heuristic.first_block):
        return 0.0
    last = heuristic.collected.shape[1] - 1
    position = from_ms / heuristic.cell_ms - heuristic.origin_cell - heuristic.first_block[k] * heuristic.block_cells
    if position >= (last + 1) * heuristic.block_cells:
        return heuristic.collected[k, last]
    return heuristic.collected[k, max(int(position), 0) // heuristic.block_cells]
