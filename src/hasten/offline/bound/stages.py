"""An upper bound with several edges: every device, link and edge sells its time by price, and each task buys alone.

Time is cut into cells. A task may take any option and start each of its stages in any cell after the one before; a
stage pays the prices of the time that it takes. By weak duality, as in ``offline.bound.bounds``,

    sum of what each task can gain at best, less what it pays + sum of all prices times capacities >= gain of any plan,

for prices >= 0, whatever the topology and the order. Devices are priced like links, instead of being followed task by
task; so the bound is weaker than that for one edge, and tasks are independent of each other.

Stages are put into the cells in which they really start. Device and edge pay the least that their time, unrounded,
may cost from anywhere in that cell. A transfer pays whole cells, from its start up to the one in which it would end if
it had begun with its cell: those of transfers over one link do not overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.gain import GainTerms, task_gain, useful_until_ms
from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import ON_TIME_TOLERANCE_MS
from hasten.offline.bound.grid import DURATION_SLACK_CELLS, LIMIT_SLACK_CELLS, sent_bits_of
from hasten.offline.bound.occupancy import cheapest
from hasten.offline.time_limit import TimeLimit, paced

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NOT_YET = -2
FIRST_TASKS = 64
"""In the first stretch of compiled code."""
ROUNDING = 1.0 - 1e-14
"""Bits sent up to a transfer's end count this much less, so that no rounding makes it end too late."""
PAST_END = 3
"""Cells behind the last one, of price 0."""


class Market(NamedTuple):
    """Tasks, options and resources on the grid. The R resources are M devices, then all links, then E edges."""

    cell_ms: float
    arrival: IntArray
    """(N,): cell of arrival; likewise the latest useful finish, unrounded and counted in cells."""
    limit_at: FloatArray
    arrival_ms: FloatArray
    """(N,): after the first cell begins."""
    stream: IntArray
    deadline_ms: FloatArray
    """(M,)"""
    device: FloatArray
    """(M, J): in cells; likewise ``work``, at the edge."""
    work: FloatArray
    bits: FloatArray
    worth: FloatArray
    usable: NDArray[np.bool_]
    """(M, J): options that gain more than dropping, and that no other beats in everything."""
    link: IntArray
    """(M, J): resource that carries what an option sends; likewise the ``edge``."""
    edge: IntArray
    half_trip: FloatArray
    """(M, J): half a round trip in cells."""
    gain_terms: GainTerms
    capacity: FloatArray
    """(R,): tasks at a time."""
    sent_bits: FloatArray
    """(links, T + 1): bits that a link can have sent by the start of each cell."""

    @property
    def cells(self) -> int:
        """T: cells until nothing useful can happen any more."""
        return int(self.sent_bits.shape[1]) - 1

    @property
    def base_gain(self) -> float:
        """Gain of dropping every task."""
        return float(self.gain_terms.late_gain * len(self.arrival))


class Bought(NamedTuple):
    """What tasks buy at some prices."""

    worth: FloatArray
    """(N,): what each gains at best above dropping it, less what it pays."""
    option: IntArray
    """(N,): by which option; DROP if by none, NOT_YET if there was no time for it."""
    use: FloatArray
    """(R, T + 3): how much of each resource is bought, as differences from cell to cell."""


def make_market(scenario: Scenario, realization: Realization, cell_ms: float) -> Market:
    """Put a realization on a grid of ``cell_ms``; the finer, the tighter the bound."""
    table, every = scenario.options, scenario.every_edge
    terms = scenario.gain.terms()
    arrival_ms, stream = realization.arrival_ms, realization.stream
    useful_ms = useful_until_ms(scenario.deadlines_ms, terms.fade)
    origin = int(np.floor(arrival_ms.min(initial=np.inf) / cell_ms)) if len(arrival_ms) else 0
    origin_ms = cell_ms * origin
    limit_at = (arrival_ms - origin_ms + useful_ms[stream] + ON_TIME_TOLERANCE_MS) / cell_ms + LIMIT_SLACK_CELLS
    cells = int(np.floor(limit_at.max(initial=0.0))) + 1
    streams, links = len(useful_ms), len(realization.rates)
    rtt_ms = np.array([way.uplink.rtt_ms for way in every])
    real = np.arange(table.exit.shape[1]) < table.count[:, None]
    _, column = table.undominated()
    undominated = (column[:, :, None] == np.arange(table.exit.shape[1])).any(axis=1)
    rows = np.arange(streams)[:, None]
    return Market(
        cell_ms=cell_ms,
        arrival=np.maximum(np.floor((arrival_ms - origin_ms) / cell_ms), 0.0).astype(np.int64),
        limit_at=limit_at,
        arrival_ms=arrival_ms - origin_ms,
        stream=stream,
        deadline_ms=scenario.deadlines_ms,
        device=np.where(real, table.device_ms, 0.0) / cell_ms,
        work=table.edge_ms / cell_ms,
        bits=table.payload_bits,
        worth=table.worth,
        usable=undominated & (table.worth > terms.late_gain),
        link=streams + scenario.links[table.edge, rows],
        edge=streams + links + table.edge,
        half_trip=0.5 * rtt_ms[table.edge] / cell_ms,
        gain_terms=GainTerms(*map(float, terms)),
        capacity=np.concatenate([np.ones(streams + links), [float(way.edge.workers) for way in every]]),
        sent_bits=sent_bits_of(realization.rates, origin, cells, cell_ms),
    )


