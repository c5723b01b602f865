"""The compiled part of ``offline.bound.bounds``: each stream's dynamic program at given prices of uplink and edge.

One-dimensional, over the device's backlog in cells, backwards through the stream's tasks; then forwards, to book what
the best decisions use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.offline.bound.grid import Grid
from hasten.offline.bound.occupancy import Occupancies, book, price_occupancies
from hasten.offline.bound.option_values import (
    OptionScratch,
    device_values,
    idle_end,
    offer_of,
    option_scratch,
    option_values,
    steady_values,
    terms_of,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NO_OPTION = -1
NOT_SENT = -1


class TimePrices(NamedTuple):
    """What time costs in the relaxation."""

    link_paid: FloatArray
    """(links, T + 3): price of all time of a link before each cell."""
    edge_paid: FloatArray
    """(T + 3,): likewise for the edge."""
    send: Occupancies
    edge: Occupancies
    send_price: FloatArray
    """(K, T) or (K, 0): least price of each of the ``send`` occupancies by the cell it starts in; of the one link, or
    room for that of the link at hand."""
    edge_price: FloatArray
    """Likewise for the ``edge``."""
    multiplier: FloatArray
    """(Q, blocks): what a transfer pays for starting in each block, counted from that of its task's arrival; (Q, 0)
    without ordering multipliers."""
    block_cells: int


class Optima(NamedTuple):
    """What the streams' own optima are; filled by :func:`solve_streams`."""

    choice: NDArray[np.int8]
    """(Q, width): the best option by the device's backlog."""
    values: FloatArray
    """(Q, width): what the stream can still gain from the task on, by the device's backlog; (0, 0) if not asked for."""
    option: IntArray
    """(Q,): the option taken, or NO_OPTION."""
    start_block: IntArray
    """(Q,): block in which its transfer starts, or NOT_SENT."""
    link_use: FloatArray
    """(links, T + 3): use of each cell, as differences from cell to cell."""
    edge_use: FloatArray


@allocating
def solve_streams(
    begin: int, end: int, grid: Grid, usable: NDArray[np.bool_], prices: TimePrices, optima: Optima
) -> Any:
    """Solve streams ``begin`` to ``end`` with the ``usable`` (Q, J) options; returns the sum of their values."""
    width = optima.choice.shape[1]
    now, later, scratch = np.zeros(width), np.zeros(width), option_scratch(width)
    priced_link = 0 if prices.link_paid.shape[0] == 1 else -1
    total = 0.0
    for m in range(begin, end):
        if grid.first[m] == grid.first[m + 1]:
            continue
        if prices.send_price.shape[1] > 0 and priced_link != grid.link[m]:
            priced_link = grid.link[m]
            price_occupancies(prices.link_paid[priced_link], prices.send, prices.send_price)
        total += _solve_stream(grid, m, usable, prices, optima, now, later, scratch)
        _book_stream(grid, m, prices, optima, scratch)
    return total


@inlined
def _solve_stream(
    grid: Grid,
    m: int,
    usable: NDArray[np.bool_],
    prices: TimePrices,
    optima: Optima,
    now: FloatArray,
    later: FloatArray,
    scratch: OptionScratch,
) -> Any:
    """Backwards through a stream: fill choices and values, return what the stream gains from its first task on."""
    first, last = grid.first[m], grid.first[m + 1] - 1
    arrival, limit, arrival_at = grid.arrival, grid.limit, grid.arrival_at
    device, device_part, bits = grid.device, grid.device_part, grid.bits
    multiplier, block_cells, values = prices.multiplier, prices.block_cells, optima.values
    link_paid, sent_bits = prices.link_paid[grid.link[m]], grid.sent_bits[grid.link[m]]
    steady, known = sent_bits.shape[0] == 0, prices.send_price.shape[1] > 0
    terms, value = terms_of(grid), scratch.value
    both_ways = 2.0 * (terms.rtt_half + terms.rtt_half_part)
    later[:] = 0.0
    for q in range(last, first - 1, -1):
        a, c = arrival[q], grid.case[q]
        window = limit[q] - a
        gap = arrival[q + 1] - a if q < last else 0
        choice = optima.choice[q]
        paid = multiplier[q]
        for i in range(min(gap, window) + 1):
            now[i] = later[0]
        for i in range(gap, window + 1):
            now[i] = later[i - gap]
        choice[: window + 1] = NO_OPTION
        for j in range(device.shape[1]):
            x = device[c, j]
            if not usable[q, j] or x > window:
                continue
            offer = offer_of(grid, m, q, j)
            # An idle device starts at the arrival itself, a busy one may start at the beginning of a cell.
            idle = idle_end(arrival_at[q], a, x, device_part[c, j])
            slack = offer.limit_at - a - x - device_part[c, j]
            if bits[c, j] > 0:
                if known:
                    send_price = prices.send_price[prices.send.kind[c, j]]
                    edge_price = prices.edge_price[prices.edge.kind[c, j]]
                    reach = steady_values(offer, terms, send_price, edge_price, paid, block_cells, value)
                else:
                    reach = option_values(
                        offer, terms, sent_bits, link_paid, prices.edge_paid, paid, block_cells, scratch
                    )
                slack -= offer.edge + offer.edge_part + both_ways
                if steady:
                    slack -= offer.send + offer.send_part
            else:
                reach = window - x + 1
                device_values(offer, terms, reach, value)
            if idle >= reach:
                continue
            reach = min(reach, int(np.floor(slack)) + 1)
            net = value[idle] + later[max(idle + x - gap, 0)]
            if net > now[0]:
                now[0] = net
                choice[0] = j
            from_gap = min(max(gap - x, 1), reach)  # a backlog that the stage carries over to the next task
            for i in range(1, from_gap):
                net = value[i] + later[0]
                if net > now[i]:
                    now[i] = net
                    choice[i] = j
            _keep_larger(
                now[from_gap:reach], choice[from_gap:reach], value[from_gap:reach], later[from_gap + x - gap :], j
            )
        if values.shape[0] > 0:
            for i in range(window + 1):
                values[q, i] = now[i]
            values[q, window + 1 :] = now[window]
        now, later = later, now
    return later[0]


