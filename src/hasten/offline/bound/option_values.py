"""What one option of one task is worth at given prices, by the cell in which its device stage ends; compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.gain import GainTerms, task_gain, useful_until_ms
from hasten.offline.bound.grid import LIMIT_SLACK_CELLS, Grid
from hasten.offline.bound.occupancy import cheapest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ARRIVAL_SLACK_CELLS = 1e-7
"""Taken off an arrival before a duration is added, to outweigh the rounding of such sums."""


class Offer(NamedTuple):
    """One option of one task, from :class:`hasten.offline.bound.grid.Grid`. In cells, but for the last two numbers."""

    arrival: int
    limit_at: float
    arrival_ms: float
    deadline_ms: float
    device: int
    send: int
    edge: int
    send_part: float
    edge_part: float
    bits: float
    worth: float


class Terms(NamedTuple):
    """What is the same for all tasks of a grid."""

    gain_terms: GainTerms
    rtt_half: int
    rtt_half_part: float
    cell_ms: float


class OptionScratch(NamedTuple):
    """What :func:`option_values` fills, each (width,)."""

    value: FloatArray
    best_start: IntArray
    sent: IntArray
    edge_value: FloatArray
    best_edge: IntArray


@allocating
def option_scratch(width: int) -> OptionScratch:
    """Room for ``width`` cells."""
    return OptionScratch(
        np.empty(width),
        np.empty(width, np.int64),
        np.empty(width, np.int64),
        np.empty(width),
        np.empty(width, np.int64),
    )


@inlined
def offer_of(grid: Grid, m: int, q: int, j: int) -> Offer:
    """Option ``j`` of task ``q`` of stream ``m``."""
    c = grid.case[q]
    return Offer(
        grid.arrival[q],
        grid.limit_at[q] - grid.excess_at[c, j],
        grid.arrival_ms[q],
        grid.deadline_ms[m],
        grid.device[c, j],
        grid.send[c, j],
        grid.edge[c, j],
        grid.send_part[c, j],
        grid.edge_part[c, j],
        grid.bits[c, j],
        grid.worth[c, j],
    )


@inlined
def terms_of(grid: Grid) -> Terms:
    """What all tasks of a grid share."""
    return Terms(grid.gain_terms, grid.rtt_half, grid.rtt_half_part, grid.cell_ms)


@inlined
def timeless(terms: Terms) -> bool:
    """Whether an answer gains the same whenever it is on time."""
    return terms.gain_terms.time_weight == 0.0 and terms.gain_terms.fade == 0.0


@inlined
def gain_above_drop(offer: Offer, finish: int, terms: Terms) -> Any:
    """Gain of finishing in cell ``finish`` (no later than the limit) over that of dropping."""
    time_weight, late_gain, fade = terms.gain_terms
    if timeless(terms):
        return offer.worth - late_gain
    latency_ms = (finish - LIMIT_SLACK_CELLS) * terms.cell_ms - offer.arrival_ms
    latency_ms = min(max(latency_ms, 0.0), useful_until_ms(offer.deadline_ms, fade))
    return task_gain(offer.worth, latency_ms, offer.deadline_ms, time_weight, late_gain, fade) - late_gain


@inlined
def idle_end(arrival_at: float, arrival: int, device: int, device_part: float) -> Any:
    """Cells beyond ``arrival + device`` in which a device stage ends that starts at the arrival itself: 0 or 1."""
    return max(int(np.floor(arrival_at - ARRIVAL_SLACK_CELLS + device + device_part)) - arrival - device, 0)


@inlined
def latest_starts(offer: Offer, terms: Terms) -> Any:
    """Latest cells in which a transfer, over a link of constant rate, and an edge stage may start."""
    after_edge = offer.limit_at - offer.edge - offer.edge_part
    latest_edge = int(np.floor(after_edge - terms.rtt_half - terms.rtt_half_part))
    ways = 2.0 * (terms.rtt_half + terms.rtt_half_part)
    return int(np.floor(after_edge - offer.send - offer.send_part - ways)), latest_edge


@inlined
def device_values(offer: Offer, terms: Terms, reach: int, value: FloatArray) -> None:
    """Fill ``value`` of an option without payload, by the cell from the earliest on in which its device stage ends."""
    for i in range(reach):
        value[i] = gain_above_drop(offer, offer.arrival + offer.device + i, terms)


@inlined
def _send_end(start: int, send: int, bits: float, sent_bits: FloatArray) -> Any:
    """Cell before which a transfer started at cell ``start`` surely still runs."""
    if sent_bits.shape[0] == 0:
        return start + send
    target = sent_bits[start] + bits
    return np.searchsorted(sent_bits, target * (1.0 - 1e-14), side="left") - 1


@compiled
def option_values(
    offer: Offer,
    terms: Terms,
    sent_bits: FloatArray,
    link_paid: FloatArray,
    edge_paid: FloatArray,
    multiplier: FloatArray,
    block_cells: int,
    scratch: OptionScratch,
) -> Any:
    """Best value of one sending option by the cell its device stage ends in; returns how many cells can be on time.

    ``value[i]`` of the scratch belongs to a device stage that ends in cell ``arrival + device + i``: gain less the
    price of the best transfer and the best edge service after it, and less the ``multiplier`` (blocks,), if any, of
    the block of ``block_cells`` in which the transfer starts. ``best_start[i]`` and ``sent[.]``, ``best_edge[.]`` say
    which these are.
    """
    value, best_start, sent, edge_value, best_edge = scratch
    edge, rtt_half = offer.edge, terms.rtt_half
    steady = sent_bits.shape[0] == 0
    ready = offer.arrival + offer.device
    latest_steady, latest_edge = latest_starts(offer, terms)
    latest_start = latest_steady if steady else latest_edge
    if ready > latest_start:
        return 0
    starts = 0
    end = _send_end(ready, offer.send, offer.bits, sent_bits)
    earliest_edge = end + rtt_half
    while end + rtt_half <= latest_edge and ready + starts <= latest_start:
        sent[starts] = end
        starts += 1
        if steady:
            end += 1
        else:
            target = (sent_bits[ready + starts] + offer.bits) * (1.0 - 1e-14)
            while end + 1 < sent_bits.shape[0] and sent_bits[end + 1] < target:
                end += 1
    if starts == 0:
        return 0
    best = -np.inf
    best_cell = latest_edge
    same_gain = timeless(terms)
    gain = offer.worth - terms.gain_terms.late_gain
    for cell in range(latest_edge, earliest_edge - 1, -1):
        if not same_gain:
            gain = gain_above_drop(offer, cell + edge + rtt_half, terms)
        net = gain - cheapest(edge_paid, cell, edge, offer.edge_part)
        if net >= best:
            best = net
            best_cell = cell
        edge_value[cell - earliest_edge] = best
        best_edge[cell - earliest_edge] = best_cell
    best = -np.inf
    best_i = starts - 1
    block = (ready + starts - 1) // block_cells
    block_first = block * block_cells - ready  # where the block begins, counted like i
    block -= offer.arrival // block_cells
    for i in range(starts - 1, -1, -1):
        if i < block_first:
            block, block_first = block - 1, block_first - block_cells
        net = edge_value[sent[i] + rtt_half - earliest_edge]
        if steady:
            net -= cheapest(link_paid, ready + i, offer.send, offer.send_part)
        else:
            net -= link_paid[sent[i]] - link_paid[ready + i]
        if multiplier.shape[0] > 0:
            net -= multiplier[block]
        if net >= best:
            best = net
            best_i = i
        value[i] = best
        best_start[i] = best_i
    return starts


@compiled
def steady_values(
    offer: Offer,
    terms: Terms,
    send_price: FloatArray,
    edge_price: FloatArray,
    multiplier: FloatArray,
    block_cells: int,
    value: FloatArray,
) -> Any:
    """The values of :func:`option_values` for a link of constant rate, faster: by the prices (T,) of occupancies."""
    edge, rtt_half = offer.edge, terms.rtt_half
    ready, way = offer.arrival + offer.device, offer.send + rtt_half
    latest_start, latest_edge = latest_starts(offer, terms)
    latest_start = min(latest_start, latest_edge - way)
    if ready > latest_start:
        return 0
    same_gain = timeless(terms)
    gain = offer.worth - terms.gain_terms.late_gain
    served = -np.inf
    for cell in range(latest_edge, latest_start + way, -1):
        if not same_gain:
            gain = gain_above_drop(offer, cell + edge + rtt_half, terms)
        net = gain - edge_price[cell]
        served = net if net > served else served
    best = -np.inf
    block = latest_start // block_cells
    block_first = block * block_cells
    block -= offer.arrival // block_cells
    for start in range(latest_start, ready - 1, -1):
        if not same_gain:
            gain = gain_above_drop(offer, start + way + edge + rtt_half, terms)
        net = gain - edge_price[start + way]
        served = net if net > served else served
        net = served - send_price[start]
        if multiplier.shape[0] > 0:
            if start < block_first:
                block, block_first = block - 1, block_first - block_cells
            net -= multiplier[block]
        best = net if net > best else best
        value[start - ready] = best
    return latest_start - ready + 1
