"""The compiled part of ``offline.bound.service_order``: each stream's dynamic program with ordering multipliers.

As in ``offline.bound.kernels``, but a task that is ready in one block of time pays another multiplier for each moment
at the edge than a task that is ready in the next. To be ready later may then be better, so ready cells must be exact: a
stage that starts in a cell ends so many whole cells later or in the cell after that, and both are tried; a task that
gains nothing may keep its device busy for as long as it likes. What is ready in the first cell of a block may count as
ready in the block before, which outweighs the rounding of sums.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.offline.bound.grid import Grid
from hasten.offline.bound.occupancy import book
from hasten.offline.bound.option_values import device_values, idle_end, offer_of, terms_of
from hasten.offline.bound.service_values import (
    ServicePrices,
    ServiceScratch,
    best_service,
    net_gains,
    service_of,
    service_scratch,
    service_values,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEFT_OUT = -1
"""Of a task that gains nothing: this less the device's backlog at the stream's next arrival."""


class Tried(NamedTuple):
    """Options to try, (Q, J)."""

    usable: NDArray[np.bool_]
    working_set: NDArray[np.bool_]
    """Those to try first, which saves time."""


class ServiceOptima(NamedTuple):
    """What the streams' own optima are; filled by :func:`solve_in_service_order`."""

    choice: NDArray[np.int16]
    """(Q, width): twice the best option by the device's backlog, plus 1 if it ends a cell later; see LEFT_OUT."""
    option: IntArray
    """(Q,): the option taken."""
    link_use: FloatArray
    """(T + 3,): use of each cell, as differences from cell to cell."""
    edge_use: FloatArray
    multiplier_use: FloatArray
    """(blocks, ages): cells of service, by block of readiness and blocks waited."""


@allocating
def longest_service_order(multiplier: FloatArray, served: IntArray) -> Any:
    """The most that one worker collects of ``multiplier`` (blocks, ages) per cell, in cells.

    ``multiplier[r, d]`` is for what is ready in block r and served in block r + d. A worker serves in the order of
    readiness, so from block to block what it serves never gets ready earlier. ``served`` (blocks,) is filled with that
    block of readiness, by blocks of service.
    """
    blocks, ages = multiplier.shape
    best = np.zeros((blocks + 1, ages))
    move = np.empty((blocks, ages), np.int64)
    for block in range(blocks - 1, -1, -1):
        most, age = -1.0, 0
        for d in range(min(ages, block + 1)):
            worth = multiplier[block - d, d] + best[block + 1, min(d + 1, ages - 1)]
            if worth > most:
                most, age = worth, d
            best[block, d] = most
            move[block, d] = age
        for d in range(block + 1, ages):
            best[block, d] = most
            move[block, d] = age
    d = ages - 1
    for block in range(blocks):
        d = move[block, d]
        served[block] = block - d
        d = min(d + 1, ages - 1)
    return best[0, ages - 1]


