"""A realization on a grid of cells, for bounds: every time rounded so that no real schedule is lost.

Each stage of a real schedule is put into the cell in which it really started. Whole durations are rounded down, as
``floor(s) + floor(d) <= floor(s + d)``; where one rounding can serve for several stages, from the arrival or up to the
latest finish, the unrounded sums are kept for that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.gain import GainTerms, useful_until_ms
from hasten.core.options import OptionTable
from hasten.core.rates import RateTrace
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import ON_TIME_TOLERANCE_MS
from hasten.offline.cases import cases_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DURATION_SLACK_CELLS = 1e-10
"""A duration this little short of whole cells counts as whole: it is a sum of decimals in another order."""
LIMIT_SLACK_CELLS = 1e-4
"""Added to each latest finish, to outweigh the slack of all durations in any chain of up to a million stages."""


class Grid(NamedTuple):
    """A realization on the grid, as kernels read it.

    Tasks are ordered by stream, then by arrival; Q counts them. J options for each of K cases (``offline.cases``).
    """

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
    arrival_at: FloatArray
    """(Q,): arrival in cells, unrounded; likewise ``limit_at``."""
    limit_at: FloatArray
    arrival_ms: FloatArray
    """(Q,): after the origin."""
    case: IntArray
    """(Q,): row of the options."""
    deadline_ms: FloatArray
    """(M,)"""
    device: IntArray
    """(K, J): whole cells of device time; likewise ``send`` (on a link of constant rate) and ``edge``."""
    send: IntArray
    edge: IntArray
    send_part: FloatArray
    """(K, J): what ``send`` left out, in cells; likewise ``edge_part`` and ``device_part``."""
    edge_part: FloatArray
    device_part: FloatArray
    bits: FloatArray
    worth: FloatArray
    usable: NDArray[np.bool_]
    """(K, J): options that could be useful in an empty system."""
    excess_at: FloatArray
    """(K, J): how much before its limit a task must be answered, in cells, unrounded."""
    column: IntArray
    """(K, J): index of each option in the scenario's table."""
    gain_terms: GainTerms
    rtt_half: int
    rtt_half_part: float
    link: IntArray
    """(M,): the link of each stream."""
    links: int
    workers: int
    sent_bits: FloatArray
    """(links, T + 1): bits a link can have sent by the start of each cell; (links, 0) where every rate is constant."""

    @property
    def base_gain(self) -> float:
        """Gain of dropping every task; all values are counted from here."""
        return self.gain_terms.late_gain * len(self.arrival)

    @property
    def width(self) -> int:
        """Number of device backlogs, in cells, that the dynamic program tells apart."""
        return int((self.limit - self.arrival).max(initial=0)) + 1


