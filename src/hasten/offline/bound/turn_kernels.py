"""The compiled part of ``offline.bound.turns``: each stream's dynamic program where the edge is dearer by readiness.

As in ``offline.bound.kernels``, but a task that is ready in one block of time pays another toll for each moment at
the edge than a task that is ready in the next. To be ready later may then be better, so ready cells must be exact: a
stage that starts in a cell ends so many whole cells later or in the cell after that, and both are tried; a task that
gains nothing may keep its device busy for as long as it likes. What is ready in the first cell of a block may count as
ready in the block before, which outweighs the rounding of sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.offline.bound.kernels import Stays, book, gain_above_drop, idle_end

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEFT_OUT = -1
"""Of a task that gains nothing: this less the device's backlog at the stream's next arrival."""


@allocating
def longest_turns(toll: FloatArray, served: IntArray) -> Any:
    """The most that one worker collects of ``toll`` (blocks, ages) per cell, in cells; fills ``served`` (blocks,).

    ``toll[r, d]`` is for what is ready in block r and served in block r + d. A worker serves in the order of readiness,
    so from block to block what it serves never gets ready earlier. ``served`` is that block of readiness, by blocks of
    service.
    """
    blocks, ages = toll.shape
    best = np.zeros((blocks + 1, ages))
    move = np.empty((blocks, ages), np.int64)
    for block in range(blocks - 1, -1, -1):
        most, age = -1.0, 0
        for d in range(min(ages, block + 1)):
            worth = toll[block - d, d] + best[block + 1, min(d + 1, ages - 1)]
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
def toll_before(begin: int, end: int, toll: FloatArray, block_cells: int, paid: FloatArray) -> None:
    """Fill ``paid`` (blocks, C) with what is paid for all cells before each, counted from the block of readiness."""
    for r in range(begin, end):
        total = 0.0
        for age in range(-(-paid.shape[1] // block_cells)):
            rate = toll[r, age] if age < toll.shape[1] else 0.0
            mine = paid[r, age * block_cells : (age + 1) * block_cells]
            for i in range(len(mine)):
                mine[i] = total + i * rate
            total += block_cells * rate


@inlined
def _window(
    limit_at: float, send: int, edge: int, send_part: float, edge_part: float, rtt_half: int, rtt_half_part: float
) -> Any:
    """Latest cells in which a transfer and an edge stage may start."""
    latest_edge = int(np.floor(limit_at - edge - edge_part - rtt_half - rtt_half_part))
    latest_start = int(np.floor(limit_at - edge - edge_part - send - send_part - 2.0 * (rtt_half + rtt_half_part)))
    return min(latest_start, latest_edge - send - rtt_half), latest_edge


@inlined
def _net_gains(
    first: int, latest_edge: int, edge: int, arrival_ms: float, deadline_ms: float, worth: float,
    terms: tuple[float, float, float], rtt_half: int, cell_ms: float, edge_price: FloatArray, net: FloatArray,
) -> None:  # fmt: skip
    """Fill ``net`` with gain above dropping less price, by the cell in which the edge starts, from ``first`` on."""
    if terms[0] == 0.0 and terms[2] == 0.0:
        gain = worth - terms[1]
        for i in range(latest_edge - first + 1):
            net[i] = gain - edge_price[first + i]
        return
    for cell in range(first, latest_edge + 1):
        gain = gain_above_drop(worth, cell + edge + rtt_half, arrival_ms, deadline_ms, cell_ms, terms)
        net[cell - first] = gain - edge_price[cell]


@inlined
def _hopeful(
    ready: int, latest_start: int, latest_edge: int, way: int, send_price: FloatArray, net: FloatArray,
    later: FloatArray, now: FloatArray, shift: int,
) -> Any:  # fmt: skip
    """First end of the device stage, in cells from ``ready``, that were better than now without tolls, and the last.

    If there is none, the last is less than the first.
    """
    first, last = latest_start - ready + 1, -1
    served = best = -np.inf
    for i in range(latest_edge - ready - way, latest_start - ready, -1):
        served = net[i] if net[i] > served else served
    for i in range(latest_start - ready, -1, -1):
        served = net[i] if net[i] > served else served
        worth = served - send_price[ready + i]
        best = worth if worth > best else best
        least = min(now[i], now[max(i - 1, 0)])
        if best + later[max(i + shift, 0)] > least:
            first, last = i, max(last, i)
    return first, last


@compiled
def _turn_values(
    ready: int, latest_start: int, latest_edge: int, way: int, edge: int, arrival_ms: float, deadline_ms: float,
    worth: float, terms: tuple[float, float, float], rtt_half: int, cell_ms: float, block_cells: int,
    send_price: FloatArray, edge_price: FloatArray, paid: FloatArray, later: FloatArray, now: FloatArray, shift: int,
    net: FloatArray, tolled: FloatArray, value: FloatArray,
) -> Any:  # fmt: skip
    """Fill ``value`` by the cell, from ``ready`` on, in which the device stage ends, where it may be better than now.

    Returns the first of these cells and one past the last. ``net`` and ``tolled`` are scratch.
    """
    _net_gains(
        ready + way, latest_edge, edge, arrival_ms, deadline_ms, worth, terms, rtt_half, cell_ms, edge_price, net
    )  # fmt: skip
    hopeful, last = _hopeful(ready, latest_start, latest_edge, way, send_price, net, later, now, shift)
    if last < hopeful:
        return 0, 0
    cells, length = latest_start - ready + 1, latest_edge - ready - way + 1
    earlier = -np.inf  # value of the first cell of a block, counted as ready in the block before
    for block in range(max((ready + hopeful - 1) // block_cells, 0), (ready + last) // block_cells + 1):
        begin, beyond = max(block * block_cells - ready, 0), (block + 1) * block_cells - ready
        end = min(beyond, cells)
        mine, offset = paid[block], ready + way - block * block_cells
        for i in range(begin, length):
            tolled[i] = net[i]
        if edge > 1:
            till, since = mine[offset + begin + edge :], mine[offset + begin + 1 :]
            for i in range(length - begin):
                tolled[begin + i] -= till[i] - since[i]
        served = best = after = -np.inf
        for i in range(length - 1, cells - 1, -1):
            served = tolled[i] if tolled[i] > served else served
        for i in range(cells - 1, end - 1, -1):
            served = tolled[i] if tolled[i] > served else served
            paid_for = served - send_price[ready + i]
            best = paid_for if paid_for > best else best
        if end == beyond:
            after = best
        for i in range(end - 1, begin - 1, -1):
            served = tolled[i] if tolled[i] > served else served
            paid_for = served - send_price[ready + i]
            best = paid_for if paid_for > best else best
            value[i] = best
        if begin < end:
            value[begin] = max(value[begin], earlier)
        earlier = after
    return hopeful, last + 1


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
    first: int, end: int, sure: int, idle: int, shift: int, j: int, value: FloatArray, later: FloatArray,
    now: FloatArray, choice: NDArray[np.int16],
) -> None:  # fmt: skip
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


@compiled
def _best_turn(
    ready: int, latest_start: int, latest_edge: int, way: int, edge: int, block_cells: int, send_price: FloatArray,
    net: FloatArray, paid: FloatArray,
) -> Any:  # fmt: skip
    """Best cells to start transfer and edge for a task ready in cell ``ready``, and the block it counts for.

    ``net`` counts from ``ready + way``.
    """
    most, at_start, at_edge, in_block = -np.inf, ready, ready + way, ready // block_cells
    for block in range(ready // block_cells, ready // block_cells - 2, -1):
        if block < ready // block_cells and (ready % block_cells > 0 or block < 0):
            break
        mine, begin = paid[block], block * block_cells
        served, cell = -np.inf, latest_edge
        for e in range(latest_edge, ready + way - 1, -1):
            worth = net[e - ready - way]
            if edge > 1:
                worth -= mine[e - begin + edge] - mine[e - begin + 1]
            if worth >= served:
                served, cell = worth, e
            start = e - way
            if start <= latest_start and served - send_price[start] >= most:
                most, at_start, at_edge, in_block = served - send_price[start], start, cell, block
    return at_start, at_edge, in_block


@inlined
def _book_toll(use: FloatArray, begin: int, end: int, block: int, block_cells: int) -> None:
    """Add the cells from ``begin`` up to ``end`` to ``use`` (blocks, ages) of a task ready in ``block``."""
    while begin < end:
        age = begin // block_cells - block
        stop = min(end, (block + age + 1) * block_cells)
        if age < use.shape[1]:
            use[block, age] += stop - begin
        begin = stop


@allocating
def solve_in_turns(
    begin: int, end: int, first: IntArray, arrival: IntArray, limit: IntArray, arrival_at: FloatArray,
    limit_at: FloatArray, arrival_ms: FloatArray, deadline_ms: FloatArray, device: IntArray, send: IntArray,
    edge: IntArray, device_part: FloatArray, send_part: FloatArray, edge_part: FloatArray, bits: FloatArray,
    worth: FloatArray, usable: NDArray[np.bool_], likely: NDArray[np.bool_], terms: tuple[float, float, float],
    rtt_half: int, rtt_half_part: float, cell_ms: float, link_paid: FloatArray, edge_paid: FloatArray,
    send_stays: Stays, edge_stays: Stays, send_price: FloatArray, edge_price: FloatArray, paid: FloatArray,
    block_cells: int, choice: NDArray[np.int16], option: IntArray, link_use: FloatArray, edge_use: FloatArray,
    toll_use: FloatArray,
) -> Any:  # fmt: skip
    """Solve streams at the prices, add their use of link, edge and tolls, return the sum of values."""
    width = choice.shape[1]
    now, later = np.zeros(width), np.zeros(width)
    value, net, tolled = np.empty(width), np.empty(width), np.empty(width)
    total = 0.0
    for m in range(begin, end):
        if first[m] == first[m + 1]:
            continue
        later[:] = 0.0
        for q in range(first[m + 1] - 1, first[m] - 1, -1):
            a = arrival[q]
            window = limit[q] - a
            gap = arrival[q + 1] - a if q + 1 < first[m + 1] else 0
            mine = choice[q]
            window_after = limit[q + 1] - arrival[q + 1] if q + 1 < first[m + 1] else window
            _leave_out(gap, window, window_after, later, now, mine)
            for turn in range(2 * device.shape[1]):
                j = turn % device.shape[1]
                x = device[m, j]
                if not usable[q, j] or likely[q, j] == (turn >= device.shape[1]) or x > window:
                    continue
                ready = a + x
                slack = limit_at[q] - ready - device_part[m, j]
                some, reach = 0, window - x + 1
                if bits[m, j] > 0:
                    start, last = _window(
                        limit_at[q], send[m, j], edge[m, j], send_part[m, j], edge_part[m, j], rtt_half, rtt_half_part
                    )
                    reach = start - ready + 1
                    if reach <= 0:
                        continue
                    some, reach = _turn_values(
                        ready, start, last, send[m, j] + rtt_half, edge[m, j], arrival_ms[q], deadline_ms[m],
                        worth[m, j], terms, rtt_half, cell_ms, block_cells, send_price[send_stays.kind[m, j]],
                        edge_price[edge_stays.kind[m, j]], paid, later, now, x - gap, net, tolled, value,
                    )  # fmt: skip
                    slack -= edge[m, j] + edge_part[m, j] + send[m, j] + send_part[m, j]
                    slack -= 2.0 * (rtt_half + rtt_half_part)
                else:
                    for i in range(reach):
                        value[i] = gain_above_drop(
                            worth[m, j], ready + i, arrival_ms[q], deadline_ms[m], cell_ms, terms
                        )
                if some < reach:
                    idle = idle_end(arrival_at[q], a, x, device_part[m, j])
                    sure = min(reach, int(np.floor(slack)) + 1)
                    _take_better(some, reach, sure, idle, x - gap, j, value, later, now, mine)
            now, later = later, now
        total += later[0]

        backlog = 0
        for q in range(first[m], first[m + 1]):
            a = arrival[q]
            gap_after = arrival[q + 1] - a if q + 1 < first[m + 1] else 0
            if q > first[m]:
                backlog = max(backlog - (a - arrival[q - 1]), 0)
            if choice[q, backlog] <= LEFT_OUT:
                backlog = LEFT_OUT - choice[q, backlog] + gap_after
                continue
            j, beyond = divmod(choice[q, backlog], 2)
            option[q] = j
            backlog += beyond
            if bits[m, j] > 0:
                ready = a + device[m, j] + backlog
                way = send[m, j] + rtt_half
                start, last = _window(
                    limit_at[q], send[m, j], edge[m, j], send_part[m, j], edge_part[m, j], rtt_half, rtt_half_part
                )
                _net_gains(
                    ready + way, last, edge[m, j], arrival_ms[q], deadline_ms[m], worth[m, j], terms, rtt_half,
                    cell_ms, edge_price[edge_stays.kind[m, j]], net,
                )  # fmt: skip
                start, cell, block = _best_turn(
                    ready, start, last, way, edge[m, j], block_cells, send_price[send_stays.kind[m, j]], net, paid
                )
                book(link_use, link_paid, start, send[m, j], send_part[m, j])
                book(edge_use, edge_paid, cell, edge[m, j], edge_part[m, j])
                _book_toll(toll_use, cell + 1, cell + edge[m, j], block, block_cells)
            backlog += device[m, j]
    return total