def bound_at(market: Market, price: FloatArray, limit: TimeLimit | None = None) -> tuple[float, Bought]:
    """The bound on the total gain at a price (R, T) of each cell's time, and what is bought.

    Tasks for which ``limit`` leaves no time count with the most that any option is worth.
    """
    limit = TimeLimit() if limit is None else limit
    paid = np.zeros((len(price), market.cells + PAST_END))
    np.cumsum(price, axis=1, out=paid[:, 1 : market.cells + 1])
    paid[:, market.cells + 1 :] = paid[:, market.cells : market.cells + 1]
    tasks, late_gain = len(market.arrival), market.gain_terms.late_gain
    most = np.max(market.worth - late_gain, axis=1, initial=0.0, where=market.usable)
    bought = Bought(most[market.stream], np.full(tasks, NOT_YET), np.zeros_like(paid))
    end, stretch = 0, FIRST_TASKS
    while end < tasks and (end == 0 or not limit.expired):
        began_s, first, end = limit.spent_s, end, min(end + stretch, tasks)
        buy(market, paid, first, end, bought)
        stretch = paced(end - first, limit.spent_s - began_s, tasks)
    bound = market.base_gain + float(bought.worth.sum()) + float(market.capacity @ paid[:, -1])
    return bound + 1e-12 * tasks * (1.0 + abs(bound)), bought


@inlined
def _whole(duration: float) -> int:
    """Whole cells of a duration."""
    return int(np.floor(duration + DURATION_SLACK_CELLS))


@inlined
def _least_paid(paid: FloatArray, start: int, duration: float) -> float:
    """The least that a duration costs from anywhere in a cell."""
    whole = _whole(duration)
    return float(cheapest(paid, start, whole, min(max(duration - whole, 0.0), 1.0)))


@inlined
def _gain(market: Market, k: int, j: int, finish_at: float) -> float:
    """Gain above dropping of a task answered no earlier than ``finish_at``, in cells."""
    time_weight, late_gain, fade = market.gain_terms
    m = market.stream[k]
    if time_weight == 0.0 and fade == 0.0:
        return float(market.worth[m, j] - late_gain)
    latency_ms = (finish_at - LIMIT_SLACK_CELLS) * market.cell_ms - market.arrival_ms[k]
    latency_ms = min(max(latency_ms, 0.0), useful_until_ms(market.deadline_ms[m], fade))
    gain = task_gain(market.worth[m, j], latency_ms, market.deadline_ms[m], time_weight, late_gain, fade)
    return float(gain - late_gain)


class Chain(NamedTuple):
    """Scratch: what a task's stages are worth by the cell they may start in, counted from that of its arrival."""

    served: FloatArray
    """What being at the edge from then on is worth, and the cell in which to be served."""
    serve_in: IntArray
    sending: FloatArray
    """What being ready to send is worth, and the cell in which to send."""
    send_in: IntArray
    sent_by: IntArray
    """The cell in which a transfer ends that starts in each."""


class Taken(NamedTuple):
    """What an option is worth at best, and the cells, from the arrival on, in which its stages start then."""

    worth: float
    device: int
    send: int
    sent: int
    serve: int