@inlined
def _keep_larger(now: FloatArray, choice: NDArray[np.int8], value: FloatArray, later: FloatArray, option: int) -> None:
    """Take ``option`` wherever its value and what comes later are more than now; written to be vectorized."""
    for i in range(len(now)):
        net = value[i] + later[i]
        better = net > now[i]
        now[i] = net if better else now[i]
        choice[i] = option if better else choice[i]


@compiled
def _book_stream(grid: Grid, m: int, prices: TimePrices, optima: Optima, scratch: OptionScratch) -> None:
    """Forwards through a stream that was solved: note what it decides and add its use of link and edge."""
    arrival, arrival_at, limit, link = grid.arrival, grid.arrival_at, grid.limit, grid.link[m]
    link_paid, sent_bits, block_cells = prices.link_paid[link], grid.sent_bits[link], prices.block_cells
    steady, terms = sent_bits.shape[0] == 0, terms_of(grid)
    backlog = 0
    for q in range(grid.first[m], grid.first[m + 1]):
        a = arrival[q]
        if q > grid.first[m]:
            backlog = max(backlog - (a - arrival[q - 1]), 0)
        if backlog > limit[q] - a:
            continue
        j = optima.choice[q, backlog]
        optima.option[q] = j
        if j == NO_OPTION:
            continue
        offer = offer_of(grid, m, q, j)
        backlog = max(backlog, idle_end(arrival_at[q], a, offer.device, grid.device_part[grid.case[q], j]))
        if offer.bits > 0:
            paid = prices.multiplier[q]
            option_values(offer, terms, sent_bits, link_paid, prices.edge_paid, paid, block_cells, scratch)
            start = scratch.best_start[backlog]
            sent = scratch.sent[start]
            cell = a + offer.device + start
            optima.start_block[q] = cell // block_cells - a // block_cells
            if steady:
                book(optima.link_use[link], link_paid, cell, offer.send, offer.send_part)
            else:
                optima.link_use[link, cell] += 1.0
                optima.link_use[link, sent] -= 1.0
            at_edge = scratch.best_edge[sent - scratch.sent[0]]
            book(optima.edge_use, prices.edge_paid, at_edge, offer.edge, offer.edge_part)
        backlog += offer.device


@allocating
def worth_of_stages(grid: Grid, prices: TimePrices, values: FloatArray, group: IntArray, by_stage: Any) -> None:
    """What :meth:`Relaxation.worth_by_stage` says, task by task."""
    width, terms = values.shape[1], terms_of(grid)
    first, arrival, limit, device, bits = grid.first, grid.arrival, grid.limit, grid.device, grid.bits
    stride = -(-width // by_stage.shape[2])
    scratch = option_scratch(width)
    value = scratch.value
    for m in range(len(first) - 1):
        link_paid, sent_bits = prices.link_paid[grid.link[m]], grid.sent_bits[grid.link[m]]
        for q in range(first[m], first[m + 1]):
            a, c, last = arrival[q], grid.case[q], q + 1 == first[m + 1]
            window = limit[q] - a
            for j in range(device.shape[1]):
                x, g = device[c, j], group[c, j]
                if g < 0 or x > window:
                    continue
                offer = offer_of(grid, m, q, j)
                if bits[c, j] > 0:
                    reach = option_values(
                        offer, terms, sent_bits, link_paid, prices.edge_paid, prices.multiplier[q], 1, scratch
                    )
                else:
                    reach = window - x + 1
                    device_values(offer, terms, reach, value)
                gap = 0 if last else arrival[q + 1] - a
                for i in range(reach):
                    ahead = 0.0 if last else values[q + 1, min(max(i + x - gap, 0), width - 1)]
                    by_stage[q, g, i // stride] = max(by_stage[q, g, i // stride], value[i] + ahead)
            for g in range(by_stage.shape[1] - 2, -1, -1):
                for i in range(by_stage.shape[2]):
                    by_stage[q, g, i] = max(by_stage[q, g, i], by_stage[q, g + 1, i])
