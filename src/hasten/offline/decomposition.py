"""Prices of uplink and edge time, and tolls for the order of service, that make the bound of ``offline.bounds`` tight.

The bound is convex in prices and tolls, and what the streams' own optima use of each stretch of time less its capacity
is a subgradient; for tolls it is where the streams' transfers start less where the longest path lets them start.
Prices are constant within blocks of cells. Each follows its subgradient with a step size of its own, as in Adam (Kingma
and Ba, ICLR 2015), projected to be non-negative, with steps that shrink geometrically: blocks interact only within a
few deadlines, so each behaves like a small problem of its own, for which one common step would be wrong. Of the last
iterates a moving average is taken (Polyak and Juditsky, 1992), as each of them swings around the optimum. Most rounds
are done on a coarse grid, which is cheap and leads nearly to the same prices, and the last ones on a fine grid, which
proves more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.offline.bound_kernels import NOT_SENT
from hasten.offline.bounds import DualValue, Relaxation
from hasten.offline.grid import Grid
from hasten.offline.order import Order
from hasten.offline.plan import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_STEP = 0.6
"""First step of a price, as a share of the largest worth per deadline; the last one is smaller by ``SHRINKAGE``."""
FIRST_TOLL_STEP = 0.03
"""First step of a toll, as a share of the largest worth."""
SHRINKAGE = 50.0
MOMENTUM = 0.9
SCALE_MEMORY = 0.99
TOLL_SCALE = 1e-2
"""Smallest scale of a toll's subgradient: most are zero most of the time."""
FINE_FROM = 0.9
"""Share of the rounds after which the fine grid takes over."""
TOLLS_FROM = 0.15
"""Share of the rounds before tolls: they can only share out what prices have found scarce."""
AVERAGE_MEMORY = 0.9
ROUNDS_PER_AVERAGE = 20
"""Every so many rounds the average is evaluated too."""


@dataclass(frozen=True)
class Prices:
    """Prices per cell of the coarse grid to plan by, and the best bound on the total gain proved on the way to them.

    These are the last ones: where time is short or load is light, prices of nothing may prove the best bound, yet a
    plan needs to be told where time is scarce.
    """

    link: FloatArray
    """(links, T)"""
    edge: FloatArray
    """(T,)"""
    bound: float
    rounds: int
    order: Order | None = None
    """Where transfers start in the order of arrivals: what that order collects at the ``toll`` (Q, blocks)."""
    toll: FloatArray | None = None

    def values(self, relaxation: Relaxation) -> FloatArray:
        """(Q, width): what each stream can still gain at these prices, see :meth:`Relaxation.evaluate`."""
        values = np.zeros((len(relaxation.grid.order), relaxation.grid.width))
        _evaluate(relaxation, self.link, self.edge, self.order, self.toll, values)
        return values


