"""Upper bounds for any number of streams: the uplink and the edge are shared by price instead of by queue.

Using a link for the time of cell t costs its dual price ``link_price[t]``, a worker ``edge_price[t]``, a transfer that
starts in a block of cells moreover the ordering multiplier of its task and that block (``offline.bound.grant_order``).
What remains are independent streams whose device serves in order; each is solved by a one-dimensional dynamic program
over the device's backlog, on the grid of ``offline.bound.grid``, in which a transfer may start in any cell after its
device stage and the edge in any cell after the transfer. A stage of constant length is charged for its unrounded
length, wherever in its cell that is cheapest. By weak duality

    sum of the streams' values + sum of all prices times capacities  >=  gain of every schedule,

for prices >= 0, whatever the topology and the order of service: no order is assumed (Fisher, "The Lagrangian
relaxation method for solving integer programming problems", Management Science 1981; time-indexed relaxations of
machine scheduling: Dyer and Wolsey, Discrete Applied Mathematics 1990). Ordering multipliers
add what any order can collect of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.offline.bound.grid import Grid
from hasten.offline.bound.kernels import NO_OPTION, NOT_SENT, Optima, TimePrices, solve_streams, worth_of_stages
from hasten.offline.bound.occupancy import Occupancies, price_occupancies

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

THREADS = 2
"""Streams are solved in so many parts at once; a fixed number, so that sums are the same on every machine."""
TASKS_FOR_THREADS = 300
"""With fewer tasks the parts are solved one after the other."""
MOST_OCCUPANCY_PRICES = 4e7
"""Most prices of occupancies, about, that are kept at once; of longer horizons they are computed for each task."""


@dataclass
class DualValue:
    """The relaxation at given prices."""

    bound: float
    """No schedule's total gain exceeds this (sum over tasks, not a mean), but for the ordering multipliers paid in it.

    Infinite if not all options were tried.
    """
    link_use: FloatArray
    """(links, T): how much of each cell the streams' own optima use."""
    edge_use: FloatArray
    """(T,)"""
    option: IntArray
    """(Q,): column of the grid's options each task takes, or NO_OPTION."""
    start_block: IntArray
    """(Q,): block in which its transfer starts, from that of its arrival, or NOT_SENT; only with multipliers."""


def _occupancies_of(whole: IntArray, part: FloatArray, relevant: NDArray[np.bool_]) -> Occupancies:
    """The durations of the relevant options (K, J)."""
    durations, kind = np.unique(np.stack([whole[relevant], part[relevant]], axis=1), axis=0, return_inverse=True)
    kinds = np.zeros(whole.shape, dtype=np.int64)
    kinds[relevant] = kind.ravel()
    return Occupancies(durations[:, 0].astype(np.int64), np.ascontiguousarray(durations[:, 1]), kinds)


