"""Recorded arrivals: request time stamps (Azure), requests per second (Twitter), objects per video frame (MOT15)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.archives import Recording, find_recording, read_recording
from hasten.core.errors import InputError
from hasten.core.stamps import is_epoch, is_time, read_times
from hasten.core.tables import Text, numbers

FloatArray = NDArray[np.float64]
Stamps = tuple[FloatArray, float]
"""Sorted times (N,) in ms, and the recording's length."""

MAX_PER_SECOND = 1_000_000
MOT15_FRAMES_HZ = {
    "ADL-Rundle-6": 30.0, "ADL-Rundle-8": 30.0, "ETH-Bahnhof": 14.0, "ETH-Pedcross2": 14.0, "ETH-Sunnyday": 14.0,
    "KITTI-13": 10.0, "KITTI-17": 10.0, "PETS09-S2L1": 7.0, "TUD-Campus": 25.0, "TUD-Stadtmitte": 25.0,
    "Venice-2": 30.0,
}  # fmt: skip
"""Leal-Taixé et al., "MOTChallenge 2015: Towards a benchmark for multi-target tracking"; boxes bear frame numbers."""

_FIRST_IS_DATA = re.compile(r"[-+.]?\d")
_MOT_CELLS = range(7, 11)


def read_arrivals(name: str, column: str | None, frames_hz: float | None, beside: Path | None) -> Stamps | FloatArray:
    """Read recorded arrivals: sorted times (N,) in ms and the trace's length, or counts per second (S,).

    Recognised: a table with a column of times (``column``, or the only one whose name says so), one time per line (in
    ms, since 1970, or a date), MOT detections (one task per box and frame, ``frames_hz`` frames per second), one line
    of space-separated counts per second. A file that has changed since is read again.

    Raises:
        InputError: absent, damaged, of no known format, or ambiguous.
    """
    return _arrivals(find_recording(name, beside), column, frames_hz)


@lru_cache(maxsize=8)
def _arrivals(recording: Recording, column: str | None, frames_hz: float | None) -> Stamps | FloatArray:
    text = Text(recording.name, read_recording(recording))
    first = text.first_line()
    if column is None and _FIRST_IS_DATA.match(first):
        if len(first.split()) > 2 and "," not in first:
            return _counts(text)
        if "," in first:
            return _frames(text, frames_hz)
        return _lines(text)
    return _table(text, column)


def _counts(text: Text) -> FloatArray:
    """Whole numbers of requests, one for each second, all on one line."""
    line = text.whole().strip()
    if "\n" in line:
        raise InputError(text.name, "lines", "more than one", "all counts per second on one line")
    counts = numbers(text.name, "requests per second", line.split())
    wrong = counts[(counts < 0) | (counts > MAX_PER_SECOND) | (counts != np.floor(counts))]
    if len(wrong):
        raise InputError(text.name, "requests per second", float(wrong[0]), f"whole numbers from 0 to {MAX_PER_SECOND}")
    if not counts.any():
        raise InputError(text.name, "requests per second", "all zero", "at least one request")
    return counts


def _lines(text: Text) -> Stamps:
    """One time per line: ms since the start, or since 1970 in any unit, or dates."""
    first = text.first_line()
    try:
        relative = not is_epoch(float(first))
    except ValueError:
        relative = False
    times = read_times(text.name, "time_ms" if relative else "time", text.lines())
    begin_ms = times.first_ms
    return _with_length(text.name, times.since_first_ms, begin_ms)


def _frames(text: Text, frames_hz: float | None) -> Stamps:
    """MOT rows: frame, identity, box (4), score, and up to three more numbers; rows need not be in order."""
    frames = []
    for line in text.lines():
        cells = line.strip().split(",")
        if len(cells) not in _MOT_CELLS or not cells[0].isdecimal():
            raise InputError(text.name, "line", line, "a first line with the names of columns, or MOT detections")
        numbers(text.name, "line", cells)
        frames.append(int(cells[0]))
    known = next((hz for video, hz in MOT15_FRAMES_HZ.items() if video in text.name), None)
    per_second = frames_hz if frames_hz is not None else known
    if per_second is None:
        expected = "the key frames_hz in the scenario, because these rows bear frame numbers of an unknown video"
        raise InputError(text.name, "frames_hz", None, expected)
    ordered = np.sort(np.array(frames, dtype=np.float64))
    return _with_length(text.name, (ordered - ordered[0]) * (1000.0 / per_second), 0.0)


def _table(text: Text, column: str | None) -> Stamps:
    table = text.table()
    names = ", ".join(table.columns)
    if column is None:
        times = [i for i, name in enumerate(table.columns) if is_time(name)]
        if len(times) != 1:
            expected = f"the key column in the scenario, to choose the column of times among {names}"
            raise InputError(text.name, "column", f"{len(times)} columns with a time's name", expected)
        chosen = times[0]
    elif column in table.columns:
        chosen = table.columns.index(column)
    else:
        raise InputError(text.name, "column", column, f"one of {names}")
    found = read_times(text.name, table.columns[chosen], (row[chosen] for _, row in table.rows))
    return _with_length(text.name, found.since_first_ms, 0.0)


def _with_length(name: str, since_first_ms: FloatArray, begin_ms: float) -> Stamps:
    """Times and the recording's length: as many mean gaps as there are arrivals."""
    gap_ms = np.diff(since_first_ms)
    if np.any(gap_ms < 0):
        row = int(np.flatnonzero(gap_ms < 0)[0])
        value = f"{gap_ms[row] / 1000.0:g} s from arrival {row + 1} to the next"
        raise InputError(name, "times", value, "times in ascending order")
    if not len(gap_ms) or since_first_ms[-1] <= 0:
        raise InputError(name, "times", f"{len(since_first_ms)} at one time", "arrivals at two times or more")
    length_ms = float(since_first_ms[-1]) * len(since_first_ms) / len(gap_ms)
    times_ms = since_first_ms + begin_ms
    times_ms.flags.writeable = False  # all that ask for a recording share it
    return times_ms, length_ms