def find_prices(
    relaxation: Relaxation,
    rounds: int,
    block_ms: float,
    limit: TimeLimit,
    toll_ms: float | None = None,
    coarse: Relaxation | None = None,
) -> Prices:
    """Lower the bound for ``rounds`` rounds, or as many as fit in the time; an interrupt keeps the best so far.

    Prices are constant over blocks of about ``block_ms``: longer ones converge sooner, shorter ones end lower.
    ``toll_ms``, for grant order on a shared uplink alone, is the length of a toll's block. ``coarse`` is the same on
    cells a whole number of times as long that begin where some of the fine ones do; without it all rounds are fine.
    """
    levels = [coarse or relaxation, relaxation]
    longest_ms = levels[0].grid.cell_ms
    sizes = [max(1, round(block_ms / longest_ms)) * round(longest_ms / level.grid.cell_ms) for level in levels]
    count = max(-(-level.grid.cells // size) for level, size in zip(levels, sizes, strict=True))
    blocks = [_Blocks(level.grid, size, count) for level, size in zip(levels, sizes, strict=True)]
    orders: list[Order | None] = [None, None]
    if toll_ms:
        cells = [max(1, round(toll_ms / longest_ms)) * round(longest_ms / level.grid.cell_ms) for level in levels]
        most = max(level.grid.width // size for level, size in zip(levels, cells, strict=True)) + 2
        orders = [Order(level.grid, size, most) for level, size in zip(levels, cells, strict=True)]
    grid = relaxation.grid
    worth = float(np.max(grid.worth, initial=0.0))
    price = _Descent(np.zeros((grid.links + 1, count)), 1e-9)
    toll = _Descent(np.zeros((len(grid.order), orders[0].blocks if orders[0] else 0)), TOLL_SCALE)
    first_step = FIRST_STEP * worth / float(grid.deadline_ms.mean())
    best_bound, done = np.inf, 0.0
    spent_s, finished = limit.spent_s, 0

    def value(fine: bool, price: FloatArray, toll: FloatArray) -> tuple[DualValue, IntArray | None]:
        return _evaluate(levels[fine], *blocks[fine].spread(price), orders[fine], toll)

    try:
        while finished < rounds and (finished == 0 or not limit.expired):
            fine = done >= FINE_FROM or coarse is None
            found, in_order = value(fine, price.now, toll.now)
            best_bound = min(best_bound, found.bound)
            finished += 1
            used_s = limit.spent_s - spent_s
            done = max(finished / rounds, used_s / max(used_s + limit.left_s, 1e-9) if np.isfinite(limit.left_s) else 0)
            price.step(blocks[fine].excess(found), first_step * SHRINKAGE**-done)
            if in_order is not None and done > TOLLS_FROM:
                wanted = _starts(found.start_block, toll.now) - _starts(in_order, toll.now)
                toll.step(wanted, FIRST_TOLL_STEP * worth * SHRINKAGE**-done)
            if finished % ROUNDS_PER_AVERAGE == 0:
                best_bound = min(best_bound, value(fine, price.mean, toll.mean)[0].bound)
        best_bound = min(best_bound, value(True, price.mean, toll.mean)[0].bound)
    except KeyboardInterrupt:
        limit.cancel()
    link, edge = blocks[0].spread(price.mean)
    return Prices(
        link=link,
        edge=edge,
        bound=best_bound,
        rounds=finished,
        order=orders[0],
        toll=toll.mean if orders[0] else None,
    )


def _evaluate(
    relaxation: Relaxation,
    link_price: FloatArray,
    edge_price: FloatArray,
    order: Order | None,
    toll: FloatArray | None,
    values: FloatArray | None = None,
) -> tuple[DualValue, IntArray | None]:
    """The relaxation at prices and tolls, and where the order of arrivals would have transfers start (Q,)."""
    if order is None or toll is None:
        return relaxation.evaluate(link_price, edge_price, values), None
    found = relaxation.evaluate(link_price, edge_price, values, toll, order.toll_cells)
    collected, in_order = order.longest(toll)
    found.bound += collected
    return found, in_order


def _starts(start_block: IntArray, like: FloatArray) -> FloatArray:
    """(Q, blocks): 1 where a transfer starts."""
    starts = np.zeros_like(like)
    sent = np.flatnonzero(start_block != NOT_SENT)
    starts[sent, start_block[sent]] = 1.0
    return starts


class _Descent:
    """Non-negative numbers that follow a subgradient, and their moving average."""

    def __init__(self, start: FloatArray, least_scale: float) -> None:
        self.now = start
        self.mean = start.copy()
        self._drift, self._scale = np.zeros_like(start), np.zeros_like(start)
        self._least_scale = least_scale
        self._steps = 0

    def step(self, excess: FloatArray, size: float) -> None:
        """Raise what is wanted too much, by about ``size``."""
        self._steps += 1
        self._drift = MOMENTUM * self._drift + (1.0 - MOMENTUM) * excess
        self._scale = SCALE_MEMORY * self._scale + (1.0 - SCALE_MEMORY) * excess**2
        drift = self._drift / (1.0 - MOMENTUM**self._steps)
        scale = np.sqrt(self._scale / (1.0 - SCALE_MEMORY**self._steps)) + self._least_scale
        self.now = np.maximum(self.now + size * drift / scale, 0.0)
        memory = min(AVERAGE_MEMORY, 1.0 - 1.0 / self._steps)
        self.mean = memory * self.mean + (1.0 - memory) * self.now


class _Blocks:
    """``count`` blocks of ``size`` cells and the way between prices per ms of blocks and those per cell of cells."""

    def __init__(self, grid: Grid, size: int, count: int) -> None:
        self._grid = grid
        self._size = size
        self._count = count
        length = np.clip(grid.cells - size * np.arange(count), 0, size)
        self._capacity = np.vstack([np.tile(length, (grid.links, 1)), grid.workers * length])
        """(links + 1, blocks): cells of service that each link, and in the last row the edge, can give."""

    def spread(self, price: FloatArray) -> tuple[FloatArray, FloatArray]:
        """From blocks (links + 1, count) to the cells of links (links, T) and edge (T,)."""
        per_cell = self._grid.cell_ms * np.repeat(price, self._size, axis=1)[:, : self._grid.cells]
        return per_cell[:-1], per_cell[-1]

    def excess(self, found: DualValue) -> FloatArray:
        """(links + 1, count): time used beyond capacity, in ms."""
        padded = np.zeros((len(self._capacity), self._count * self._size))
        padded[:-1, : self._grid.cells] = found.link_use
        padded[-1, : self._grid.cells] = found.edge_use
        used = padded.reshape(len(padded), self._count, self._size).sum(axis=2)
        excess_ms: FloatArray = self._grid.cell_ms * (used - self._capacity)
        return excess_ms
