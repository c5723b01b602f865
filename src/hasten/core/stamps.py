"""Times in recorded tables: numbers in a known unit, epochs, and dates with a time of day; nothing is guessed.

A column's name says the unit (``arrival_time_s``, ``time_ms``, ``t [us]``). Numbers in a column without a unit are
taken only where all of them are seconds, milliseconds, microseconds or nanoseconds since 1970, which their size
tells: any such time between 1986 and 2100 is in one of four ranges that do not overlap. Dates are ISO 8601; without a
zone they are UTC, whatever the zone of the machine.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError

FloatArray = NDArray[np.float64]

EPOCH_S = (5e8, 4.2e9)
"""Seconds since 1970: November 1985 to February 2103."""
EPOCH_UNITS_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
UNITS_MS = {
    "s": 1e3, "sec": 1e3, "secs": 1e3, "second": 1e3, "seconds": 1e3,
    "ms": 1.0, "msec": 1.0, "msecs": 1.0, "millis": 1.0, "millisecond": 1.0, "milliseconds": 1.0,
    "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "usec": 1e-3, "micros": 1e-3, "microsecond": 1e-3, "microseconds": 1e-3,
    "ns": 1e-6, "nsec": 1e-6, "nanos": 1e-6, "nanosecond": 1e-6, "nanoseconds": 1e-6,
}  # fmt: skip
TIME_NAMES = {"time", "timestamp", "t", "ts", "datetime", "date_time", "arrival", "arrival_time", "arrival_timestamp"}
"""Names, without their unit, of columns that hold times."""

_STAMP = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"(?: ?([+-]\d\d(?::?\d\d)?|(?!AM|PM)[A-Z]{1,5}))?"
)
_NAMED_ZONES = {"Z": 0, "UT": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
                "PST": -8, "PDT": -7}  # fmt: skip
"""RFC 822, in hours. Only used where a column has several: a zone that all share does not matter."""
NANOSECONDS_PER_S = 10**9


@dataclass(frozen=True)
class Times:
    """Times of a recording, in ms since the first of them."""

    since_first_ms: FloatArray
    """(N,)"""
    wall_clock: bool
    """Whether they were dates or epochs, rather than times since some start."""
    first_ms: float
    """The first time since that start; 0 on a wall clock."""


def words(column: str) -> list[str]:
    """``arrivalTime [ms]`` as ``arrival``, ``time``, ``ms``."""
    return re.findall(r"[^\W_]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", column).lower())


def unit_ms(column: str) -> float | None:
    """How many ms one unit of this column is, where its name says so."""
    parts = words(column)
    if not parts or (len(parts) == 1 and len(parts[0]) < 4):  # a column "s" or "ms" may be anything
        return None
    return UNITS_MS.get(parts[-1])


def is_time(column: str) -> bool:
    """Whether a column of this name holds times."""
    parts = words(column)
    if unit_ms(column) is not None:
        parts = parts[:-1]
    return "_".join(parts) in TIME_NAMES or (not parts and unit_ms(column) is not None)


def read_times(where: str, column: str, cells: Iterable[str]) -> Times:
    """Read a column of times; ``column`` is its name.

    Raises:
        InputError: a cell is no time, the unit is not known, or zones cannot be told apart.
    """
    cells = iter(cells)
    first = next(cells, None)
    if first is None:
        raise InputError(where, column, "no times", "at least one time")
    every = chain([first], cells)
    if _STAMP.fullmatch(first.strip()):
        return Times(_calendar(where, column, every), True, 0.0)
    scale = unit_ms(column)
    value = _number(where, column, first)
    if scale is None:
        scale = _epoch_unit_ms(where, column, value)
        return Times(_numeric(where, column, every, scale, value, EPOCH_S[0]), True, 0.0)
    return Times(_numeric(where, column, every, scale, value, 0.0), False, float(value) * scale)


def is_epoch(value: float) -> bool:
    """Whether a number is a time since 1970 in one of the four units."""
    return any(EPOCH_S[0] <= value * scale / 1e3 <= EPOCH_S[1] for scale in EPOCH_UNITS_MS.values())


def _epoch_unit_ms(where: str, column: str, value: float) -> float:
    for scale in EPOCH_UNITS_MS.values():
        if EPOCH_S[0] <= value * scale / 1e3 <= EPOCH_S[1]:
            return scale
    expected = f"a name with the unit, such as {column}_s or {column}_ms (these numbers are no time since 1970)"
    raise InputError(where, f"column {column}", value, expected)


def _number(where: str, column: str, text: str) -> float | int:
    text = text.strip()
    if text.isdecimal() and text.isascii() and len(text) < 25:
        return int(text)  # exact, also for nanoseconds
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        expected = "a number, or a date and time as in 2024-05-31 09:30:00.25+02:00"
        raise InputError(where, f"column {column}", text, expected) from None


def _numeric(where: str, column: str, cells: Iterable[str], scale: float, first: float, lowest_s: float) -> FloatArray:
    """Differences to the first of them, in ms."""
    lowest, highest = lowest_s * 1e3 / scale, EPOCH_S[1] * 1e3 / scale
    found = array("d")
    for cell in cells:
        value = _number(where, column, cell)
        if not lowest <= value <= highest:
            expected = f"a time from {lowest:g} to {highest:g} (as the column's unit has it)"
            raise InputError(where, f"column {column}", value, expected)
        found.append(value - first)
    return np.frombuffer(found, dtype=np.float64) * scale


def _calendar(where: str, column: str, cells: Iterable[str]) -> FloatArray:
    """Differences to the first date, in ms; exact to the nanosecond."""
    local, zone_of = array("q"), array("q")
    zones: dict[str, int] = {}
    begin = None
    for stamp, zone in _stamps(where, column, cells):
        begin = stamp if begin is None else begin
        if abs(stamp - begin) > 9 * 10**18:
            raise InputError(where, f"column {column}", "times centuries apart", "times of one recording")
        local.append(stamp - begin)
        zone_of.append(zones.setdefault(zone, len(zones)))
    offset_ns = np.zeros(len(zones), dtype=np.int64)
    if len(zones) > 1:
        offset_ns[:] = [_offset_s(where, column, zone) * NANOSECONDS_PER_S for zone in zones]
    utc_ns = np.frombuffer(local, dtype=np.int64) - offset_ns[np.frombuffer(zone_of, dtype=np.int64)]
    since_first: FloatArray = (utc_ns - utc_ns[0]) / 1e6
    return since_first


def _stamps(where: str, column: str, cells: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(nanoseconds on the local clock, zone as written or empty) of each cell."""
    for cell in cells:
        match = _STAMP.fullmatch(cell.strip())
        try:
            if match is None:
                raise ValueError
            year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
            days = date(year, month, day).toordinal()
            if hour > 23 or minute > 59 or second > 59:
                raise ValueError
        except ValueError:
            expected = "a date and time as in 2024-05-31 09:30:00.25+02:00"
            raise InputError(where, f"column {column}", cell, expected) from None
        fraction = (match[7] or "")[:9].ljust(9, "0")
        seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
        yield seconds * NANOSECONDS_PER_S + int(fraction), match[8] or ""


def _offset_s(where: str, column: str, zone: str) -> int:
    """What a zone is ahead of UTC, where a column has several."""
    if zone in _NAMED_ZONES:
        return _NAMED_ZONES[zone] * 3600
    if zone[:1] in ("+", "-"):
        digits = zone[1:].replace(":", "")
        seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
        return -seconds if zone[0] == "-" else seconds
    what = f"the zone {zone!r}" if zone else "times without a zone"
    raise InputError(where, f"column {column}", f"{what} beside others", "one zone, or zones as in +02:00")
