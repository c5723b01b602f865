"""The compiled part of ``offline.bound.bounds``: each stream's dynamic program at given prices of uplink and edge.

One-dimensional, over the device's backlog in cells, backwards through the stream's tasks; then forwards, to book what
the best decisions use. Arrays are those of ``offline.bound.grid``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.gain import task_gain, useful_until_ms
from hasten.offline.bound.grid import LIMIT_SLACK_CELLS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NO_OPTION = -1
NOT_SENT = -1
ARRIVAL_SLACK_CELLS = 1e-7
"""Taken off an arrival before a duration is added, to outweigh the rounding of such sums."""


class Stays(NamedTuple):
    """The K different durations among the options of all streams."""

    whole: IntArray
    """(K,): whole cells; likewise what they leave out."""
    part: FloatArray
    kind: IntArray
    """(M, J): which duration an option has."""


@inlined
def _stay_prices(paid: FloatArray, start: int, whole: int, part: float) -> Any:
    """Price of ``whole + part`` cells of time from the start of cell ``start``, to the end of a cell, from its end.

    The price of a stay that starts anywhere in the cell is piecewise linear in the start, so one of these is the least.
    """
    a, b = paid[start], paid[start + 1]
    c, d, e = paid[start + whole], paid[start + whole + 1], paid[start + whole + 2]
    return c + part * (d - c) - a, d - b + part * (b - a), d + part * (e - d) - b


@inlined
def _cheapest(paid: FloatArray, start: int, whole: int, part: float) -> Any:
    """Least price of ``whole + part`` cells of time that start anywhere in cell ``start``."""
    early, between, late = _stay_prices(paid, start, whole, part)
    least = early if early < between else between
    return least if least < late else late


@compiled
def price_stays(paid: FloatArray, stays: Stays, price: FloatArray) -> None:
    """Fill ``price`` (K, T) with the least price of each duration by the cell it starts in."""
    for kind in range(len(stays.whole)):
        whole, part = stays.whole[kind], stays.part[kind]
        cells = min(max(len(paid) - whole - 2, 0), price.shape[1])
        for start in range(cells):
            price[kind, start] = _cheapest(paid, start, whole, part)
        for start in range(cells, price.shape[1]):
            price[kind, start] = np.inf


@inlined
def book(use: FloatArray, paid: FloatArray, start: int, whole: int, part: float) -> None:
    """Add the time that :func:`_cheapest` charges for to ``use``, as differences from cell to cell."""
    early, between, late = _stay_prices(paid, start, whole, part)
    first, missing, last, beyond = start, 0.0, start + whole, part
    if between < early and between <= late:
        missing, last, beyond = 1.0 - part, last + 1, 0.0
    elif late < early:
        first, last = first + 1, last + 1
    use[first] += 1.0 - missing
    use[first + 1] += missing
    use[last] -= 1.0 - beyond
    use[last + 1] -= beyond


@inlined
def _send_end(start: int, send: int, bits: float, sent_bits: FloatArray) -> Any:
    """Cell before which a transfer started at cell ``start`` surely still runs."""
    if sent_bits.shape[0] == 0:
        return start + send
    target = sent_bits[start] + bits
    return np.searchsorted(sent_bits, target * (1.0 - 1e-14), side="left") - 1


@inlined
def gain_above_drop(
    worth: float, finish: int, arrival_ms: float, deadline_ms: float, cell_ms: float, terms: tuple[float, float, float]
) -> Any:
    """Gain of finishing in cell ``finish`` (no later than the limit) over that of dropping."""
    if terms[0] == 0.0 and terms[2] == 0.0:
        return worth - terms[1]
    latency_ms = (finish - LIMIT_SLACK_CELLS) * cell_ms - arrival_ms
    latency_ms = min(max(latency_ms, 0.0), useful_until_ms(deadline_ms, terms[2]))
    return task_gain(worth, latency_ms, deadline_ms, terms[0], terms[1], terms[2]) - terms[1]


@compiled
def _option_values(
    arrival: int, limit_at: float, arrival_ms: float, deadline_ms: float, device: int, send: int, edge: int,
    send_part: float, edge_part: float, bits: float, worth: float, terms: tuple[float, float, float], rtt_half: int,
    rtt_half_part: float, sent_bits: FloatArray, cell_ms: float, link_paid: FloatArray, edge_paid: FloatArray,
    toll: FloatArray, toll_cells: int, value: FloatArray, best_start: IntArray, sent: IntArray,
    edge_value: FloatArray, best_edge: IntArray,
) -> Any:  # fmt: skip
    """Best value of one sending option by the cell its device stage ends in; returns how many cells can be on time.

    ``value[i]`` belongs to a device stage that ends in cell ``arrival + device + i``: gain less the price of the best
    transfer and the best edge service after it. ``best_start[i]`` and ``sent[.]``, ``best_edge[.]`` say which.
    """
    steady = sent_bits.shape[0] == 0
    ready = arrival + device
    latest_edge = int(np.floor(limit_at - edge - edge_part - rtt_half - rtt_half_part))
    latest_start = latest_edge
    if steady:
        latest_start = int(np.floor(limit_at - edge - edge_part - send - send_part - 2.0 * (rtt_half + rtt_half_part)))
    if ready > latest_start:
        return 0
    starts = 0
    end = _send_end(ready, send, bits, sent_bits)
    earliest_edge = end + rtt_half
    while end + rtt_half <= latest_edge and ready + starts <= latest_start:
        sent[starts] = end
        starts += 1
        if steady:
            end += 1
        else:
            target = (sent_bits[ready + starts] + bits) * (1.0 - 1e-14)
            while end + 1 < sent_bits.shape[0] and sent_bits[end + 1] < target:
                end += 1
    if starts == 0:
        return 0
    best = -np.inf
    best_cell = latest_edge
    timeless = terms[0] == 0.0 and terms[2] == 0.0
    gain = worth - terms[1]
    for cell in range(latest_edge, earliest_edge - 1, -1):
        if not timeless:
            gain = gain_above_drop(worth, cell + edge + rtt_half, arrival_ms, deadline_ms, cell_ms, terms)
        net = gain - _cheapest(edge_paid, cell, edge, edge_part)
        if net >= best:
            best = net
            best_cell = cell
        edge_value[cell - earliest_edge] = best
        best_edge[cell - earliest_edge] = best_cell
    best = -np.inf
    best_i = starts - 1
    block = (ready + starts - 1) // toll_cells
    block_first = block * toll_cells - ready  # where the block begins, counted like i
    block -= arrival // toll_cells
    for i in range(starts - 1, -1, -1):
        if i < block_first:
            block, block_first = block - 1, block_first - toll_cells
        net = edge_value[sent[i] + rtt_half - earliest_edge]
        if steady:
            net -= _cheapest(link_paid, ready + i, send, send_part)
        else:
            net -= link_paid[sent[i]] - link_paid[ready + i]
        if toll.shape[0] > 0:
            net -= toll[block]
        if net >= best:
            best = net
            best_i = i
        value[i] = best
        best_start[i] = best_i
    return starts


@compiled
def _steady_values(
    arrival: int, limit_at: float, arrival_ms: float, deadline_ms: float, device: int, send: int, edge: int,
    send_part: float, edge_part: float, worth: float, terms: tuple[float, float, float], rtt_half: int,
    rtt_half_part: float, cell_ms: float, send_price: FloatArray, edge_price: FloatArray, toll: FloatArray,
    toll_cells: int, value: FloatArray,
) -> Any:  # fmt: skip
    """The values of :func:`_option_values` for a link of constant rate, faster: by the prices (T,) of its stays."""
    ready, way = arrival + device, send + rtt_half
    latest_edge = int(np.floor(limit_at - edge - edge_part - rtt_half - rtt_half_part))
    latest_start = int(np.floor(limit_at - edge - edge_part - send - send_part - 2.0 * (rtt_half + rtt_half_part)))
    latest_start = min(latest_start, latest_edge - way)
    if ready > latest_start:
        return 0
    timeless = terms[0] == 0.0 and terms[2] == 0.0
    gain = worth - terms[1]
    served = -np.inf
    for cell in range(latest_edge, latest_start + way, -1):
        if not timeless:
            gain = gain_above_drop(worth, cell + edge + rtt_half, arrival_ms, deadline_ms, cell_ms, terms)
        net = gain - edge_price[cell]
        served = net if net > served else served
    best = -np.inf
    block = latest_start // toll_cells
    block_first = block * toll_cells
    block -= arrival // toll_cells
    for start in range(latest_start, ready - 1, -1):
        if not timeless:
            gain = gain_above_drop(worth, start + way + edge + rtt_half, arrival_ms, deadline_ms, cell_ms, terms)
        net = gain - edge_price[start + way]
        served = net if net > served else served
        net = served - send_price[start]
        if toll.shape[0] > 0:
            if start < block_first:
                block, block_first = block - 1, block_first - toll_cells
            net -= toll[block]
        best = net if net > best else best
        value[start - ready] = best
    return latest_start - ready + 1


@inlined
def _keep_larger(now: FloatArray, choice: NDArray[np.int8], value: FloatArray, later: FloatArray, option: int) -> None:
    """Take ``option`` wherever its value and what comes later are more than now; written to be vectorized."""
    for i in range(len(now)):
        net = value[i] + later[i]
        better = net > now[i]
        now[i] = net if better else now[i]
        choice[i] = option if better else choice[i]


@allocating
def solve_streams(
    begin: int, end: int, first: IntArray, arrival: IntArray, limit: IntArray, arrival_at: FloatArray,
    limit_at: FloatArray, arrival_ms: FloatArray, deadline_ms: FloatArray, device: IntArray, send: IntArray,
    edge: IntArray, device_part: FloatArray, send_part: FloatArray, edge_part: FloatArray, bits: FloatArray,
    worth: FloatArray, usable: NDArray[np.bool_], terms: tuple[float, float, float], rtt_half: int,
    rtt_half_part: float, link: IntArray, sent_bits: FloatArray, cell_ms: float, link_paid: FloatArray,
    edge_paid: FloatArray, send_stays: Stays, edge_stays: Stays, send_price: FloatArray, edge_price: FloatArray,
    toll: FloatArray, toll_cells: int, choice: NDArray[np.int8], values: FloatArray, option: IntArray,
    start_block: IntArray, link_use: FloatArray, edge_use: FloatArray,
) -> Any:  # fmt: skip
    """Solve streams at the prices, add their use of links and edge (as differences), return the sum of values."""
    width = choice.shape[1]
    steady = sent_bits.shape[1] == 0
    now = np.zeros(width)
    later = np.zeros(width)
    value = np.empty(width)
    edge_value = np.empty(width)
    best_start = np.empty(width, np.int64)
    best_edge = np.empty(width, np.int64)
    sent = np.empty(width, np.int64)
    no_toll = np.empty(0)
    stays_kept = send_price.shape[1] > 0
    priced_link = 0 if link_paid.shape[0] == 1 else -1
    total = 0.0
    for m in range(begin, end):
        if first[m] == first[m + 1]:
            continue
        paid = link_paid[link[m]]
        if stays_kept and priced_link != link[m]:
            priced_link = link[m]
            price_stays(paid, send_stays, send_price)
        later[:] = 0.0
        for q in range(first[m + 1] - 1, first[m] - 1, -1):
            a = arrival[q]
            window = limit[q] - a
            gap = arrival[q + 1] - a if q + 1 < first[m + 1] else 0
            mine = choice[q]
            for i in range(min(gap, window) + 1):
                now[i] = later[0]
            for i in range(gap, window + 1):
                now[i] = later[i - gap]
            mine[: window + 1] = NO_OPTION
            for j in range(device.shape[1]):
                x = device[m, j]
                if not usable[q, j] or x > window:
                    continue
                # An idle device starts at the arrival itself, a busy one may start at the beginning of a cell.
                idle = idle_end(arrival_at[q], a, x, device_part[m, j])
                slack = limit_at[q] - a - x - device_part[m, j]
                if bits[m, j] > 0 and stays_kept:
                    reach = _steady_values(
                        a, limit_at[q], arrival_ms[q], deadline_ms[m], x, send[m, j], edge[m, j], send_part[m, j],
                        edge_part[m, j], worth[m, j], terms, rtt_half, rtt_half_part, cell_ms,
                        send_price[send_stays.kind[m, j]], edge_price[edge_stays.kind[m, j]],
                        toll[q] if toll.shape[0] > 0 else no_toll, toll_cells, value,
                    )  # fmt: skip
                elif bits[m, j] > 0:
                    reach = _option_values(
                        a, limit_at[q], arrival_ms[q], deadline_ms[m], x, send[m, j], edge[m, j], send_part[m, j],
                        edge_part[m, j], bits[m, j], worth[m, j], terms, rtt_half, rtt_half_part, sent_bits[link[m]],
                        cell_ms, paid, edge_paid, toll[q] if toll.shape[0] > 0 else no_toll, toll_cells,
                        value, best_start, sent, edge_value, best_edge,
                    )  # fmt: skip
                if bits[m, j] > 0:
                    slack -= edge[m, j] + edge_part[m, j] + 2.0 * (rtt_half + rtt_half_part)
                    if steady:
                        slack -= send[m, j] + send_part[m, j]
                else:
                    reach = window - x + 1
                    for i in range(reach):
                        value[i] = gain_above_drop(
                            worth[m, j], a + x + i, arrival_ms[q], deadline_ms[m], cell_ms, terms
                        )
                if idle >= reach:
                    continue
                reach = min(reach, int(np.floor(slack)) + 1)
                net = value[idle] + later[max(idle + x - gap, 0)]
                if net > now[0]:
                    now[0] = net
                    mine[0] = j
                from_gap = min(max(gap - x, 1), reach)  # a backlog that the stage carries over to the next task
                for i in range(1, from_gap):
                    net = value[i] + later[0]
                    if net > now[i]:
                        now[i] = net
                        mine[i] = j
                _keep_larger(
                    now[from_gap:reach], mine[from_gap:reach], value[from_gap:reach], later[from_gap + x - gap :], j
                )
            if values.shape[0] > 0:
                for i in range(window + 1):
                    values[q, i] = now[i]
                values[q, window + 1 :] = now[window]
            now, later = later, now
        total += later[0]

        backlog = 0
        for q in range(first[m], first[m + 1]):
            a = arrival[q]
            if q > first[m]:
                backlog = max(backlog - (a - arrival[q - 1]), 0)
            if backlog > limit[q] - a:
                continue
            j = choice[q, backlog]
            option[q] = j
            if j == NO_OPTION:
                continue
            backlog = max(backlog, idle_end(arrival_at[q], a, device[m, j], device_part[m, j]))
            if bits[m, j] > 0:
                _option_values(
                    a, limit_at[q], arrival_ms[q], deadline_ms[m], device[m, j], send[m, j], edge[m, j],
                    send_part[m, j], edge_part[m, j], bits[m, j], worth[m, j], terms, rtt_half, rtt_half_part,
                    sent_bits[link[m]], cell_ms, paid, edge_paid, toll[q] if toll.shape[0] > 0 else no_toll, toll_cells,
                    value, best_start, sent, edge_value, best_edge,
                )  # fmt: skip
                start = best_start[backlog]
                cell = a + device[m, j] + start
                start_block[q] = cell // toll_cells - a // toll_cells
                if steady:
                    book(link_use[link[m]], paid, cell, send[m, j], send_part[m, j])
                else:
                    link_use[link[m], cell] += 1.0
                    link_use[link[m], sent[start]] -= 1.0
                book(edge_use, edge_paid, best_edge[sent[start] - sent[0]], edge[m, j], edge_part[m, j])
            backlog += device[m, j]
    return total


@allocating
def worth_of_stages(
    first: IntArray, arrival: IntArray, limit: IntArray, arrival_at: FloatArray, limit_at: FloatArray,
    arrival_ms: FloatArray, deadline_ms: FloatArray, device: IntArray, send: IntArray, edge: IntArray,
    device_part: FloatArray, send_part: FloatArray, edge_part: FloatArray, bits: FloatArray, worth: FloatArray,
    terms: tuple[float, float, float], rtt_half: int, rtt_half_part: float, link: IntArray, sent_bits: FloatArray,
    cell_ms: float, link_paid: FloatArray, edge_paid: FloatArray, values: FloatArray, group: IntArray, by_stage: Any,
) -> None:  # fmt: skip
    """What :meth:`Relaxation.worth_by_stage` says, task by task."""
    width = values.shape[1]
    stride = -(-width // by_stage.shape[2])
    value, edge_value = np.empty(width), np.empty(width)
    best_start, best_edge, sent = np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width, np.int64)
    no_toll = np.empty(0)
    for m in range(len(first) - 1):
        for q in range(first[m], first[m + 1]):
            a, last = arrival[q], q + 1 == first[m + 1]
            window = limit[q] - a
            for j in range(device.shape[1]):
                x, g = device[m, j], group[m, j]
                if g < 0 or x > window:
                    continue
                if bits[m, j] > 0:
                    reach = _option_values(
                        a, limit_at[q], arrival_ms[q], deadline_ms[m], x, send[m, j], edge[m, j], send_part[m, j],
                        edge_part[m, j], bits[m, j], worth[m, j], terms, rtt_half, rtt_half_part, sent_bits[link[m]],
                        cell_ms, link_paid[link[m]], edge_paid, no_toll, 1, value, best_start, sent, edge_value,
                        best_edge,
                    )  # fmt: skip
                else:
                    reach = window - x + 1
                    for i in range(reach):
                        value[i] = gain_above_drop(
                            worth[m, j], a + x + i, arrival_ms[q], deadline_ms[m], cell_ms, terms
                        )
                gap = 0 if last else arrival[q + 1] - a
                for i in range(reach):
                    ahead = 0.0 if last else values[q + 1, min(max(i + x - gap, 0), width - 1)]
                    by_stage[q, g, i // stride] = max(by_stage[q, g, i // stride], value[i] + ahead)
            for g in range(by_stage.shape[1] - 2, -1, -1):
                for i in range(by_stage.shape[2]):
                    by_stage[q, g, i] = max(by_stage[q, g, i], by_stage[q, g + 1, i])


@inlined
def idle_end(arrival_at: float, arrival: int, device: int, device_part: float) -> Any:
    """Cells beyond ``arrival + device`` in which a device stage ends that starts at the arrival itself: 0 or 1."""
    return max(int(np.floor(arrival_at - ARRIVAL_SLACK_CELLS + device + device_part)) - arrival - device, 0)
