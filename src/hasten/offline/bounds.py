"""Upper bounds for any number of streams: the uplink and the edge are shared by price instead of by queue.

Time is cut into cells. Every arrival and every duration is rounded down to whole cells, every latest finish as well,
so each real schedule has a counterpart on the grid that starts each stage in the cell where it really started:
``floor(s) + floor(d) <= floor(s + d)``. On the grid the capacity of each link and of the edge is dualised: using a
link in cell t costs ``link_price[t]``, a worker ``edge_price[t]``. What remains are independent streams whose device
serves in order; each is solved exactly by a one-dimensional dynamic program over the device's backlog, in which a
transfer may start in any cell after its device stage and the edge in any cell after the transfer. By weak duality

    sum of the streams' values + sum of all prices times capacities  >=  gain of every schedule,

for prices >= 0, whatever the topology and the order of service: no order is assumed (Fisher, "The Lagrangian
relaxation method for solving integer programming problems", Management Science 1981; time-indexed relaxations of
machine scheduling: Dyer and Wolsey, Discrete Applied Mathematics 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hasten.core.gain import task_gain, useful_until_ms
from hasten.core.options import OptionTable
from hasten.core.rates import RateTrace
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import ON_TIME_TOLERANCE_MS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DURATION_SLACK_CELLS = 1e-10
"""A duration this little short of whole cells counts as whole: it is a sum of decimals in another order."""
LIMIT_SLACK_CELLS = 1e-4
"""Added to each latest finish, to outweigh the slack of all durations in any chain of up to a million stages."""
NO_OPTION = -1


@dataclass(frozen=True)
class Grid:
    """A realization on the grid. Tasks are ordered by stream, then by arrival; Q counts them. J options per stream."""

    cell_ms: float
    origin_cell: int
    """Cells are counted from here; nothing happens before."""
    cells: int
    """T: cells until the last moment anything useful can happen."""
    order: IntArray
    """(Q,): index of each task in the realization."""
    first: IntArray
    """(M + 1,): where each stream's tasks begin."""
    arrival: IntArray
    """(Q,): cell of arrival."""
    limit: IntArray
    """(Q,): cell of the latest useful finish."""
    arrival_ms: FloatArray
    """(Q,): after the origin."""
    deadline_ms: FloatArray
    """(M,)"""
    device: IntArray
    """(M, J): cells of device time; likewise ``send`` (on a link of constant rate) and ``edge``."""
    send: IntArray
    edge: IntArray
    bits: FloatArray
    worth: FloatArray
    usable: NDArray[np.bool_]
    """(M, J): options that could be useful in an empty system."""
    column: IntArray
    """(M, J): index of each option in the scenario's table."""
    gain_terms: tuple[float, float, float]
    rtt_half: int
    link: IntArray
    """(M,): the link of each stream."""
    links: int
    workers: int
    sent_bits: FloatArray
    """(links, T + 1): bits a link can have sent by the start of each cell; (links, 0) where every rate is constant."""

    @property
    def base_gain(self) -> float:
        """Gain of dropping every task; all values are counted from here."""
        return self.gain_terms[1] * len(self.arrival)

    @property
    def width(self) -> int:
        """Number of device backlogs, in cells, that the dynamic program tells apart."""
        return int((self.limit - self.arrival).max(initial=0)) + 1


