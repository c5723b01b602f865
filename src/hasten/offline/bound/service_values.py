"""What one option of one task is worth where the edge is dearer by readiness; compiled.

As in ``offline.bound.option_values``, with ordering multipliers: a task that is ready in one block of time pays
another multiplier for each moment at the edge than a task that is ready in the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.offline.bound.occupancy import Occupancies
from hasten.offline.bound.option_values import Offer, Terms, gain_above_drop, latest_starts, timeless

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ServicePrices(NamedTuple):
    """What time costs on one link of constant rate and at the edge, with ordering multipliers."""

    link_paid: FloatArray
    """(T + 3,): price of all time of the link before each cell; likewise of the edge."""
    edge_paid: FloatArray
    send: Occupancies
    edge: Occupancies
    send_price: FloatArray
    """(K, T): least price of each of the ``send`` occupancies by the cell it starts in; likewise for the ``edge``."""
    edge_price: FloatArray
    multiplier_paid: FloatArray
    """(blocks, C): multipliers of all cells before each, counted from the block of readiness."""
    block_cells: int


class Service(NamedTuple):
    """Cells in which the stages of an option may lie."""

    ready: int
    """The first one in which its device stage may end."""
    latest_start: int
    """The last one in which its transfer may start; likewise its edge stage."""
    latest_edge: int
    way: int
    """From the start of the transfer to the edge."""
    edge: int
    """At the edge."""


class ServiceScratch(NamedTuple):
    """Room to work in, each (width,)."""

    net: FloatArray
    """Gain less the price of the edge, by the cell in which the edge starts; ``charged``: less multipliers, too."""
    charged: FloatArray
    value: FloatArray
    """By the cell in which the device stage ends."""


@allocating
def service_scratch(width: int) -> ServiceScratch:
    """Room for ``width`` cells."""
    return ServiceScratch(np.empty(width), np.empty(width), np.empty(width))


@inlined
def service_of(offer: Offer, terms: Terms, ready: int) -> Service:
    """Where the stages of an option may lie whose device stage ends in cell ``ready`` at the earliest."""
    way = offer.send + terms.rtt_half
    latest_start, latest_edge = latest_starts(offer, terms)
    return Service(ready, min(latest_start, latest_edge - offer.send - terms.rtt_half), latest_edge, way, offer.edge)


@inlined
def net_gains(offer: Offer, terms: Terms, service: Service, edge_price: FloatArray, net: FloatArray) -> None:
    """Fill ``net`` with gain above dropping less price, by the cell in which the edge starts, from the first on."""
    first, latest_edge = service.ready + service.way, service.latest_edge
    if timeless(terms):
        gain = offer.worth - terms.gain_terms.late_gain
        for i in range(latest_edge - first + 1):
            net[i] = gain - edge_price[first + i]
        return
    for cell in range(first, latest_edge + 1):
        gain = gain_above_drop(offer, cell + service.edge + terms.rtt_half, terms)
        net[cell - first] = gain - edge_price[cell]


@inlined
def _not_pruned(
    service: Service, send_price: FloatArray, net: FloatArray, later: FloatArray, now: FloatArray, shift: int
) -> Any:
    """Bound pruning: the first and last end of the device stage that were better than now without multipliers.

    In cells from ``ready`` on. If there is none, the last is less than the first.
    """
    ready, latest_start, latest_edge, way, _ = service
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
def service_values(
    offer: Offer,
    terms: Terms,
    service: Service,
    send_price: FloatArray,
    edge_price: FloatArray,
    multiplier_paid: FloatArray,
    block_cells: int,
    later: FloatArray,
    now: FloatArray,
    shift: int,
    scratch: ServiceScratch,
) -> Any:
    """Fill ``value`` by the cell, from ``ready`` on, in which the device stage ends, where it may be better than now.

    Returns the first of these cells and one past the last.
    """
    net, charged, value = scratch
    ready, latest_start, latest_edge, way, edge = service
    net_gains(offer, terms, service, edge_price, net)
    kept, last = _not_pruned(service, send_price, net, later, now, shift)
    if last < kept:
        return 0, 0
    cells, length = latest_start - ready + 1, latest_edge - ready - way + 1
    earlier = -np.inf  # value of the first cell of a block, counted as ready in the block before
    for block in range(max((ready + kept - 1) // block_cells, 0), (ready + last) // block_cells + 1):
        begin, beyond = max(block * block_cells - ready, 0), (block + 1) * block_cells - ready
        end = min(beyond, cells)
        mine, offset = multiplier_paid[block], ready + way - block * block_cells
        for i in range(begin, length):
            charged[i] = net[i]
        if edge > 1:
            till, since = mine[offset + begin + edge :], mine[offset + begin + 1 :]
            for i in range(length - begin):
                charged[begin + i] -= till[i] - since[i]
        served = best = after = -np.inf
        for i in range(length - 1, cells - 1, -1):
            served = charged[i] if charged[i] > served else served
        for i in range(cells - 1, end - 1, -1):
            served = charged[i] if charged[i] > served else served
            paid_for = served - send_price[ready + i]
            best = paid_for if paid_for > best else best
        if end == beyond:
            after = best
        for i in range(end - 1, begin - 1, -1):
            served = charged[i] if charged[i] > served else served
            paid_for = served - send_price[ready + i]
            best = paid_for if paid_for > best else best
            value[i] = best
        if begin < end:
            value[begin] = max(value[begin], earlier)
        earlier = after
    return kept, last + 1


@compiled
def best_service(
    service: Service, send_price: FloatArray, multiplier_paid: FloatArray, block_cells: int, net: FloatArray
) -> Any:
    """Best cells to start transfer and edge for a task ready in cell ``ready``, and the block it counts for.

    ``net`` counts from ``ready + way``.
    """
    ready, latest_start, latest_edge, way, edge = service
    most, at_start, at_edge, in_block = -np.inf, ready, ready + way, ready // block_cells
    for block in range(ready // block_cells, ready // block_cells - 2, -1):
        if block < ready // block_cells and (ready % block_cells > 0 or block < 0):
            break
        mine, begin = multiplier_paid[block], block * block_cells
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
