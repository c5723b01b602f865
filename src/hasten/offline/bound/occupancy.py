"""What it costs to hold a resource for a while: occupancies of constant length, priced by the cell they start in.

A price of each cell is given as the price of all time before each cell, ``paid``, so that a stretch of time costs the
difference of two numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Occupancies(NamedTuple):
    """The K different durations for which options of all streams hold a resource."""

    whole: IntArray
    """(K,): whole cells; likewise what they leave out."""
    part: FloatArray
    kind: IntArray
    """(K, J): which duration an option of each case has."""


@inlined
def _prices(paid: FloatArray, start: int, whole: int, part: float) -> Any:
    """Price of ``whole + part`` cells of time from the start of cell ``start``, to the end of a cell, from its end.

    The price of an occupancy that starts anywhere in the cell is piecewise linear in the start, so one of these is the
    least.
    """
    a, b = paid[start], paid[start + 1]
    c, d, e = paid[start + whole], paid[start + whole + 1], paid[start + whole + 2]
    return c + part * (d - c) - a, d - b + part * (b - a), d + part * (e - d) - b


@inlined
def cheapest(paid: FloatArray, start: int, whole: int, part: float) -> Any:
    """Least price of ``whole + part`` cells of time that start anywhere in cell ``start``."""
    early, between, late = _prices(paid, start, whole, part)
    least = early if early < between else between
    return least if least < late else late


@compiled
def price_occupancies(paid: FloatArray, occupancies: Occupancies, price: FloatArray) -> None:
    """Fill ``price`` (K, T) with the least price of each duration by the cell it starts in."""
    for kind in range(len(occupancies.whole)):
        whole, part = occupancies.whole[kind], occupancies.part[kind]
        cells = min(max(len(paid) - whole - 2, 0), price.shape[1])
        for start in range(cells):
            price[kind, start] = cheapest(paid, start, whole, part)
        for start in range(cells, price.shape[1]):
            price[kind, start] = np.inf


@inlined
def book(use: FloatArray, paid: FloatArray, start: int, whole: int, part: float) -> None:
    """Add the time that :func:`cheapest` charges for to ``use``, as differences from cell to cell."""
    early, between, late = _prices(paid, start, whole, part)
    first, missing, last, beyond = start, 0.0, start + whole, part
    if between < early and between <= late:
        missing, last, beyond = 1.0 - part, last + 1, 0.0
    elif late < early:
        first, last = first + 1, last + 1
    use[first] += 1.0 - missing
    use[first + 1] += missing
    use[last] -= 1.0 - beyond
    use[last + 1] -= beyond