class Relaxation:
    """Evaluates the bound at dual prices; owns the scratch memory."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._choice = np.empty((len(grid.order), grid.width), dtype=np.int8)
        self.usable = grid.usable[grid.case]
        sends = grid.usable & (grid.bits > 0)
        self.send = _occupancies_of(grid.send, grid.send_part, sends)
        self.edge = _occupancies_of(grid.edge, grid.edge_part, sends)
        if grid.cells * (len(self.send.whole) + len(self.edge.whole)) > MOST_OCCUPANCY_PRICES:
            sends[:] = False
            self.send = self.edge = _occupancies_of(grid.send, grid.send_part, sends)
        shares = np.arange(THREADS + 1) * len(grid.order) / THREADS
        self.parts = np.searchsorted(grid.first[:-1], shares)
        self.parts[-1] = len(grid.first) - 1
        self.map = ThreadPoolExecutor(THREADS).map if len(grid.order) >= TASKS_FOR_THREADS else map
        steady = grid.sent_bits.shape[1] == 0
        priced = grid.cells + 3 if steady and sends.any() else 0
        self.send_price = np.empty((min(grid.links, THREADS), len(self.send.whole), priced))
        """Of the one link, or for each thread of the link that it is at."""
        self.edge_price = np.empty((len(self.edge.whole), priced))
        self.keeps_prices = priced > 0
        """Whether all prices of occupancies are kept: on links of constant rate, if the horizon is not too long."""

    def evaluate(
        self,
        link_price: FloatArray,
        edge_price: FloatArray,
        values: FloatArray | None = None,
        multiplier: FloatArray | None = None,
        block_cells: int = 1,
        among: NDArray[np.bool_] | None = None,
    ) -> DualValue:
        """The bound at ``link_price`` (links, T) and ``edge_price`` (T,), both >= 0 and per cell.

        ``values`` (Q, width), if given, receives what each stream can still gain from each task on, by the backlog
        of its device in cells at that task's arrival. ``multiplier`` (Q, blocks), if given, is what a transfer pays
        for starting in each block of ``block_cells`` cells, counted from that of its task's arrival. ``among`` (Q, J),
        if given, are the only options to try.
        """
        grid = self.grid
        link_paid, edge_paid = paid_before(link_price), paid_before(edge_price)
        option = np.full(len(grid.order), NO_OPTION, dtype=np.int64)
        start_block = np.full(len(grid.order), NOT_SENT, dtype=np.int64)
        link_use = np.zeros((THREADS, grid.links, grid.cells + 3))
        edge_use = np.zeros((THREADS, grid.cells + 3))
        usable = self.usable if among is None else self.usable & among
        values = np.empty((0, 0)) if values is None else values

        def solve(part: int) -> float:
            prices = self._time_prices(link_paid, edge_paid, part, multiplier, block_cells)
            optima = Optima(self._choice, values, option, start_block, link_use[part], edge_use[part])
            worth: float = solve_streams(self.parts[part], self.parts[part + 1], grid, usable, prices, optima)
            return worth

        self.price_all_occupancies(link_paid, edge_paid)
        worth = sum(self.map(solve, range(THREADS)))
        revenue = float(link_paid[:, -1].sum() + grid.workers * edge_paid[-1])
        bound = grid.base_gain + worth + revenue
        return DualValue(
            bound=bound + 1e-12 * len(grid.order) * (1.0 + abs(bound)) if among is None else np.inf,
            link_use=np.cumsum(link_use.sum(axis=0), axis=1)[:, : grid.cells],
            edge_use=np.cumsum(edge_use.sum(axis=0))[: grid.cells],
            option=option,
            start_block=start_block,
        )

    def _time_prices(
        self,
        link_paid: FloatArray,
        edge_paid: FloatArray,
        part: int,
        multiplier: FloatArray | None = None,
        block_cells: int = 1,
    ) -> TimePrices:
        """What the kernels read in one part of the streams."""
        return TimePrices(
            link_paid,
            edge_paid,
            self.send,
            self.edge,
            self.send_price[part % len(self.send_price)],
            self.edge_price,
            np.empty((len(self.grid.order), 0)) if multiplier is None else multiplier,
            block_cells,
        )

    def price_all_occupancies(self, link_paid: FloatArray, edge_paid: FloatArray) -> None:
        """Prices of all durations at the edge, and on the link if there is but one."""
        if not self.keeps_prices:
            return
        priced = [(edge_paid, self.edge, self.edge_price)]
        if self.grid.links == 1:
            priced.append((link_paid[0], self.send, self.send_price[0]))

        def price_share(part: int) -> None:
            for paid, (whole, left_out, kind), price in priced:
                mine = slice(part * len(whole) // THREADS, (part + 1) * len(whole) // THREADS)
                price_occupancies(paid, Occupancies(whole[mine], left_out[mine], kind), price[mine])

        list(self.map(price_share, range(THREADS)))

    def worth_by_stage(
        self, link_price: FloatArray, edge_price: FloatArray, values: FloatArray, group: IntArray, worth: Any
    ) -> None:
        """Fill ``worth`` (Q, G, C): what a stream can gain from a task on if it takes a long enough option there.

        That is one of its options whose ``group`` (K, J), by case, is at least the one asked for; -1 is none.
        ``values`` are those of :meth:`evaluate` at the same prices. Backlogs are in cells, so many for each of the C
        that C reach over all ``width``; the largest worth counts. Worths that cannot be had stay.
        """
        prices = self._time_prices(paid_before(link_price), paid_before(edge_price), 0)
        worth_of_stages(self.grid, prices, values, group, worth)


def paid_before(price: FloatArray) -> FloatArray:
    """(..., T + 3): the price of all time before the start of each cell, for ``price`` (..., T) of each cell."""
    paid = np.zeros((*price.shape[:-1], price.shape[-1] + 3))
    np.cumsum(price, axis=-1, out=paid[..., 1:-2])
    paid[..., -2:] = paid[..., -3:-2]
    return paid