@inlined
def _fill_served(market: Market, paid: FloatArray, k: int, j: int, chain: Chain) -> int:
    """Fill what being at the edge is worth; returns how many cells are early enough."""
    m, first = market.stream[k], market.arrival[k]
    work, half = market.work[m, j], market.half_trip[m, j]
    count = int(np.floor(market.limit_at[k] - work - half)) - first + 1
    best, best_in = -np.inf, 0
    for i in range(count - 1, -1, -1):
        net = _gain(market, k, j, first + i + work + half)
        net -= _least_paid(paid[market.edge[m, j]], first + i, work)
        if net >= best:
            best, best_in = net, i
        chain.served[i], chain.serve_in[i] = best, best_in
    return int(count)


@inlined
def _fill_sending(market: Market, paid: FloatArray, k: int, j: int, count: int, chain: Chain) -> int:
    """Fill what being ready to send is worth, if ``count`` cells are early enough for the edge; returns how many."""
    m, first = market.stream[k], market.arrival[k]
    link, half = market.link[m, j], _whole(market.half_trip[m, j])
    sent_bits = market.sent_bits[link - len(market.deadline_ms)]
    starts, end = 0, first
    while first + starts + 1 < len(sent_bits):
        end = max(end, first + starts)
        target = (sent_bits[first + starts] + market.bits[m, j]) * ROUNDING
        while end + 1 < len(sent_bits) and sent_bits[end + 1] < target:
            end += 1
        if end + 1 == len(sent_bits) or end + half - first >= count:
            break
        chain.sent_by[starts] = end - first
        starts += 1
    best, best_in = -np.inf, 0
    for i in range(starts - 1, -1, -1):
        at = chain.sent_by[i]
        net = chain.served[at + half] - (paid[link, first + at] - paid[link, first + i])
        if net >= best:
            best, best_in = net, i
        chain.sending[i], chain.send_in[i] = best, best_in
    return starts


@compiled
def best_way(market: Market, paid: FloatArray, k: int, j: int, chain: Chain) -> Taken:
    """The best time for each stage of a task's option; of no worth where it cannot be in time."""
    m, first = market.stream[k], market.arrival[k]
    device = market.device[m, j]
    whole, sends = _whole(device), market.bits[m, j] > 0.0
    if sends:
        count = _fill_sending(market, paid, k, j, _fill_served(market, paid, k, j, chain), chain) - whole
    else:
        count = int(np.floor(market.limit_at[k] - device)) - first + 1
    best, best_in = -np.inf, 0
    for i in range(count):
        net = chain.sending[i + whole] if sends else _gain(market, k, j, first + i + device)
        net -= _least_paid(paid[m], first + i, device)
        if net > best:
            best, best_in = net, i
    if not sends or best == -np.inf:
        return Taken(best, best_in, 0, 0, 0)
    send = chain.send_in[best_in + whole]
    sent = chain.sent_by[send]
    return Taken(best, best_in, send, sent, chain.serve_in[sent + _whole(market.half_trip[m, j])])


@inlined
def _book(use: FloatArray, start: int, end: int) -> None:
    """One task holds a resource from a cell up to another."""
    use[start] += 1.0
    use[min(end, len(use) - 1)] -= 1.0


@allocating
def buy(market: Market, paid: FloatArray, begin: int, end: int, bought: Bought) -> None:
    """Let tasks buy what is best for each at the price ``paid`` (R, T + 3) for all time before each cell."""
    window = 1
    for k in range(begin, end):
        window = max(window, int(np.floor(market.limit_at[k])) - market.arrival[k] + 2)
    chain = Chain(
        np.empty(window), np.empty(window, np.int64), np.empty(window), np.empty(window, np.int64),
        np.empty(window, np.int64),
    )  # fmt: skip
    for k in range(begin, end):
        m, first = market.stream[k], market.arrival[k]
        best, bought.option[k] = Taken(0.0, 0, 0, 0, 0), DROP
        for j in range(market.device.shape[1] - 1, -1, -1):  # from the best exit on
            if market.usable[m, j] and market.worth[m, j] - market.gain_terms.late_gain > best.worth:
                taken = best_way(market, paid, k, j, chain)
                if taken.worth > best.worth:
                    best, bought.option[k] = taken, j
        bought.worth[k], j = best.worth, bought.option[k]
        if j == DROP:
            continue
        _book(bought.use[m], first + best.device, first + best.device + int(np.rint(market.device[m, j])))
        if market.bits[m, j] > 0.0:
            _book(bought.use[market.link[m, j]], first + best.send, first + best.sent)
            serve = first + best.serve
            _book(bought.use[market.edge[m, j]], serve, serve + int(np.rint(market.work[m, j])))
