"""A tighter bound in ready order on a shared uplink: ordering multipliers for the order of service at the edge.

Dual prices alone let a tensor pass others that wait for the edge, and the relaxation serves first what is urgent. Here
a task also pays a multiplier for each moment at the edge, by the block of time in which its tensor was ready and the
block in which it is served. Workers take tasks in the order of readiness, so what each collects is at most the longest
path through the blocks of service along which readiness never goes back, found by a small dynamic program. The streams'
values with multipliers plus that longest path for each worker bound every schedule, for any multipliers >= 0
(Lagrangian decomposition: Guignard and Kim, Mathematical Programming 1987). ``offline.bound.grant_order`` does the same
for grant order.

To be ready later may pay under multipliers, so no option may be left out because another one beats it in everything.

Multipliers and prices descend together as in ``offline.bound.decomposition``, whose prices are where they start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.offline.bound.bounds import THREADS, Relaxation, paid_before
from hasten.offline.bound.decomposition import DualPrices
from hasten.offline.bound.descent import Blocks, Descent, WorkingSet, share_done, tries_all
from hasten.offline.bound.kernels import NO_OPTION
from hasten.offline.bound.service_order_kernels import (
    ServiceOptima,
    Tried,
    add_up_multipliers,
    longest_service_order,
    solve_in_service_order,
)
from hasten.offline.bound.service_values import ServicePrices
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_STEP = 0.12
"""First step of a price and of a multiplier, as a share of the largest worth per deadline."""
SHRINKAGE = 40.0
"""The last step is smaller by this."""
MULTIPLIER_SCALE_MS = 0.4
"""Smallest scale of a multiplier's subgradient, which is service in ms: most are zero most of the time."""
FINE_FROM = 0.95
"""Share of the rounds after which the fine grid takes over."""
MOST_MULTIPLIER_CELLS = 5e7
"""With more prices of a cell of the fine grid than this, by block of readiness, no multipliers are tried."""


@dataclass
class ServiceOrderValue:
    """The relaxation at given prices and multipliers."""

    bound: float
    """No schedule's total gain exceeds this (sum over tasks, not a mean); infinite if not all options were tried."""
    link_use: FloatArray
    """(1, T): how much of each cell the streams' own optima use."""
    edge_use: FloatArray
    """(T,)"""
    option: IntArray
    """(Q,): column of the grid's options each task takes, or NO_OPTION."""
    subgradient: FloatArray
    """(blocks, ages): cells of service beyond what the longest path serves, by block of readiness and blocks waited."""


class ServiceOrder:
    """Evaluates the bound with ordering multipliers, on a grid of all options, with one link of constant rate."""

    def __init__(self, relaxation: Relaxation, block_cells: int, blocks: int, ages: int) -> None:
        grid = relaxation.grid
        self.relaxation = relaxation
        self.block_cells = block_cells
        self.shape = blocks, ages
        self._multiplier_paid = np.empty((blocks, paid_width(grid.width, block_cells)))
        self._choice = np.empty((len(grid.order), grid.width), dtype=np.int16)
        self._served = np.empty(blocks, dtype=np.int64)

    def evaluate(
        self,
        link_price: FloatArray,
        edge_price: FloatArray,
        multiplier: FloatArray,
        working_set: NDArray[np.bool_] | None = None,
        only_working_set: bool = False,
    ) -> ServiceOrderValue:
        """The bound at ``link_price`` (1, T), ``edge_price`` (T,), ``multiplier`` (blocks, ages), >= 0 and per cell.

        ``working_set`` (Q, J) are the options to try first, which saves time, or the only ones.
        """
        relaxation, grid = self.relaxation, self.relaxation.grid
        link_paid, edge_paid = paid_before(link_price), paid_before(edge_price)
        relaxation.price_all_occupancies(link_paid, edge_paid)
        self._add_up(multiplier)
        first = relaxation.usable if working_set is None else working_set
        tried = Tried(relaxation.usable & first if only_working_set else relaxation.usable, first)
        option = np.full(len(grid.order), NO_OPTION, dtype=np.int64)
        link_use, edge_use = np.zeros((2, THREADS, grid.cells + 3))
        multiplier_use = np.zeros((THREADS, *self.shape))
        prices = ServicePrices(
            link_paid[0],
            edge_paid,
            relaxation.send,
            relaxation.edge,
            relaxation.send_price[0],
            relaxation.edge_price,
            self._multiplier_paid,
            self.block_cells,
        )

        def solve(part: int) -> float:
            optima = ServiceOptima(self._choice, option, link_use[part], edge_use[part], multiplier_use[part])
            begin, end = relaxation.parts[part], relaxation.parts[part + 1]
            worth: float = solve_in_service_order(begin, end, grid, tried, prices, optima)
            return worth

        worth = sum(relaxation.map(solve, range(THREADS)))
        revenue = float(link_paid[0, -1] + grid.workers * edge_paid[-1])
        revenue += grid.workers * self.block_cells * float(longest_service_order(multiplier, self._served))
        bound = grid.base_gain + worth + revenue
        subgradient = multiplier_use.sum(axis=0)
        subgradient[self._served, np.arange(len(subgradient)) - self._served] -= grid.workers * self.block_cells
        return ServiceOrderValue(
            bound=np.inf if only_working_set else bound + 1e-12 * len(grid.order) * (1.0 + abs(bound)),
            link_use=np.cumsum(link_use.sum(axis=0))[None, : grid.cells],
            edge_use=np.cumsum(edge_use.sum(axis=0))[: grid.cells],
            option=option,
            subgradient=subgradient,
        )

    def _add_up(self, multiplier: FloatArray) -> None:
        blocks = self.shape[0]

        def share(part: int) -> None:
            begin, end = part * blocks // THREADS, (part + 1) * blocks // THREADS
            add_up_multipliers(begin, end, multiplier, self.block_cells, self._multiplier_paid)

        list(self.relaxation.map(share, range(THREADS)))