def make_grid(
    scenario: Scenario, realization: Realization, cell_ms: float, aligned: int = 1, dominated: bool = False
) -> Grid:
    """Put a realization on a grid of ``cell_ms``; the finer, the tighter the bound.

    The first cell's number is a multiple of ``aligned``: there cells of so many times the length begin as well.
    ``dominated`` keeps options that another one beats in everything, for a bound in which taking longer may pay.
    """
    cases = cases_of(scenario, realization)
    column = np.tile(np.arange(cases.table.exit.shape[1]), (cases.table.streams, 1))
    if not dominated:
        cases, column = cases.undominated()
    table = cases.table
    order = np.argsort(realization.stream, kind="stable")
    stream = realization.stream[order]
    arrival_ms = realization.arrival_ms[order]
    useful_ms = useful_until_ms(scenario.deadlines_ms, scenario.gain.terms().fade)
    limit_ms = arrival_ms + useful_ms[stream] + ON_TIME_TOLERANCE_MS
    arrival = np.floor(arrival_ms / cell_ms).astype(np.int64)
    origin = int(arrival.min()) // aligned * aligned if len(arrival) else 0
    limit = np.floor(limit_ms / cell_ms + LIMIT_SLACK_CELLS).astype(np.int64) - origin
    cells = int(limit.max(initial=0)) + 1
    steady = all(len(rate.from_ms) == 1 for rate in realization.rates)
    streams = len(useful_ms)
    link = np.zeros(streams, np.int64) if len(realization.rates) == 1 else np.arange(streams)
    send_ms = _least_send_ms(table, realization.rates, link[cases.stream])
    return Grid(
        cell_ms=cell_ms,
        origin_cell=origin,
        cells=cells,
        order=order,
        first=np.searchsorted(stream, np.arange(streams + 1)),
        arrival=arrival - origin,
        limit=limit,
        arrival_at=arrival_ms / cell_ms - origin,
        limit_at=limit_ms / cell_ms + LIMIT_SLACK_CELLS - origin,
        arrival_ms=arrival_ms - origin * cell_ms,
        case=cases.case[order],
        deadline_ms=scenario.deadlines_ms,
        device=_whole_cells(table.device_ms, cell_ms),
        send=_whole_cells(send_ms, cell_ms),
        edge=_whole_cells(table.edge_ms, cell_ms),
        send_part=_part_cells(send_ms, cell_ms),
        edge_part=_part_cells(table.edge_ms, cell_ms),
        device_part=_part_cells(table.device_ms, cell_ms),
        bits=table.payload_bits,
        worth=table.worth,
        usable=_usable(table, send_ms, useful_ms[cases.stream, None] - cases.excess_ms, scenario),
        excess_at=cases.excess_ms / cell_ms,
        column=column,
        gain_terms=scenario.gain.terms(),
        rtt_half=int(_whole_cells(np.array(0.5 * scenario.uplink.rtt_ms), cell_ms)),
        rtt_half_part=float(_part_cells(np.array(0.5 * scenario.uplink.rtt_ms), cell_ms)),
        link=link,
        links=len(realization.rates),
        workers=scenario.edge.workers,
        sent_bits=np.zeros((len(realization.rates), 0))
        if steady
        else sent_bits_of(realization.rates, origin, cells, cell_ms),
    )


def _whole_cells(duration_ms: FloatArray, cell_ms: float) -> IntArray:
    """Durations rounded down to cells; padding (infinite) becomes more than any window."""
    finite = np.minimum(duration_ms, 1e12 * cell_ms)
    return np.floor(finite / cell_ms + DURATION_SLACK_CELLS).astype(np.int64)


def _part_cells(duration_ms: FloatArray, cell_ms: float) -> FloatArray:
    """What :func:`_whole_cells` leaves out, in cells."""
    finite = np.minimum(duration_ms, 1e12 * cell_ms) / cell_ms
    return np.clip(finite - np.floor(finite + DURATION_SLACK_CELLS), 0.0, 1.0)


def _least_send_ms(table: OptionTable, rates: tuple[RateTrace, ...], link: IntArray) -> FloatArray:
    """(K, J): time each payload takes at the highest rate of its ``link`` (K,), which may be the only one."""
    fastest = np.array([rate.bits_per_ms.max() for rate in rates])[link]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(table.payload_bits > 0, table.payload_bits / fastest[:, None], 0.0)


def _usable(table: OptionTable, send_ms: FloatArray, useful_ms: FloatArray, scenario: Scenario) -> NDArray[np.bool_]:
    """(K, J): options whose latency in an empty system, at the link's highest rate, is useful and beats dropping."""
    way_ms = np.where(table.payload_bits > 0, scenario.uplink.rtt_ms, 0.0)
    latency_ms = table.device_ms + send_ms + table.edge_ms + way_ms
    real = np.arange(table.exit.shape[1]) < table.count[:, None]
    usable: NDArray[np.bool_] = real & (latency_ms <= useful_ms + 2 * ON_TIME_TOLERANCE_MS)
    return usable & (table.worth > scenario.gain.terms().late_gain)


def sent_bits_of(rates: tuple[RateTrace, ...], origin: int, cells: int, cell_ms: float) -> FloatArray:
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