def make_grid(scenario: Scenario, realization: Realization, cell_ms: float) -> Grid:
    """Put a realization on a grid of ``cell_ms``; the finer, the tighter the bound."""
    table, column = scenario.options.undominated()
    order = np.argsort(realization.stream, kind="stable")
    stream = realization.stream[order]
    arrival_ms = realization.arrival_ms[order]
    useful_ms = useful_until_ms(scenario.deadlines_ms, scenario.gain.terms()[2])
    limit_ms = arrival_ms + useful_ms[stream] + ON_TIME_TOLERANCE_MS
    arrival = np.floor(arrival_ms / cell_ms).astype(np.int64)
    origin = int(arrival.min()) if len(arrival) else 0
    limit = np.floor(limit_ms / cell_ms + LIMIT_SLACK_CELLS).astype(np.int64) - origin
    cells = int(limit.max(initial=0)) + 1
    steady = all(len(rate.from_ms) == 1 for rate in realization.rates)
    streams = len(useful_ms)
    link = np.zeros(streams, np.int64) if len(realization.rates) == 1 else np.arange(streams)
    return Grid(
        cell_ms=cell_ms,
        origin_cell=origin,
        cells=cells,
        order=order,
        first=np.searchsorted(stream, np.arange(streams + 1)),
        arrival=arrival - origin,
        limit=limit,
        arrival_ms=arrival_ms - origin * cell_ms,
        deadline_ms=scenario.deadlines_ms,
        device=_whole_cells(table.device_ms, cell_ms),
        send=_send_cells(table, realization.rates, link, cell_ms),
        edge=_whole_cells(table.edge_ms, cell_ms),
        bits=table.payload_bits,
        worth=table.worth,
        usable=_usable(table, realization.rates, link, useful_ms, scenario),
        column=column,
        gain_terms=scenario.gain.terms(),
        rtt_half=int(np.floor(0.5 * scenario.uplink.rtt_ms / cell_ms + DURATION_SLACK_CELLS)),
        link=link,
        links=len(realization.rates),
        workers=scenario.edge.workers,
        sent_bits=np.zeros((len(realization.rates), 0))
        if steady
        else _sent_bits(realization.rates, origin, cells, cell_ms),
    )


def _whole_cells(duration_ms: FloatArray, cell_ms: float) -> IntArray:
    """Durations rounded down to cells; padding (infinite) becomes more than any window."""
    finite = np.minimum(duration_ms, 1e12 * cell_ms)
    return np.floor(finite / cell_ms + DURATION_SLACK_CELLS).astype(np.int64)


def _send_cells(table: OptionTable, rates: tuple[RateTrace, ...], link: IntArray, cell_ms: float) -> IntArray:
    """(M, J): cells a payload takes at each link's highest rate, which is its only one where the rate is constant."""
    fastest = np.array([rate.bits_per_ms.max() for rate in rates])[link]
    with np.errstate(divide="ignore", invalid="ignore"):
        send_ms = np.where(table.payload_bits > 0, table.payload_bits / fastest[:, None], 0.0)
    return _whole_cells(send_ms, cell_ms)


def _usable(
    table: OptionTable, rates: tuple[RateTrace, ...], link: IntArray, useful_ms: FloatArray, scenario: Scenario
) -> NDArray[np.bool_]:
    """(M, J): options whose latency in an empty system, at the link's highest rate, is useful and beats dropping."""
    fastest = np.array([rate.bits_per_ms.max() for rate in rates])[link]
    with np.errstate(divide="ignore", invalid="ignore"):
        send_ms = np.where(table.payload_bits > 0, table.payload_bits / fastest[:, None], 0.0)
    way_ms = np.where(table.payload_bits > 0, scenario.uplink.rtt_ms, 0.0)
    latency_ms = table.device_ms + send_ms + table.edge_ms + way_ms
    real = np.arange(table.exit.shape[1]) < table.count[:, None]
    usable: NDArray[np.bool_] = real & (latency_ms <= useful_ms[:, None] + 2 * ON_TIME_TOLERANCE_MS)
    return usable & (table.worth > scenario.gain.terms()[1])


def _sent_bits(rates: tuple[RateTrace, ...], origin: int, cells: int, cell_ms: float) -> FloatArray:
    """(links, cells + 1): the integral of each link's rate up to the start of each cell."""
    times_ms = cell_ms * (origin + np.arange(cells + 1))
    sent = np.empty((len(rates), cells + 1))
    for i, rate in enumerate(rates):
        offset_ms, cycle_bits = times_ms, 0.0
        if np.isfinite(rate.period_ms):
            cycles, offset_ms = np.divmod(times_ms, rate.period_ms)
            last_ms = rate.period_ms - rate.from_ms[-1]
            cycle_bits = cycles * (rate.sent_bits[-1] + rate.bits_per_ms[-1] * last_ms)
        step = np.searchsorted(rate.from_ms, offset_ms, side="right") - 1
        sent[i] = cycle_bits + rate.sent_bits[step] + rate.bits_per_ms[step] * (offset_ms - rate.from_ms[step])
    return np.maximum.accumulate(sent, axis=1)


