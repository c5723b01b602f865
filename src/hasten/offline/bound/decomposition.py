"""Dual prices of uplink and edge time, and ordering multipliers, that make ``offline.bound.bounds`` tight.

The bound is convex in prices and multipliers, and what the streams' own optima use of each stretch of time less its
capacity is a subgradient; for multipliers it is where the streams' transfers start less where the longest path lets
them start. Prices are constant within blocks of cells and follow the subgradients as ``offline.bound.descent`` says.
Most rounds are done on a coarse grid, which is cheap and leads nearly to the same prices, and the last ones on a fine
grid, which proves more; and most try only a working set, the options that were the best in some recent round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.offline.bound.bounds import DualValue, Relaxation
from hasten.offline.bound.descent import Blocks, Descent, WorkingSet, share_done, tries_all
from hasten.offline.bound.grant_order import GrantOrder
from hasten.offline.bound.kernels import NOT_SENT
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_STEP = 0.6
"""First step of a price, as a share of the largest worth per deadline; the last one is smaller by ``SHRINKAGE``."""
FIRST_MULTIPLIER_STEP = 0.03
"""First step of an ordering multiplier, as a share of the largest worth."""
SHRINKAGE = 50.0
MULTIPLIER_SCALE = 1e-2
"""Smallest scale of a multiplier's subgradient: most are zero most of the time."""
FINE_FROM = 0.9
"""Share of the rounds after which the fine grid takes over."""
MULTIPLIERS_FROM = 0.15
"""Share of the rounds before multipliers: they can only share out what prices have found scarce."""
ROUNDS_PER_AVERAGE = 20
"""Every so many rounds the average is evaluated too."""


@dataclass(frozen=True)
class DualPrices:
    """Dual prices per cell of the coarse grid to plan by, and the best bound on the total gain proved on the way.

    These are the last ones: where time is short or load is light, prices of nothing may prove the best bound, yet a
    plan needs to be told where time is scarce.
    """

    link: FloatArray
    """(links, T)"""
    edge: FloatArray
    """(T,)"""
    bound: float
    rounds: int
    order: GrantOrder | None = None
    """Where transfers start in the order of arrivals: what that order collects at the ``multiplier`` (Q, blocks)."""
    multiplier: FloatArray | None = None

    def values(self, relaxation: Relaxation) -> FloatArray:
        """(Q, width): what each stream can still gain at these prices, see :meth:`Relaxation.evaluate`."""
        values = np.zeros((len(relaxation.grid.order), relaxation.grid.width))
        _evaluate(relaxation, self.link, self.edge, self.order, self.multiplier, values)
        return values


def find_dual_prices(
    relaxation: Relaxation,
    rounds: int,
    block_ms: float,
    limit: TimeLimit,
    multiplier_ms: float | None = None,
    coarse: Relaxation | None = None,
    enough: float = -np.inf,
) -> DualPrices:
    """Lower the bound for ``rounds`` rounds, or as many as fit in the time, or until it is ``enough``.

    Prices are constant over blocks of about ``block_ms``: longer ones converge sooner, shorter ones end lower.
    ``multiplier_ms``, for grant order on a shared uplink alone, is the length of an ordering multiplier's block.
    ``coarse`` is the same on cells a whole number of times as long that begin where some of the fine ones do; without
    it all rounds are fine.
    """
    levels = [coarse or relaxation, relaxation]
    longest_ms = levels[0].grid.cell_ms
    sizes = [max(1, round(block_ms / longest_ms)) * round(longest_ms / level.grid.cell_ms) for level in levels]
    count = max(-(-level.grid.cells // size) for level, size in zip(levels, sizes, strict=True))
    blocks = [Blocks(level.grid, size, count) for level, size in zip(levels, sizes, strict=True)]
    orders: list[GrantOrder | None] = [None, None]
    if multiplier_ms:
        cells = [max(1, round(multiplier_ms / longest_ms)) * round(longest_ms / level.grid.cell_ms) for level in levels]
        most = max(level.grid.width // size for level, size in zip(levels, cells, strict=True)) + 2
        orders = [GrantOrder(level.grid, size, most) for level, size in zip(levels, cells, strict=True)]
    grid = relaxation.grid
    worth = float(np.max(grid.worth, initial=0.0))
    price = Descent(np.zeros((grid.links + 1, count)), 1e-9)
    multiplier = Descent(np.zeros((len(grid.order), orders[0].blocks if orders[0] else 0)), MULTIPLIER_SCALE)
    working_set = WorkingSet(grid)
    first_step = FIRST_STEP * worth / float(grid.deadline_ms.mean())
    best_bound, done = np.inf, 0.0
    since_s, finished = limit.spent_s, 0

    def value(
        fine: bool, all_options: bool, price: FloatArray, multiplier: FloatArray
    ) -> tuple[DualValue, IntArray | None]:
        among = None if all_options else working_set.options(finished)
        found = _evaluate(levels[fine], *blocks[fine].spread(price), orders[fine], multiplier, among=among)
        if all_options:
            working_set.note(found[0].option, finished)
        return found

    while finished < rounds and (finished == 0 or not limit.expired) and best_bound > enough:
        fine = done >= FINE_FROM or coarse is None
        found, in_order = value(fine, tries_all(finished), price.now, multiplier.now)
        best_bound = min(best_bound, found.bound)
        finished += 1
        done = share_done(finished, rounds, limit, since_s)
        price.step(blocks[fine].subgradient(found.link_use, found.edge_use), first_step * SHRINKAGE**-done)
        if in_order is not None and done > MULTIPLIERS_FROM:
            wanted = _starts(found.start_block, multiplier.now) - _starts(in_order, multiplier.now)
            multiplier.step(wanted, FIRST_MULTIPLIER_STEP * worth * SHRINKAGE**-done)
        if finished % ROUNDS_PER_AVERAGE == 0:
            best_bound = min(best_bound, value(fine, True, price.mean, multiplier.mean)[0].bound)
    if best_bound > enough and not (limit.overdue or limit.cancelled):
        best_bound = min(best_bound, value(True, True, price.mean, multiplier.mean)[0].bound)
    link, edge = blocks[0].spread(price.mean)
    return DualPrices(
        link=link,
        edge=edge,
        bound=best_bound,
        rounds=finished,
        order=orders[0],
        multiplier=multiplier.mean if orders[0] else None,
    )


def _evaluate(
    relaxation: Relaxation,
    link_price: FloatArray,
    edge_price: FloatArray,
    order: GrantOrder | None,
    multiplier: FloatArray | None,
    values: FloatArray | None = None,
    among: NDArray[np.bool_] | None = None,
) -> tuple[DualValue, IntArray | None]:
    """The relaxation at prices and multipliers, and where the order of arrivals would have transfers start (Q,)."""
    if order is None or multiplier is None:
        return relaxation.evaluate(link_price, edge_price, values, among=among), None
    found = relaxation.evaluate(link_price, edge_price, values, multiplier, order.block_cells, among)
    collected, in_order = order.longest(multiplier)
    found.bound += collected
    return found, in_order


def _starts(start_block: IntArray, like: FloatArray) -> FloatArray:
    """(Q, blocks): 1 where a transfer starts."""
    starts = np.zeros_like(like)
    sent = np.flatnonzero(start_block != NOT_SENT)
    starts[sent, start_block[sent]] = 1.0
    return starts
