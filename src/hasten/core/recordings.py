"""Recorded link rates: the formats in which public traces come, each read with its own times and unit.

Mahimahi packet opportunities, tables with a time and a rate column (5G walks, Starlink), lines of seconds and Mbit/s
(Lumos5G), iperf's ``value,unit`` lines (NYU-METS), JSON (Ghent and Norway logs, OpenNetLab, Pantheon runs), MECPerf
measurements. What could be read in two ways is refused. Recorded arrivals: ``recorded_arrivals``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hasten.core.archives import Recording, find_recording, read_recording
from hasten.core.errors import InputError
from hasten.core.files import parse_json
from hasten.core.stamps import EPOCH_S, Times, is_time, read_times, words
from hasten.core.tables import Table, Text, numbers

FloatArray = NDArray[np.float64]
RateFormat = Literal["auto", "mahimahi", "csv", "json", "mecperf", "iperf"]
Steps = tuple[FloatArray, FloatArray]
"""Durations (S,) in ms and rates (S,) in Mbit/s."""

MAHIMAHI_PACKET_BITS = 1500 * 8
MAHIMAHI_BIN_MS = 100
MAX_PAUSE_MS = 25_000.0
"""Pauses between measurements on a wall clock (hours, in some recordings) count as this, or twice the usual gap."""
IPERF_INTERVAL_MS = 1000.0
MAX_MBPS = 1e6
MAX_UNNAMED_MBPS = 1e4
"""A ``throughput`` beyond this is in another unit, which its column would have to name."""
RATE_NAMES = ("", "rate", "throughput", "bandwidth", "capacity", "uplink", "upload", "ul")
"""Names, without their unit, of columns that hold rates; the first that a table has is taken."""

_RATE_UNIT = re.compile(r"(?:^|_)([kmg]?)(?:bps|bit_?p?s|(?:b|bits?)_(?:per_)?s(?:ec|econds?)?)$")
_BYTES = re.compile(r"[kKMG]?B(?:ps|/s|ytes)")
_MBPS = {"": 1e-6, "k": 1e-3, "m": 1.0, "g": 1e3}
_IPERF = re.compile(r"([0-9.]+),\s*([KMG]?)bits/sec")


def read_rates(name: str, form: RateFormat, beside: Path | None) -> Steps:
    """Read a recorded rate as steps: durations (S,) in ms and rates (S,) in Mbit/s, of which one is positive.

    A file that has changed since is read again.

    Raises:
        InputError: absent, damaged, of no known format, or ambiguous.
    """
    return rate_steps(find_recording(name, beside), form)


@lru_cache(maxsize=8)
def rate_steps(recording: Recording, form: RateFormat) -> Steps:
    """The steps of a recording in the state that its file has now; see :func:`read_rates`."""
    name = recording.name
    text = Text(name, read_recording(recording))
    duration_ms, mbps = _READERS[_detect(text) if form == "auto" else form](text)
    if np.any(mbps < 0) or np.any(mbps > MAX_MBPS) or np.any(duration_ms < 0):
        bad = mbps[(mbps < 0) | (mbps > MAX_MBPS)]
        value, what = (bad[0], "rate") if len(bad) else (duration_ms.min(), "duration")
        raise InputError(name, what, float(value), f"rates of 0 to {MAX_MBPS:g} Mbit/s and durations of at least 0")
    lasting = duration_ms > 0
    if not np.any(mbps[lasting] > 0):
        raise InputError(name, "rate", "all zero", "at least one interval with a positive rate")
    return _read_only(duration_ms[lasting]), _read_only(mbps[lasting])


def _read_only(values: FloatArray) -> FloatArray:
    values = np.ascontiguousarray(values)
    values.flags.writeable = False  # all that ask for a recording share it
    return values


def _detect(text: Text) -> RateFormat:
    """Tell the format from the first line; an unknown one is refused, not guessed at."""
    first = text.first_line()
    if first[0] in "[{":
        return "json"
    if first.isdecimal():
        return "mahimahi"
    if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?_", first):
        return "mecperf"
    if _IPERF.fullmatch(first):
        return "iperf"
    if re.search(r"[,;\t]", first) or len(first.split()) == 2:
        return "csv"
    raise InputError(text.name, "format", first, f"one of {', '.join(get_args(RateFormat)[1:])}")


def _read_mahimahi(text: Text) -> Steps:
    """One line per 1500-byte packet that may cross, at the end of that millisecond; the last one ends the period.

    Packets are counted in bins of 100 ms, of which the last is as long as the period leaves it.
    """
    times = array("q")
    last = 0
    for line in text.lines():
        stamp = line.strip()
        if not (stamp.isdecimal() and stamp.isascii()) or len(stamp) > 18 or int(stamp) >= EPOCH_S[0]:
            raise InputError(text.name, "packet", stamp, "a time in whole ms since the start of the recording")
        if int(stamp) < last:
            raise InputError(text.name, "packet", int(stamp), f"times in ascending order (the one before is {last})")
        last = int(stamp)
        times.append(last)
    if last == 0:
        raise InputError(text.name, "packet", 0, "a last packet later than 0 ms: it ends the period")
    packets = np.bincount(np.maximum(np.frombuffer(times, dtype=np.int64) - 1, 0) // MAHIMAHI_BIN_MS)
    duration_ms = np.full(len(packets), float(MAHIMAHI_BIN_MS))
    duration_ms[-1] = last - MAHIMAHI_BIN_MS * (len(packets) - 1)
    return duration_ms, packets * MAHIMAHI_PACKET_BITS / duration_ms / 1000.0


def _read_csv(text: Text) -> Steps:
    """A time and a rate column by name, or two bare columns: seconds and Mbit/s.

    Rows without a rate are passed over; with a column ``direction`` only rows of the uplink count.
    """
    if not re.search(r"[,;\t]", text.first_line()) or re.match(r"[-+.\d]", text.first_line()):
        return _read_pairs(text)
    table = text.table()
    time, rate, scale = _columns(table)
    names = table.columns
    direction = next((i for i, name in enumerate(names) if name.lower() == "direction"), None)

    def column(chosen: int) -> Iterator[str]:  # each reading of the table keeps one column only
        for _, row in text.table().rows:
            upward = direction is None or row[direction].strip().lower() == "uplink"
            if upward and row[rate].strip():
                yield row[chosen]

    mbps = numbers(text.name, f"column {names[rate]}", column(rate)) * scale
    if not len(mbps):
        raise InputError(text.name, "rows", "none", "rows with a rate; where there is a direction, 'uplink'")
    if unnamed_unit(names[rate]) and mbps.max() > MAX_UNNAMED_MBPS:
        expected = f"Mbit/s, or a name with the unit, such as {names[rate]}_kbps"
        raise InputError(text.name, f"column {names[rate]}", float(mbps.max()), expected)
    return _held(text.name, read_times(text.name, names[time], column(time)), mbps)


def _read_pairs(text: Text) -> Steps:
    """Lines of two numbers: seconds and Mbit/s."""
    seconds, mbps = array("d"), array("d")
    for line in text.lines():
        cells = line.split()
        if len(cells) != 2:
            raise InputError(text.name, "line", line, "two numbers, seconds and Mbit/s, or a first line with names")
        pair = numbers(text.name, "line", cells)
        seconds.append(pair[0])
        mbps.append(pair[1])
    since_first_ms = (np.frombuffer(seconds) - seconds[0]) * 1000.0
    return _held(text.name, Times(since_first_ms, False, seconds[0] * 1000.0), np.frombuffer(mbps))


def _columns(table: Table) -> tuple[int, int, float]:
    """Where times and rates stand, and what a rate is multiplied by to be in Mbit/s."""
    times = [i for i, name in enumerate(table.columns) if is_time(name)]
    rates = {name: column for column in range(len(table.columns)) if (name := _rate_name(table, column)) is not None}
    names = ", ".join(table.columns)
    if len(times) != 1:
        expected = f"one column of times, such as time_s, time_ms or timestamp, among {names}"
        raise InputError(table.name, "columns", f"{len(times)} of them", expected)
    chosen = next((rates[name] for name in RATE_NAMES if name in rates), None)
    if chosen is None:
        raise InputError(table.name, "columns", "no rate", f"a column such as mbps or uplink_kbps among {names}")
    if unnamed_unit(table.columns[chosen]):
        return times[0], chosen, 1.0
    unit = _RATE_UNIT.search("_".join(words(table.columns[chosen])))
    return times[0], chosen, _MBPS[unit.group(1)] if unit else 1.0


def unnamed_unit(column: str) -> bool:
    """``throughput``: in two public sets (5G walks, Starlink) it is in Mbit/s, though its name does not say so."""
    return column.lower() == "throughput"


def _rate_name(table: Table, column: int) -> str | None:
    """The name of a column of rates without its unit, else None."""
    name = table.columns[column]
    if unnamed_unit(name):
        return "throughput"
    unit = _RATE_UNIT.search("_".join(words(name)))
    if unit is None:
        return None
    base = "_".join(words(name))[: unit.start()]
    if base in RATE_NAMES and _BYTES.search(name):
        raise InputError(table.name, "columns", name, "a rate in bits, such as mbps (B means bytes)")
    return base if base in RATE_NAMES else None


def _read_json(text: Text) -> Steps:
    """Ghent and Norway lists, OpenNetLab trace patterns, or Pantheon runs with parallel arrays."""
    data = parse_json(text.whole(), text.name)
    try:
        if isinstance(data, dict) and "timestamps" in data:
            times, rates = _finite(text.name, data["timestamps"]), _finite(text.name, data["bandwidths"])
            if len(times) != len(rates) or not len(times):
                raise InputError(text.name, "json", f"{len(times)} times and {len(rates)} rates", "as many of each")
            return _held(text.name, Times((times - times[0]) * 1000.0, False, float(times[0])), rates)
        if isinstance(data, dict):
            steps = [(step["duration"], step["capacity"]) for step in data["uplink"]["trace_pattern"]]
        else:
            steps = [(step["duration_ms"], step["bandwidth_kbps"]) for step in data]
    except (KeyError, TypeError) as error:
        expected = "a list of {duration_ms, bandwidth_kbps}, uplink.trace_pattern, or timestamps and bandwidths"
        raise InputError(text.name, "json", str(error), expected) from None
    table = _finite(text.name, [value for step in steps for value in step]).reshape(-1, 2)
    return table[:, 0], table[:, 1] / 1000.0


def _finite(name: str, values: Any) -> FloatArray:
    if not isinstance(values, list):
        raise InputError(name, "json", values, "a list of numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(name, "json", value, "a number")
    return np.array(values, dtype=np.float64)


def _read_mecperf(text: Text) -> Steps:
    """Comma-separated ``date time_value`` pairs, values in Mbit/s."""
    if "RTT" in text.name:
        raise InputError(text.name, "file", "round trips in ms", "a recording of bandwidth")
    stamps, values = [], []
    for item in text.whole().strip().strip(",").split(","):
        stamp, separator, value = item.strip().rpartition("_")
        if not separator:
            raise InputError(text.name, "measurement", item, "YYYY-mm-dd HH:MM:SS.ffffff_value")
        stamps.append(stamp)
        values.append(value)
    return _held(text.name, read_times(text.name, "time", stamps), numbers(text.name, "rate", values))


def _read_iperf(text: Text) -> Steps:
    """``value,unit`` lines, one for each second; the unit is each line's own."""

    def rates() -> Iterator[float]:
        for line in text.lines():
            match = _IPERF.fullmatch(line.strip())
            if match is None:
                raise InputError(text.name, "line", line, "VALUE,UNIT with bits/sec, Kbits/sec, Mbits/sec or Gbits/sec")
            yield float(numbers(text.name, "line", [match[1]])[0]) * _MBPS[match[2].lower()]

    mbps = np.fromiter(rates(), dtype=np.float64)
    return np.full(len(mbps), IPERF_INTERVAL_MS), mbps