def paid_width(width: int, block_cells: int) -> int:
    """Cells from the beginning of a block of readiness on in which what was ready then can be served."""
    return width + 2 * block_cells + 2


def tightened(
    prices: DualPrices,
    relaxation: Relaxation,
    coarse: Relaxation,
    rounds: int,
    block_ms: float,
    service_block_ms: float,
    limit: TimeLimit,
) -> float:
    """Lower the bound on the total gain that ``prices`` prove, for ``rounds`` rounds or as many as there is time for.

    ``coarse`` is the relaxation on cells a whole number of times as long, which the prices are for. Prices are constant
    over blocks of about ``block_ms``, multipliers of about ``service_block_ms``. An interrupt keeps the best so far.
    """
    levels = [coarse, relaxation]
    cell_ms, finer = coarse.grid.cell_ms, round(coarse.grid.cell_ms / relaxation.grid.cell_ms)
    service_cells, price_cells = max(1, round(service_block_ms / cell_ms)), max(1, round(block_ms / cell_ms))
    count = -(-coarse.grid.cells // service_cells) + 1
    ages = coarse.grid.width // service_cells + 2
    multiplier_cells = count * paid_width(relaxation.grid.width, service_cells * finer)
    if multiplier_cells > MOST_MULTIPLIER_CELLS or not relaxation.keeps_prices:
        return prices.bound
    orders = [
        ServiceOrder(coarse, service_cells, count, ages),
        ServiceOrder(relaxation, service_cells * finer, count, ages),
    ]
    price_count = -(-coarse.grid.cells // price_cells) + 1
    sizes = price_cells, price_cells * finer
    blocks = [Blocks(level.grid, size, price_count) for level, size in zip(levels, sizes, strict=True)]
    price = Descent(blocks[0].gather(prices.link, prices.edge), 1e-9)
    multiplier = Descent(np.zeros((count, ages)), MULTIPLIER_SCALE_MS)
    working_set = WorkingSet(relaxation.grid)
    first_step = FIRST_STEP * float(np.max(coarse.grid.worth, initial=0.0)) / float(coarse.grid.deadline_ms.mean())
    best_bound = prices.bound
    since_s, now = limit.spent_s, 0

    def value(fine: bool, all_options: bool, price: FloatArray, multiplier: FloatArray) -> ServiceOrderValue:
        per_cell = levels[fine].grid.cell_ms * multiplier
        first = working_set.options(now)
        found = orders[fine].evaluate(*blocks[fine].spread(price), per_cell, first, not all_options)
        if all_options:
            working_set.note(found.option, now)
        return found

    while now < rounds and not limit.expired:
        done = share_done(now, rounds, limit, since_s)
        fine = done >= FINE_FROM
        found = value(fine, tries_all(now), price.now, multiplier.now)
        best_bound = min(best_bound, found.bound)
        size = first_step * SHRINKAGE**-done
        price.step(blocks[fine].subgradient(found.link_use, found.edge_use), size)
        multiplier.step(levels[fine].grid.cell_ms * found.subgradient, size)
        now += 1
    if now > 0 and not limit.cancelled:
        best_bound = min(best_bound, value(True, True, price.mean, multiplier.mean).bound)
    return best_bound
