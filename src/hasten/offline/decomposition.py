"""Prices of uplink and edge time that make the bound of ``offline.bounds`` tight.

The bound is convex in the prices, and what the streams' own optima use of each stretch of time less its capacity is a
subgradient. Prices are constant within blocks of cells and follow it with one step size for each block, as in Adam
(Kingma and Ba, ICLR 2015), projected to be non-negative, with steps that shrink geometrically: blocks interact only
within a few deadlines, so each behaves like a small problem of its own, for which one common step would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.offline.bounds import Grid, Relaxation
from hasten.offline.plan import TimeLimit

FloatArray = NDArray[np.float64]

FIRST_STEP = 0.3
"""First step of a price, as a share of the largest worth per deadline; the last one is smaller by ``SHRINKAGE``."""
SHRINKAGE = 50.0
MOMENTUM = 0.9
SCALE_MEMORY = 0.99


@dataclass(frozen=True)
class Prices:
    """Prices per cell to plan by, and the best bound on the total gain that any prices on the way to them proved.

    These are the last ones: where time is short or load is light, prices of nothing may prove the best bound, yet a
    plan needs to be told where time is scarce.
    """

    link: FloatArray
    """(links, T)"""
    edge: FloatArray
    """(T,)"""
    bound: float
    rounds: int

    def values(self, relaxation: Relaxation) -> FloatArray:
        """(Q, width): what each stream can still gain at these prices, see :meth:`Relaxation.evaluate`."""
        values = np.zeros((len(relaxation.grid.order), relaxation.grid.width))
        relaxation.evaluate(self.link, self.edge, values)
        return values


def find_prices(relaxation: Relaxation, rounds: int, block_ms: float, limit: TimeLimit) -> Prices:
    """Lower the bound for ``rounds`` rounds, or as many as fit in the time; an interrupt keeps the best so far.

    Prices are constant over blocks of about ``block_ms``: longer ones converge sooner, shorter ones can end lower.
    """
    grid = relaxation.grid
    blocks = _Blocks(grid, max(1, round(block_ms / grid.cell_ms)))
    price = np.zeros((grid.links + 1, blocks.count))
    drift, scale = np.zeros_like(price), np.zeros_like(price)
    first_step = FIRST_STEP * float(np.max(grid.worth, initial=0.0)) / float(grid.deadline_ms.mean()) * grid.cell_ms
    best_bound, done = np.inf, 0.0
    spent_s, finished = limit.spent_s, 0
    try:
        while finished < rounds and (finished == 0 or not limit.expired):
            found = relaxation.evaluate(blocks.spread(price[:-1]), blocks.spread(price[-1]))
            best_bound = min(best_bound, found.bound)
            finished += 1
            excess = np.vstack([blocks.gather(found.link_use), blocks.gather(found.edge_use[None])]) - blocks.capacity
            drift = MOMENTUM * drift + (1.0 - MOMENTUM) * excess
            scale = SCALE_MEMORY * scale + (1.0 - SCALE_MEMORY) * excess**2
            used_s = limit.spent_s - spent_s
            done = max(finished / rounds, used_s / max(used_s + limit.left_s, 1e-9) if np.isfinite(limit.left_s) else 0)
            step = first_step * SHRINKAGE**-done
            unbiased = np.sqrt(scale / (1.0 - SCALE_MEMORY**finished)) + 1e-9
            price = np.maximum(price + step * drift / (1.0 - MOMENTUM**finished) / unbiased, 0.0)
    except KeyboardInterrupt:
        limit.cancel()
    return Prices(link=blocks.spread(price[:-1]), edge=blocks.spread(price[-1]), bound=best_bound, rounds=finished)


class _Blocks:
    """Blocks of ``size`` cells and the way between cells and blocks."""

    def __init__(self, grid: Grid, size: int) -> None:
        self._size = size
        self._cells = grid.cells
        self.count = -(-grid.cells // size)
        length = np.full(self.count, float(size))
        length[-1] -= self.count * size - grid.cells
        self.capacity = np.vstack([np.tile(length, (grid.links, 1)), grid.workers * length])
        """(links + 1, blocks): cells of service that each link, and in the last row the edge, can give."""

    def spread(self, per_block: FloatArray) -> FloatArray:
        """From blocks (..., count) to cells (..., T)."""
        return np.repeat(per_block, self._size, axis=-1)[..., : self._cells]

    def gather(self, per_cell: FloatArray) -> FloatArray:
        """From cells (n, T) to sums over blocks (n, count)."""
        padded = np.zeros((len(per_cell), self.count * self._size))
        padded[:, : self._cells] = per_cell
        total: FloatArray = padded.reshape(len(per_cell), self.count, self._size).sum(axis=2)
        return total
