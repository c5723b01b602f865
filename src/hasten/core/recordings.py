"""Recorded link rates and arrivals: the formats in which public traces come.

Rates: Mahimahi packet opportunities, tables with a time and a rate column (5G walks, Starlink, Lumos5G), JSON lists
(Ghent and Norway logs, OpenNetLab, Pantheon runs), MECPerf measurements. Arrivals: request time stamps (Azure),
requests per second (Twitter), objects per video frame (MOT15). ``archive.zip/member.txt`` names a file in an archive.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import tarfile
import zipfile
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.files import locate

FloatArray = NDArray[np.float64]
RateFormat = Literal["auto", "mahimahi", "csv", "json", "mecperf"]

MAHIMAHI_PACKET_BITS = 1500 * 8
MAHIMAHI_BIN_MS = 100
MAX_GAP_MS = 25_000.0
"""Pauses between measurements (minutes to hours in some recordings) count as no more than this."""
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
TIME_COLUMNS = {"time_ms": 1.0, "t_ms": 1.0, "time_s": 1e3, "seconds": 1e3, "timestamp": None, "time": None}
RATE_COLUMNS = {
    "mbps": 1.0,
    "rate_mbps": 1.0,
    "throughput": 1.0,
    "throughput_mbps": 1.0,
    "uplink_mbps": 1.0,
    "kbps": 1e-3,
}
TIME_ZONE_NAME = re.compile(r" [A-Z]{3,4}$")
VIDEO_FRAMES_HZ = 30.0
"""MOT15 lists boxes by frame number; most of its videos run at 30 frames per second."""


def read_bytes(name: str, beside: Path | None) -> bytes:
    """Contents of a recording, unpacked; ``name`` may go into a zip archive. Bounded, so a bomb is refused."""
    archive, separator, member = name.partition(".zip/")
    if separator:
        path = locate(archive + ".zip", beside)
        try:
            with zipfile.ZipFile(path) as opened:
                info = opened.getinfo(member)
                if info.file_size > MAX_UNPACKED_BYTES:
                    raise InputError(name, "size", info.file_size, f"at most {MAX_UNPACKED_BYTES} bytes")
                return opened.read(info)
        except (zipfile.BadZipFile, KeyError) as error:
            raise InputError(name, "member", member, f"a file in a readable zip archive ({error})") from None
    path = locate(name, beside)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                data = stream.read(MAX_UNPACKED_BYTES + 1)
        elif path.suffix in (".tbz2", ".tgz") or path.name.endswith((".tar.bz2", ".tar.gz")):
            with tarfile.open(path) as tar:
                entry = next((item for item in tar if item.isfile()), None)
                inner = tar.extractfile(entry) if entry else None
                data = inner.read(MAX_UNPACKED_BYTES + 1) if inner else b""
        else:
            with path.open("rb") as plain:
                data = plain.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(name, "file", path.name, f"a readable recording ({error})") from None
    if len(data) > MAX_UNPACKED_BYTES:
        raise InputError(name, "size", f"over {MAX_UNPACKED_BYTES}", f"at most {MAX_UNPACKED_BYTES} bytes unpacked")
    return data


def read_lines(name: str, beside: Path | None) -> list[str]:
    """Non-empty lines of a recording; an empty file is an error that says so."""
    try:
        lines = [line for line in read_bytes(name, beside).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError(name, "file", name, "a text recording in UTF-8") from None
    if not lines:
        raise InputError(name, "file", "an empty file", "a recording with at least one line")
    return lines


@lru_cache(maxsize=8)
def read_rates(name: str, form: RateFormat, beside: Path | None) -> tuple[FloatArray, FloatArray]:
    """Read a recorded rate as steps: durations (S,) in ms and rates (S,) in Mbit/s, of which one is positive."""
    lines = read_lines(name, beside)
    duration_ms, mbps = _READERS[_detect(name, lines) if form == "auto" else form](name, lines)
    usable = np.isfinite(duration_ms) & (duration_ms > 0)
    duration_ms, mbps = duration_ms[usable], mbps[usable]
    if len(mbps) == 0 or not np.all(np.isfinite(mbps)) or np.any(mbps < 0):
        bad = mbps[~(np.isfinite(mbps) & (mbps >= 0))]
        raise InputError(name, "rate", float(bad[0]) if len(bad) else "no intervals", "finite rates of at least 0")
    if not np.any(mbps > 0):
        raise InputError(name, "rate", "all zero", "at least one interval with a positive rate")
    return duration_ms, mbps


def _detect(name: str, lines: list[str]) -> RateFormat:
    """Guess a format from the first line; an unknown one is refused, not guessed at."""
    first = lines[0].strip()
    if first[0] in "[{":
        return "json"
    if first.isdigit():
        return "mahimahi"
    if len(lines) <= 2 and "_" in first and first[:4].isdigit():
        return "mecperf"
    if "," in first or len(first.split()) == 2:
        return "csv"
    raise InputError(name, "format", first[:40], f"one of {', '.join(get_args(RateFormat)[1:])}")


def _read_mahimahi(name: str, lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """One line per 1500-byte packet that may cross, at that millisecond (mahimahi's README); binned."""
    times = _numbers(name, lines)
    bins = np.bincount((np.maximum(times - 1, 0) // MAHIMAHI_BIN_MS).astype(np.int64))
    duration = np.full(len(bins), float(MAHIMAHI_BIN_MS))
    return duration, bins * MAHIMAHI_PACKET_BITS / MAHIMAHI_BIN_MS / 1000.0


def _read_csv(name: str, lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """A time and a rate column by header name, or two bare columns: seconds and Mbit/s."""
    if "," not in lines[0]:
        table = np.array([_pair(name, line) for line in lines])
        return _gaps(table[:, 0] * 1000.0), table[:, 1]
    rows = list(csv.DictReader(lines))
    columns = {column.strip().lower(): column for column in rows[0]} if rows else {}
    time = next((columns[c] for c in TIME_COLUMNS if c in columns), None)
    rate = next((columns[c] for c in RATE_COLUMNS if c in columns), None)
    if time is None or rate is None:
        wanted = f"a time column ({', '.join(TIME_COLUMNS)}) and a rate column ({', '.join(RATE_COLUMNS)})"
        raise InputError(name, "columns", ", ".join(columns)[:60], wanted)
    if "direction" in columns:
        rows = [row for row in rows if row[columns["direction"]].strip().lower() == "uplink"]
    rows = [row for row in rows if (row[rate] or "").strip()]
    scale = TIME_COLUMNS[time.strip().lower()]
    times = np.array([_time_ms(name, row[time], scale) for row in rows])
    mbps = _numbers(name, [row[rate] for row in rows]) * RATE_COLUMNS[rate.strip().lower()]
    return _gaps(times), mbps


def _read_json(name: str, lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """Ghent and Norway lists, OpenNetLab trace patterns, or Pantheon runs with parallel arrays."""
    try:
        data: Any = json.loads("\n".join(lines))
        if isinstance(data, dict) and "timestamps" in data:
            return _gaps(np.array(data["timestamps"], float) * 1000.0), np.array(data["bandwidths"], float)
        if isinstance(data, dict):
            steps = [(step["duration"], step["capacity"]) for step in data["uplink"]["trace_pattern"]]
        else:
            steps = [(step["duration_ms"], step["bandwidth_kbps"]) for step in data]
        table = np.array(steps, dtype=np.float64).reshape(-1, 2)
    except (ValueError, KeyError, TypeError) as error:
        expected = "a list of {duration_ms, bandwidth_kbps}, uplink.trace_pattern, or timestamps and bandwidths"
        raise InputError(name, "json", str(error)[:60], expected) from None
    return table[:, 0], table[:, 1] / 1000.0


def _read_mecperf(name: str, lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """Comma-separated ``date time_value`` pairs, values in Mbit/s."""
    times, values = [], []
    for item in ",".join(lines).split(","):
        stamp, separator, value = item.strip().rpartition("_")
        if not separator:
            raise InputError(name, "measurement", item[:40], "YYYY-mm-dd HH:MM:SS.ffffff_value")
        times.append(_time_ms(name, stamp, None))
        values.append(value)
    return _gaps(np.array(times)), _numbers(name, values)


_READERS = {"mahimahi": _read_mahimahi, "csv": _read_csv, "json": _read_json, "mecperf": _read_mecperf}


def _gaps(times_ms: FloatArray) -> FloatArray:
    """How long each measurement holds: until the next one, long pauses shortened, the last as long as the median."""
    if len(times_ms) < 2:
        return np.full(len(times_ms), 1000.0)
    gaps = np.minimum(np.diff(times_ms), MAX_GAP_MS)
    return np.append(gaps, np.median(gaps[gaps > 0]) if np.any(gaps > 0) else 1000.0)


def _numbers(name: str, texts: list[str]) -> FloatArray:
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError as error:
        raise InputError(name, "number", str(error)[-40:], "numbers only") from None
    if not np.all(np.isfinite(values)):
        raise InputError(name, "number", "nan or infinite", "finite numbers only")
    return values


def _pair(name: str, line: str) -> tuple[float, float]:
    try:
        seconds, mbps = line.split()
        return float(seconds), float(mbps)
    except ValueError:
        raise InputError(name, "line", line[:40], "two numbers: seconds and Mbit/s") from None


def _time_ms(name: str, text: str, scale: float | None) -> float:
    """A number in known units, or a date and time (fractions beyond microseconds are cut)."""
    try:
        if scale is not None:
            return float(text) * scale
        stamp, _, fraction = TIME_ZONE_NAME.sub("", text.strip()).partition(".")
        return datetime.fromisoformat(stamp).timestamp() * 1000.0 + float(f"0.{fraction or 0}") * 1000.0
    except ValueError:
        raise InputError(name, "time", text[:40], "a number or YYYY-mm-dd HH:MM:SS") from None


@lru_cache(maxsize=8)
def read_arrivals(name: str, column: str | None, beside: Path | None) -> tuple[FloatArray, float] | FloatArray:
    """Read recorded arrivals: sorted times (N,) in ms from 0 and the trace's length, or counts per second (S,).

    Recognised: a table with a time-stamp column (``column``, or the first), one number per line (milliseconds), MOT
    detections (one task per box and frame), one line of space-separated counts per second.
    """
    lines = read_lines(name, beside)
    first = lines[0].strip()
    if len(lines) <= 2 and len(first.split()) > 2 and "," not in first:
        counts = _numbers(name, " ".join(lines).split())
        if np.any(counts < 0):
            raise InputError(name, "requests per second", float(counts.min()), "counts of at least 0")
        return counts
    if "," not in first:
        times = _numbers(name, lines)
        if np.any(times < 0):
            raise InputError(name, "time", float(times.min()), "times of at least 0 ms")
        return _with_length(np.sort(times))
    if first.count(",") >= 6 and first.split(",")[0].isdigit():
        frames = _numbers(name, [line.split(",")[0] for line in lines])
        times = frames * (1000.0 / VIDEO_FRAMES_HZ)
    else:
        rows = list(csv.DictReader(lines))
        header = list(rows[0]) if rows else []
        chosen = column or (header[0] if header else "")
        if chosen not in header:
            raise InputError(name, "column", chosen, f"one of {', '.join(header)}")
        scale = TIME_COLUMNS.get(chosen.strip().lower())
        if scale is None and rows[0][chosen].replace(".", "", 1).isdigit():
            scale = 1000.0 if chosen.strip().lower().endswith("timestamp") else 1.0
        times = np.array([_time_ms(name, row[chosen], scale) for row in rows])
    times = np.sort(times)
    times -= times[0]
    return _with_length(times)


def _with_length(times_ms: FloatArray) -> tuple[FloatArray, float]:
    """Sorted times and the recording's length: one mean gap beyond the last arrival."""
    mean_gaps = len(times_ms) / max(len(times_ms) - 1, 1)
    return times_ms, max(float(times_ms[-1]) * mean_gaps, 1.0)