@allocating
def add_up_multipliers(begin: int, end: int, multiplier: FloatArray, block_cells: int, paid: FloatArray) -> None:
    """Fill ``paid`` (blocks, C) with what is paid for all cells before each, counted from the block of readiness."""
    for r in range(begin, end):
        total = 0.0
        for age in range(-(-paid.shape[1] // block_cells)):
            rate = multiplier[r, age] if age < multiplier.shape[1] else 0.0
            mine = paid[r, age * block_cells : (age + 1) * block_cells]
            for i in range(len(mine)):
                mine[i] = total + i * rate
            total += block_cells * rate


@compiled
def _leave_out(gap: int, window: int, window_after: int, later: FloatArray, now: FloatArray, choice: Any) -> None:
    """Fill ``now`` and ``choice`` for a task that is dropped, or executed in vain, by the device's backlog.

    A task that will be late may keep its device busy for long, and that may be of use: others get ready later.
    """
    best, to = -np.inf, 0
    for backlog in range(window_after, -1, -1):
        if later[backlog] > best:
            best, to = later[backlog], backlog
        if backlog > 0:
            if backlog + gap <= window:
                now[backlog + gap] = best
                choice[backlog + gap] = LEFT_OUT - to
        else:
            for i in range(min(gap, window) + 1):
                now[i] = best
                choice[i] = LEFT_OUT - to


@compiled
def _take_better(
    first: int,
    end: int,
    sure: int,
    idle: int,
    shift: int,
    j: int,
    value: FloatArray,
    later: FloatArray,
    now: FloatArray,
    choice: NDArray[np.int16],
) -> None:
    """Let option ``j`` be chosen wherever it is better than now, by the ends of its device stage from ``first`` on.

    A backlog of so many cells ends a stage in that cell, if before ``sure``, or in the next, if before ``end``; an idle
    device not before ``idle``.
    """
    for i in range(first, end):
        value[i] += later[max(i + shift, 0)]
    for i in range(max(first, idle), min(end, 2)):
        if value[i] > now[0] and (i == 1 or sure > 0):
            now[0] = value[i]
            choice[0] = 2 * j + i
    for i in range(max(first, 1), sure):
        if value[i] > now[i]:
            now[i] = value[i]
            choice[i] = 2 * j
    for i in range(max(first - 1, 1), end - 1):
        if value[i + 1] > now[i]:
            now[i] = value[i + 1]
            choice[i] = 2 * j + 1


@inlined
def _book_multiplier(use: FloatArray, begin: int, end: int, block: int, block_cells: int) -> None:
    """Add the cells from ``begin`` up to ``end`` to ``use`` (blocks, ages) of a task ready in ``block``."""
    while begin < end:
        age = begin // block_cells - block
        stop = min(end, (block + age + 1) * block_cells)
        if age < use.shape[1]:
            use[block, age] += stop - begin
        begin = stop


@allocating
def solve_in_service_order(
    begin: int, end: int, grid: Grid, tried: Tried, prices: ServicePrices, optima: ServiceOptima
) -> Any:
    """Solve streams ``begin`` to ``end`` at the prices; returns the sum of their values."""
    width = optima.choice.shape[1]
    now, later, scratch = np.zeros(width), np.zeros(width), service_scratch(width)
    total = 0.0
    for m in range(begin, end):
        if grid.first[m] == grid.first[m + 1]:
            continue
        total += _solve_stream(grid, m, tried, prices, optima.choice, now, later, scratch)
        _book_stream(grid, m, prices, optima, scratch)
    return total


@compiled
def _solve_stream(
    grid: Grid,
    m: int,
    tried: Tried,
    prices: ServicePrices,
    choice: NDArray[np.int16],
    now: FloatArray,
    later: FloatArray,
    scratch: ServiceScratch,
) -> Any:
    """Backwards through a stream: fill choices, return what the stream gains from its first task on."""
    first, end = grid.first[m], grid.first[m + 1]
    arrival, limit, arrival_at = grid.arrival, grid.limit, grid.arrival_at
    device, device_part, bits = grid.device, grid.device_part, grid.bits
    usable, working_set = tried
    multiplier_paid, block_cells = prices.multiplier_paid, prices.block_cells
    terms, value = terms_of(grid), scratch.value
    both_ways = 2.0 * (terms.rtt_half + terms.rtt_half_part)
    later[:] = 0.0
    for q in range(end - 1, first - 1, -1):
        a, c = arrival[q], grid.case[q]
        window = limit[q] - a
        gap = arrival[q + 1] - a if q + 1 < end else 0
        mine = choice[q]
        window_after = limit[q + 1] - arrival[q + 1] if q + 1 < end else window
        _leave_out(gap, window, window_after, later, now, mine)
        for attempt in range(2 * device.shape[1]):
            j = attempt % device.shape[1]
            x = device[c, j]
            if not usable[q, j] or working_set[q, j] == (attempt >= device.shape[1]) or x > window:
                continue
            offer = offer_of(grid, m, q, j)
            ready = a + x
            slack = offer.limit_at - ready - device_part[c, j]
            some, reach = 0, window - x + 1
            if bits[c, j] > 0:
                service = service_of(offer, terms, ready)
                if service.latest_start - ready + 1 <= 0:
                    continue
                some, reach = service_values(
                    offer,
                    terms,
                    service,
                    prices.send_price[prices.send.kind[c, j]],
                    prices.edge_price[prices.edge.kind[c, j]],
                    multiplier_paid,
                    block_cells,
                    later,
                    now,
                    x - gap,
                    scratch,
                )
                slack -= offer.edge + offer.edge_part + offer.send + offer.send_part
                slack -= both_ways
            else:
                device_values(offer, terms, reach, value)
            if some < reach:
                idle = idle_end(arrival_at[q], a, x, device_part[c, j])
                sure = min(reach, int(np.floor(slack)) + 1)
                reach = min(reach, sure + 1)  # an excess may end it before the window does
                _take_better(some, reach, sure, idle, x - gap, j, value, later, now, mine)
        now, later = later, now
    return later[0]


@compiled
def _book_stream(grid: Grid, m: int, prices: ServicePrices, optima: ServiceOptima, scratch: ServiceScratch) -> None:
    """Forwards through a stream that was solved: note what it decides and add its use of link, edge, multipliers."""
    first, end, arrival = grid.first[m], grid.first[m + 1], grid.arrival
    choice, block_cells, terms = optima.choice, prices.block_cells, terms_of(grid)
    backlog = 0
    for q in range(first, end):
        a = arrival[q]
        gap_after = arrival[q + 1] - a if q + 1 < end else 0
        if q > first:
            backlog = max(backlog - (a - arrival[q - 1]), 0)
        if choice[q, backlog] <= LEFT_OUT:
            backlog = LEFT_OUT - choice[q, backlog] + gap_after
            continue
        j, beyond = divmod(choice[q, backlog], 2)
        optima.option[q] = j
        backlog += beyond
        offer = offer_of(grid, m, q, j)
        if offer.bits > 0:
            c, service = grid.case[q], service_of(offer, terms, a + offer.device + backlog)
            net_gains(offer, terms, service, prices.edge_price[prices.edge.kind[c, j]], scratch.net)
            send_price = prices.send_price[prices.send.kind[c, j]]
            start, cell, block = best_service(service, send_price, prices.multiplier_paid, block_cells, scratch.net)
            book(optima.link_use, prices.link_paid, start, offer.send, offer.send_part)
            book(optima.edge_use, prices.edge_paid, cell, offer.edge, offer.edge_part)
            _book_multiplier(optima.multiplier_use, cell + 1, cell + offer.edge, block, block_cells)
        backlog += offer.device