_READERS = {
    "mahimahi": _read_mahimahi,
    "csv": _read_csv,
    "json": _read_json,
    "mecperf": _read_mecperf,
    "iperf": _read_iperf,
}


def _held(name: str, times: Times, mbps: FloatArray) -> Steps:
    """Each measurement holds until the next one, the last as long as the median of the others.

    On a wall clock long pauses are shortened, measurements at one and the same time count as their mean, and a step
    back by more than a pause begins another run of a file of several. Otherwise a step back is an error.
    """
    at_ms = times.since_first_ms
    if times.wall_clock:
        starts = np.flatnonzero(np.append(True, np.diff(at_ms) != 0))
        mbps = np.add.reduceat(mbps, starts) / np.diff(np.append(starts, len(at_ms)))
        at_ms = at_ms[starts]
    gap_ms = np.diff(at_ms)
    usual_ms = float(np.median(gap_ms[gap_ms > 0])) if np.any(gap_ms > 0) else 0.0
    if usual_ms == 0.0:
        raise InputError(name, "times", f"{len(at_ms)} at one time", "two times or more, to know how long each lasts")
    pause_ms = max(MAX_PAUSE_MS, 2.0 * usual_ms) if times.wall_clock else np.inf
    back = gap_ms < 0
    if np.any(gap_ms[back] > -pause_ms):
        row = int(np.flatnonzero(back & (gap_ms > -pause_ms))[0])
        value = f"{gap_ms[row] / 1000.0:g} s from measurement {row + 1} to the next"
        raise InputError(name, "times", value, "times that do not go back")
    gap_ms = np.where(back, usual_ms, np.minimum(gap_ms, pause_ms))
    return np.append(gap_ms, usual_ms), mbps
