"""Recorded arrivals: every format with its own times, and what is ambiguous refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hasten.core.arrivals import RecordedArrivals
from hasten.core.errors import InputError
from hasten.core.recorded_arrivals import read_arrivals


def arrivals(
    folder: Path, content: str, column: str | None = None, frames_hz: float | None = None, name: str = "a.txt"
):
    (folder / name).write_text(content)
    return read_arrivals(name, column, frames_hz, folder)


@pytest.mark.parametrize(
    "content",
    [
        "0\n250\n1000\n",
        "1700000000000\n1700000000250\n1700000001000\n",
        "1700000000\n1700000000.25\n1700000001\n",
        "1700000000000000\n1700000000250000\n1700000001000000\n",
        "1700000000000000000\n1700000000250000000\n1700000001000000000\n",
        "2023-11-16 18:15:46.5\n2023-11-16 18:15:46.75\n2023-11-16 18:15:47.5\n",
        "TIMESTAMP,Tokens\n2023-11-16 18:15:46.5000000,1\n2023-11-16 18:15:46.7500000,2\n2023-11-16 18:15:47.5000000,3\n",
        "user,arrival_time_s\n9,5\n3,5.25\n7,6\n",
        "user;arrival_ms\n9;5000\n3;5250\n7;6000\n",
        '"user","t [us]"\n9,5000000\n3,5250000\n7,6000000\n',
        "time_s\n5\n5.25\n6\n",
        "timestamp,x\n1700000000000,1\n1700000000250,1\n1700000001000,1\n",
    ],
)  # fmt: skip
def test_times_are_read_in_their_unit(tmp_path: Path, content: str) -> None:
    times_ms, length_ms = arrivals(tmp_path, content)
    assert times_ms.tolist() == pytest.approx([0, 250, 1000], abs=1e-6)
    assert length_ms == pytest.approx(1500)


def test_a_column_is_chosen_by_name(tmp_path: Path) -> None:
    content = "id,sent_ms,received_s\n5,0,1\n6,250,3\n"
    assert arrivals(tmp_path, content, "sent_ms")[0].tolist() == [0, 250]
    assert arrivals(tmp_path, content, "received_s")[0].tolist() == [0, 2000]


def test_nanoseconds_since_1970_are_exact(tmp_path: Path) -> None:
    times_ms, _ = arrivals(tmp_path, "1700000000000000001\n1700000000000000002\n1700000000000001002\n")
    assert times_ms.tolist() == [0.0, 1e-6, 1.001e-3]


def test_the_rate_is_that_of_the_gaps_wherever_the_recording_begins(tmp_path: Path) -> None:
    arrivals(tmp_path, "1000\n2000\n3000\n")
    recorded = RecordedArrivals(kind="trace", file="a.txt")
    assert recorded.mean_rate_hz(tmp_path) == pytest.approx(1.0)
    times = recorded.times(np.random.default_rng(0), 7, np.inf, 0.0, tmp_path)
    assert np.diff(times).tolist() == pytest.approx([1000] * 6)


MOT = "2,-1,1691.97,381.048,152.23,352.617,0.995616,-1,-1,-1\n1,-1,1,2,3,4,0.9,-1,-1,-1\n15,-1,1,2,3,4,0.9,-1,-1,-1\n"


def test_frames_have_the_rate_of_their_video(tmp_path: Path) -> None:
    assert arrivals(tmp_path, MOT, name="ETH-Bahnhof_det.txt")[0].tolist() == pytest.approx([0, 1000 / 14, 1000])
    assert arrivals(tmp_path, MOT, frames_hz=28.0)[0].tolist() == pytest.approx([0, 1000 / 28, 500])
    with pytest.raises(InputError, match="frames_hz"):
        arrivals(tmp_path, MOT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("user,size\n1,2\n2,3\n", "the key column"),
        ("time_s,timestamp_ms\n1,2\n2,3\n", "the key column"),
        ("timestamp,x\n1,2\n2,3\n", "timestamp_s or timestamp_ms"),
        ("0\n250\n100\n", "ascending"),
        ("3\n0\n5\n2\n", "ascending"),
        ("timestamp\n2023-11-05 01:59:59\n2023-11-05 01:00:00\n", "ascending"),
        ("0\nnan\n", "a time from 0"),
        ("0\ninf\n", "a time from 0"),
        ("-5\n0\n", "a time from 0"),
        ("0\n1e400\n", "a time from 0"),
        ("1700000000\n5\n", "as the column's unit has it"),
        ("7\n", "at one time"),
        ("7\n7\n", "at one time"),
        ("3 0 5.5 2\n", "whole numbers"),
        ("3 0 -5 2\n", "whole numbers"),
        ("3 0 nan 2\n", "finite"),
        ("3 0 1e12 2\n", "whole numbers from 0 to 1000000"),
        ("0 0 0 0\n", "at least one request"),
        ("3 0 5\n3 0 5\n", "on one line"),
        ("2023-11-16 18:15:46,5,6\n", "names of columns"),
        ("1,a,b,c,d,e,f\n", "a number"),
        ("", "at least one line"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        arrivals(tmp_path, content)
    assert str(caught.value).isprintable()


def test_a_rewritten_recording_is_read_again(tmp_path: Path) -> None:
    assert arrivals(tmp_path, "0\n10\n")[0].tolist() == [0, 10]
    assert arrivals(tmp_path, "0\n10\n30\n")[0].tolist() == [0, 10, 30]