@dataclass
class DualValue:
    """The relaxation at given prices."""

    bound: float
    """No schedule's total gain exceeds this (sum over tasks, not a mean)."""
    link_use: FloatArray
    """(links, T): how much of each cell the streams' own optima use."""
    edge_use: FloatArray
    """(T,)"""
    option: IntArray
    """(Q,): column of the grid's options each task takes, or NO_OPTION."""


class Relaxation:
    """Evaluates the bound at prices; owns the scratch memory."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._choice = np.empty((len(grid.order), grid.width), dtype=np.int8)

    def evaluate(self, link_price: FloatArray, edge_price: FloatArray, values: FloatArray | None = None) -> DualValue:
        """The bound at ``link_price`` (links, T) and ``edge_price`` (T,), both >= 0 and per cell.

        ``values`` (Q, width), if given, receives what each stream can still gain from each task on, by the backlog
        of its device in cells at that task's arrival.
        """
        grid = self.grid
        link_paid = np.zeros((grid.links, grid.cells + 1))
        np.cumsum(link_price, axis=1, out=link_paid[:, 1:])
        edge_paid = np.concatenate([[0.0], np.cumsum(edge_price)])
        option = np.full(len(grid.order), NO_OPTION, dtype=np.int64)
        link_use = np.zeros((grid.links, grid.cells + 1))
        edge_use = np.zeros(grid.cells + 1)
        if values is None:
            values = np.empty((0, 0))
        worth = _streams(
            grid.first, grid.arrival, grid.limit, grid.arrival_ms, grid.deadline_ms, grid.device, grid.send, grid.edge,
            grid.bits, grid.worth, grid.usable, grid.gain_terms, grid.rtt_half, grid.link, grid.sent_bits, grid.cell_ms,
            link_paid, edge_paid, self._choice, values, option, link_use, edge_use,
        )  # fmt: skip
        revenue = float(link_paid[:, -1].sum() + grid.workers * edge_paid[-1])
        bound = grid.base_gain + worth + revenue
        return DualValue(
            bound=bound + 1e-12 * len(grid.order) * (1.0 + abs(bound)),
            link_use=np.cumsum(link_use, axis=1)[:, :-1],
            edge_use=np.cumsum(edge_use)[:-1],
            option=option,
        )


@njit(cache=True)
def _send_end(start: int, send: int, bits: float, sent_bits: FloatArray) -> Any:
    """Cell before which a transfer started at cell ``start`` surely still runs."""
    if sent_bits.shape[0] == 0:
        return start + send
    target = sent_bits[start] + bits
    return np.searchsorted(sent_bits, target * (1.0 - 1e-14), side="left") - 1


@njit(cache=True)
def _gain_above_drop(
    worth: float, finish: int, arrival_ms: float, deadline_ms: float, cell_ms: float, terms: tuple[float, float, float]
) -> Any:
    """Gain of finishing in cell ``finish`` (no later than the limit) over that of dropping."""
    if terms[0] == 0.0 and terms[2] == 0.0:
        return worth - terms[1]
    latency_ms = (finish - LIMIT_SLACK_CELLS) * cell_ms - arrival_ms
    latency_ms = min(max(latency_ms, 0.0), useful_until_ms(deadline_ms, terms[2]))
    return task_gain(worth, latency_ms, deadline_ms, terms[0], terms[1], terms[2]) - terms[1]


@njit(cache=True)
def _option_values(
    arrival: int, limit: int, arrival_ms: float, deadline_ms: float, device: int, send: int, edge: int, bits: float,
    worth: float, terms: tuple[float, float, float], rtt_half: int, sent_bits: FloatArray, cell_ms: float,
    link_paid: FloatArray, edge_paid: FloatArray, value: FloatArray, best_start: IntArray, sent: IntArray,
    edge_value: FloatArray, best_edge: IntArray,
) -> Any:  # fmt: skip
    """Best value of one sending option by the cell its device stage ends in; returns how many cells can be on time.

    ``value[i]`` belongs to a device stage that ends in cell ``arrival + device + i``: gain less the price of the best
    transfer and the best edge service after it. ``best_start[i]`` and ``sent[.]``, ``best_edge[.]`` say which.
    """
    ready = arrival + device
    latest_edge = limit - edge - rtt_half
    starts = 0
    end = _send_end(ready, send, bits, sent_bits) if ready <= limit else limit
    earliest_edge = end + rtt_half
    while end + rtt_half <= latest_edge:
        sent[starts] = end
        starts += 1
        if sent_bits.shape[0] == 0:
            end += 1
        else:
            target = (sent_bits[ready + starts] + bits) * (1.0 - 1e-14)
            while end + 1 < sent_bits.shape[0] and sent_bits[end + 1] < target:
                end += 1
    if starts == 0:
        return 0
    best = -np.inf
    best_cell = latest_edge
    for cell in range(latest_edge, earliest_edge - 1, -1):
        gain = _gain_above_drop(worth, cell + edge + rtt_half, arrival_ms, deadline_ms, cell_ms, terms)
        net = gain - (edge_paid[cell + edge] - edge_paid[cell])
        if net >= best:
            best = net
            best_cell = cell
        edge_value[cell - earliest_edge] = best
        best_edge[cell - earliest_edge] = best_cell
    best = -np.inf
    best_i = starts - 1
    for i in range(starts - 1, -1, -1):
        price = link_paid[sent[i]] - link_paid[ready + i]
        net = edge_value[sent[i] + rtt_half - earliest_edge] - price
        if net >= best:
            best = net
            best_i = i
        value[i] = best
        best_start[i] = best_i
    return starts


@njit(cache=True)
def _streams(
    first: IntArray, arrival: IntArray, limit: IntArray, arrival_ms: FloatArray, deadline_ms: FloatArray,
    device: IntArray, send: IntArray, edge: IntArray, bits: FloatArray, worth: FloatArray, usable: NDArray[np.bool_],
    terms: tuple[float, float, float], rtt_half: int, link: IntArray, sent_bits: FloatArray, cell_ms: float,
    link_paid: FloatArray, edge_paid: FloatArray, choice: NDArray[np.int8], values: FloatArray, option: IntArray,
    link_use: FloatArray, edge_use: FloatArray,
) -> Any:  # fmt: skip
    """Solve each stream at the prices, add its use of links and edge (as differences), return the sum of values."""
    width = choice.shape[1]
    now = np.zeros(width)
    later = np.zeros(width)
    value = np.empty(width)
    edge_value = np.empty(width)
    best_start = np.empty(width, np.int64)
    best_edge = np.empty(width, np.int64)
    sent = np.empty(width, np.int64)
    total = 0.0
    for m in range(len(first) - 1):
        if first[m] == first[m + 1]:
            continue
        paid = link_paid[link[m]]
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
                if not usable[m, j]:
                    continue
                x = device[m, j]
                if bits[m, j] > 0:
                    reach = _option_values(
                        a, limit[q], arrival_ms[q], deadline_ms[m], x, send[m, j], edge[m, j], bits[m, j], worth[m, j],
                        terms, rtt_half, sent_bits[link[m]], cell_ms, paid, edge_paid,
                        value, best_start, sent, edge_value, best_edge,
                    )  # fmt: skip
                else:
                    reach = window - x + 1
                    for i in range(reach):
                        value[i] = _gain_above_drop(
                            worth[m, j], a + x + i, arrival_ms[q], deadline_ms[m], cell_ms, terms
                        )
                for i in range(min(max(gap - x, 0), reach)):
                    net = value[i] + later[0]
                    if net > now[i]:
                        now[i] = net
                        mine[i] = j
                for i in range(max(gap - x, 0), reach):
                    net = value[i] + later[i + x - gap]
                    if net > now[i]:
                        now[i] = net
                        mine[i] = j
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
            if bits[m, j] > 0:
                _option_values(
                    a, limit[q], arrival_ms[q], deadline_ms[m], device[m, j], send[m, j], edge[m, j], bits[m, j],
                    worth[m, j], terms, rtt_half, sent_bits[link[m]], cell_ms, paid, edge_paid,
                    value, best_start, sent, edge_value, best_edge,
                )  # fmt: skip
                start = best_start[backlog]
                at_edge = best_edge[sent[start] - sent[0]]
                link_use[link[m], a + device[m, j] + start] += 1.0
                link_use[link[m], sent[start]] -= 1.0
                edge_use[at_edge] += 1.0
                edge_use[at_edge + edge[m, j]] -= 1.0
            backlog += device[m, j]
    return total
