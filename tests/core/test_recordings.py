"""Recorded rates: every format against an independent reading, and what is ambiguous refused in one line."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.core.errors import InputError
from hasten.core.rates import RecordedRate
from hasten.core.recorded_arrivals import read_arrivals
from hasten.core.recordings import read_rates
from hasten.core.tables import Text


def rates(
    folder: Path, content: str | bytes, name: str = "t.txt", form: str = "auto"
) -> tuple[list[float], list[float]]:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    duration_ms, mbps = read_rates(name, form, folder)  # type: ignore[arg-type]
    return duration_ms.tolist(), mbps.tolist()


def refusal(folder: Path, content: str | bytes, name: str = "t.txt") -> str:
    with pytest.raises(InputError) as caught:
        rates(folder, content, name)
    text = str(caught.value)
    assert text.isprintable()
    assert name in text
    return text


@pytest.mark.parametrize(
    ("lines", "duration_ms", "mbps"),
    [
        ("1\n", [1], [12]),
        ("2\n", [2], [6]),
        ("5\n10\n", [10], [2.4]),
        ("1\n1\n1\n", [1], [36]),
        ("0\n100\n", [100], [0.24]),
        ("100\n101\n", [100, 1], [0.12, 12]),
        ("250\n", [100, 100, 50], [0, 0, 0.24]),
    ],
)
def test_packet_opportunities_have_their_own_period(
    tmp_path: Path, lines: str, duration_ms: list[float], mbps: list[float]
) -> None:
    found = rates(tmp_path, lines)
    assert found[0] == duration_ms
    assert found[1] == pytest.approx(mbps)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60).map(sorted).filter(lambda stamps: stamps[-1] > 0))
def test_packet_opportunities_keep_every_bit(stamps: list[int]) -> None:
    from hasten.core.recordings import _read_mahimahi

    duration_ms, mbps = _read_mahimahi(Text("t", "\n".join(map(str, stamps)).encode()))
    assert duration_ms.sum() == stamps[-1]
    assert np.dot(duration_ms, mbps) * 1000 == pytest.approx(12_000 * len(stamps))
    ends = np.cumsum(duration_ms)
    sent = np.cumsum(duration_ms * mbps) * 1000
    for end, bits in zip(ends, sent, strict=True):  # at the end of each bin, all that could cross by then
        assert bits == pytest.approx(12_000 * sum(stamp <= end for stamp in stamps))


def test_the_trace_repeats_with_the_period_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("2\n4\n4\n")
    trace = RecordedRate(kind="trace", file="one").realize(np.random.default_rng(0), 0.0, tmp_path)
    assert trace.transfer_end(0.0, 9 * 12_000) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("5\n3\n", "ascending"),
        ("1\n-3\n", "whole ms"),
        ("1\n2.5\n", "whole ms"),
        ("1700000000\n1700000001\n", "since the start"),
        ("1700000000000\n", "since the start"),
        ("0\n0\n", "later than 0"),
        ("1\nnan\n", "whole ms"),
        ("9" * 5000, "whole ms"),
        ("-1\n2\n", "one of mahimahi"),
    ],
)
def test_other_packet_opportunities_are_refused(tmp_path: Path, lines: str, words: str) -> None:
    assert words in refusal(tmp_path, lines)


BODY = "0,1\n1,2\n3,4\n"
EXPECTED = ([1000, 2000, 1500], [1, 2, 4])


@pytest.mark.parametrize(
    "content",
    [
        "time_s,mbps\n" + BODY,
        '"time_s","mbps"\n' + BODY,
        "time_s;mbps\n" + BODY.replace(",", ";"),
        "time_s\tmbps\n" + BODY.replace(",", "\t"),
        "\ufefftime_s,mbps\n" + BODY,
        '\ufeff"time_s","mbps"\r\n' + BODY.replace("\n", "\r\n"),
        "user,time_s,note,mbps\n" + "".join(f'7,{a},"x, y",{b}\n' for a, b in ((0, 1), (1, 2), (3, 4))),
        "seconds,uplink_kbps\n0,1000\n1,2000\n3,4000\n",
        "Time [ms],Rate (bit/s)\n0,1e6\n1000,2e6\n3000,4e6\n",
        "t_us,throughput_Gbps\n0,0.001\n1000000,0.002\n3000000,0.004\n",
        "timestamp_ns,bandwidth_mbps\n1700000000000000000,1\n1700000001000000000,2\n1700000003000000000,4\n",
        "timestamp,mbps\n1700000000,1\n1700000001,2\n1700000003,4\n",
        "timestamp,mbps\n1700000000.0,1\n1700000001.0,2\n1700000003.0,4\n",
        "timestamp,mbps\n1700000000000,1\n1700000001000,2\n1700000003000,4\n",
        "time,mbps\n1700000000000000,1\n1700000001000000,2\n1700000003000000,4\n",
        "time,mbps\n1700000000000000000,1\n1700000001000000000,2\n1700000003000000000,4\n",
        "timestamp,mbps\n2023-11-14T22:13:20Z,1\n2023-11-14T22:13:21Z,2\n2023-11-14T22:13:23Z,4\n",
        "timestamp,mbps\n2023-11-14 22:13:20.25,1\n2023-11-14 22:13:21.25,2\n2023-11-14 22:13:23.250000000,4\n",
        "timestamp,mbps\n2023-11-14 23:13:20+01:00,1\n2023-11-14 22:13:21+00:00,2\n2023-11-14 17:43:23-0430,4\n",
        "timestamp,mbps\n2023-11-05 01:59:59 CDT,1\n2023-11-05 01:00:00 CST,2\n2023-11-05 01:00:02 CST,4\n",
        "time,throughput\n2023-11-14 22:13:20 NZDT,1\n2023-11-14 22:13:21 NZDT,2\n2023-11-14 22:13:23 NZDT,4\n",
        "time_s,mbps\n0,1\n1,2\n2,\n3,4\n",
        "time_s,mbps,\n0,1,\n1,2,\n3,4,\n",
        "time_s,direction,mbps\n0,uplink,1\n0.5,downlink,9\n1,Uplink,2\n3,uplink,4\n",
        "0 1\n1 2\n3 4\n",
        "0\t1\n1\t2\n3\t4\n",
        '{"timestamps": [0, 1, 3], "bandwidths": [1, 2, 4]}',
    ],
)
def test_tables_are_read_alike_however_they_are_written(tmp_path: Path, content: str) -> None:
    duration_ms, mbps = rates(tmp_path, content)
    assert duration_ms == pytest.approx(EXPECTED[0], abs=1e-6)
    assert mbps == pytest.approx(EXPECTED[1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("timestamp,mbps\n0,1\n1,2\n", "timestamp_s or timestamp_ms"),
        ("time,mbps\n12,1\n13,2\n", "time_s or time_ms"),
        ("timestamp,mbps\n1700000000,1\n1700000001000,2\n", "as the column's unit has it"),
        ("time_s,mbps\n1700000000000,1\n1700000001000,2\n", "as the column's unit has it"),
        ("time_s,timestamp_ms,mbps\n0,0,1\n1,1,2\n", "one column of times"),
        ("user,mbps\n0,1\n1,2\n", "one column of times"),
        ("time_s,speed\n0,1\n1,2\n", "mbps or uplink_kbps"),
        ("time_s,rate\n0,1\n1,2\n", "mbps or uplink_kbps"),
        ("time_s,rate_MBps\n0,1\n1,2\n", "in bits"),
        ("time_s,uplink MB/s\n0,1\n1,2\n", "in bits"),
        ("time_s,throughput\n0,2e7\n1,3e7\n", "throughput_kbps"),
        ("time_s,mbps\n0,1\n1,1e9\n", "1e+06 Mbit/s"),
        ("time_s,mbps\n0,1\n1,-2\n", "Mbit/s"),
        ("time_s,mbps\n0,1\n1,nan\n", "finite"),
        ("time_s,mbps\n0,1\n1,inf\n", "finite"),
        ("time_s,mbps\n0,1\nnan,2\n", "a time from 0"),
        ("time_s,mbps\n0,1\ninf,2\n", "a time from 0"),
        ("time_s,mbps\n0,1\n1,1_0\n", "a number"),
        ("time_s,mbps\n0,1\n1_0,1\n", "a number"),
        ("time_s,mbps\n0,1\n2,2\n1,3\n", "do not go back"),
        ("time_s,mbps\n0,1\n3600,2\n1,3\n", "do not go back"),
        ("timestamp,mbps\n1700000000,1\n1700000002,2\n1700000001,3\n", "do not go back"),
        ("time_s,mbps\n0,1\n0,2\n", "at one time"),
        ("time_s,mbps\n0,1\n", "at one time"),
        ("time_s,mbps\n0,1\n1\n", "2 cells"),
        ("time_s,mbps\n0,1\n1,2,3\n", "2 cells"),
        ("time_s,mbps,mbps\n0,1,2\n", "each name once"),
        ('time_s,mbps\n0,"1\n', "line"),
        ("time_s,mbps\n0,1\n1,2\x00\n", "a number"),
        ("time_s,mbps\n", "rows with a rate"),
        ("time_s,direction,mbps\n0,downlink,1\n", "rows with a rate"),
        ("timestamp,mbps\n2023-02-30 01:00:00,1\n", "a date and time"),
        ("timestamp,mbps\n2023-02-03 24:00:00,1\n", "a date and time"),
        ("timestamp,mbps\n2023-02-03 01:00:00 PM,1\n", "a date and time"),
        ("timestamp,mbps\n02/03/2023 01:00:00,1\n", "a date and time"),
        ("timestamp,mbps\n2023-02-03 01:00:00,1\n1700000000,2\n", "a date and time"),
        ("timestamp,mbps\n2023-02-03 01:00:00,1\n2023-02-03 01:00:01Z,2\n", "without a zone"),
        ("timestamp,mbps\n2023-02-03 01:00:00 BST,1\n2023-02-03 01:00:01 IST,2\n", "BST"),
        ("0 1\n1 nan\n", "finite"),
        ("0 1\ninf 2\n", "finite"),
        ("0 1 2\n1 2 3\n", "one of mahimahi"),
        ("0,1\n1,2\n", "a first line with names"),
        ("x" * 200_000 + ",y\n", "columns"),
        ('{"timestamps": [0, 1], "bandwidths": [1]}', "as many of each"),
        ('{"timestamps": [0, 1], "bandwidths": [1, NaN]}', "finite"),
        ('{"timestamps": [0, 1], "bandwidths": [1, true]}', "a number"),
        ('{"timestamps": [0, 1], "bandwidths": "12"}', "a list of numbers"),
        ('[{"duration_ms": 1, "bandwidth_kbps": 1e999}]', "finite"),
        ('[{"duration_ms": -1, "bandwidth_kbps": 1}, {"duration_ms": 2, "bandwidth_kbps": 1}]', "duration"),
        ('[{"duration_ms": "1", "bandwidth_kbps": 1}]', "a number"),
        ('[{"duration_ms": 1}]', "bandwidth_kbps"),
        ("[1, 2]", "trace_pattern"),
        ("[" * 50_000, "inside each other"),
        ("2020-01-01 00:00:00.0_nan,2020-01-01 00:00:01.0_1", "finite"),
        ("2020-01-01 00:00:00.0_1,2020-01-01 00:00:01.0", "ffffff_value"),
        ("1.5,Mbits/sec\n2,MBytes/sec\n", "VALUE,UNIT"),
        (b"\xff\xfe\x00\x01time", "UTF-8"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_wrong_is_refused_in_one_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refusal(tmp_path, content)


def test_units_that_differ_by_line_are_obeyed(tmp_path: Path) -> None:
    found = rates(tmp_path, "1.5,Mbits/sec\n300,Kbits/sec\n0,bits/sec\n5e5,bits/sec\n".replace("5e5", "500000"))
    assert found == ([1000.0] * 4, pytest.approx([1.5, 0.3, 0.0, 0.5]))


def test_pauses_are_shortened_on_a_wall_clock_and_kept_otherwise(tmp_path: Path) -> None:
    at_s = [0, 1, 2, 3602, 3603]
    relative = "time_s,mbps\n" + "".join(f"{t},1\n" for t in at_s)
    wall = "timestamp,mbps\n" + "".join(f"{1_700_000_000 + t},1\n" for t in at_s)
    slow = "timestamp,mbps\n" + "".join(f"{1_700_000_000 + 60 * t},1\n" for t in range(4))
    assert rates(tmp_path, relative)[0] == [1000, 1000, 3_600_000, 1000, 1000]
    assert rates(tmp_path, wall)[0] == [1000, 1000, 25_000, 1000, 1000]
    assert rates(tmp_path, slow)[0] == [60_000] * 4


def test_runs_behind_each_other_and_readings_of_one_second(tmp_path: Path) -> None:
    stamps = ["12:00:00", "12:00:01", "12:00:01", "12:00:02", "09:00:00", "09:00:01"]
    lines = [f"2023-01-01 {stamp},{rate}\n" for stamp, rate in zip(stamps, (1, 2, 4, 5, 6, 7), strict=True)]
    assert rates(tmp_path, "timestamp,mbps\n" + "".join(lines)) == ([1000.0] * 5, [1, 3, 5, 6, 7])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_do_not_depend_on_the_zone_of_the_machine(
    tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        naive = "timestamp,mbps\n2023-03-12 01:59:58,1\n2023-03-12 02:00:00,2\n2023-03-12 03:00:00,3\n"
        assert rates(tmp_path, naive)[0][:2] == [2000, 3_600_000]  # no hour is left out in UTC
        aware = [datetime(2023, 3, 12, 1, 59, 58, tzinfo=ZoneInfo("America/New_York")),
                 datetime(2023, 3, 12, 3, 0, 0, tzinfo=ZoneInfo("America/New_York")),
                 datetime(2023, 3, 12, 7, 0, 3, tzinfo=UTC)]  # fmt: skip
        text = "timestamp,mbps\n" + "".join(f"{stamp.isoformat()},1\n" for stamp in aware)
        between = [(b - a).total_seconds() * 1000 for a, b in zip(*(([s.astimezone(UTC) for s in aware][k:]) for k in (0, 1)), strict=False)]  # fmt: skip
        assert rates(tmp_path, text)[0][:2] == between == [2000, 3000]
    finally:
        monkeypatch.undo()
        time.tzset()


STAMPS = st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1), timezones=st.timezones())


@given(st.lists(STAMPS, min_size=2, max_size=6))
def test_dates_of_any_zone_are_the_times_that_datetime_finds(stamps: list[datetime]) -> None:
    from hasten.core.stamps import read_times

    whole = [s for s in stamps if (s.utcoffset() or s.utcoffset()) is not None and s.utcoffset().seconds % 60 == 0]  # type: ignore[union-attr]
    if len(whole) < 2:
        return
    found = read_times("t", "time", [stamp.isoformat() for stamp in whole]).since_first_ms
    expected = [(s.astimezone(UTC) - whole[0].astimezone(UTC)).total_seconds() * 1000 for s in whole]
    assert found == pytest.approx(expected, abs=1e-3)


def packed(name: str, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    else:
        mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "tbz2": "w:bz2", "tar": "w"}[name.rsplit(".", 1)[1]]
        with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


TABLE = b"\xef\xbb\xbftime_s,mbps\n" + BODY.encode()
ARCHIVES = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tbz2", "A.ZIP"]


@pytest.mark.parametrize("archive", ARCHIVES)
def test_archives_alone_and_by_member(tmp_path: Path, archive: str) -> None:
    name = archive.lower()
    (tmp_path / archive).write_bytes(packed(name, {"d/t.csv": TABLE, "__MACOSX/._t.csv": b"junk"}))
    for recording in (archive, f"{archive}/d/t.csv"):
        assert read_rates(recording, "auto", tmp_path)[1].tolist() == EXPECTED[1]
    (tmp_path / archive).write_bytes(packed(name, {"t.csv": TABLE, "u.csv.gz": gzip.compress(TABLE)}))
    assert read_rates(f"{archive}/u.csv.gz", "auto", tmp_path)[1].tolist() == EXPECTED[1]
    for recording, words in ((archive, "2 files"), (f"{archive}/absent.csv", "which holds t.csv")):
        with pytest.raises(InputError, match=words):
            read_rates(recording, "auto", tmp_path)


def encrypted() -> bytes:
    data = bytearray(packed("a.zip", {"t.csv": TABLE}))
    data[6] |= 1  # in the member's own header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[: middle - 8] + bytes(16) + data[middle + 8 :]


DAMAGED = {
    "encrypted.zip": encrypted(),
    "cut.zip": packed("a.zip", {"t.csv": TABLE})[:60],
    "other.zip": b"no archive",
    "cut.gz": gzip.compress(TABLE * 50)[:60],
    "wrong.gz": damaged(gzip.compress(os.urandom(300))),
    "other.gz": b"no archive",
    "cut.tar.gz": packed("a.tgz", {"t.csv": TABLE * 50})[:60],
    "cut.tbz2": packed("a.tbz2", {"t.csv": TABLE})[:60],
    "other.tar": b"no archive",
    "empty.tar.gz": packed("a.tgz", {}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_broken_and_encrypted_archives_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, DAMAGED[name], name)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hasten.core.archives.MAX_UNPACKED_BYTES", 10_000)
    for name in ("t.txt", "t.gz", *ARCHIVES[:-1]):
        content = bytes(20_000)
        if name == "t.gz":
            content = gzip.compress(content)
        elif name != "t.txt":
            content = packed(name, {"t.csv": content})
        assert "at most 10000 bytes" in refusal(tmp_path, content, name)


def test_a_rewritten_recording_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rate = RecordedRate(kind="trace", file="r.csv")
    path.write_text("time_s,mbps\n0,1\n1,2\n")
    first = rate.realize(np.random.default_rng(0), 0.0, tmp_path)
    assert rate.realize(np.random.default_rng(1), 0.0, tmp_path) is first
    kept = path.stat()
    path.write_text("time_s,mbps\n0,3\n1,2\n")  # as long as before
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert rate.realize(np.random.default_rng(0), 0.0, tmp_path).at(0.0) == 3000.0
    replacement = tmp_path / "new.csv"
    replacement.write_text("time_s,mbps\n0,4\n1,2\n")
    os.utime(replacement, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    replacement.replace(path)
    assert rate.realize(np.random.default_rng(0), 0.0, tmp_path).at(0.0) == 4000.0


def test_what_callers_share_they_cannot_change(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("time_s,mbps\n" + BODY)
    for values in read_rates("t.csv", "auto", tmp_path):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 5.0


def test_round_trips_are_no_rates(tmp_path: Path) -> None:
    text = "2020-01-01 00:00:00.0_30.5,2020-01-01 00:00:10.0_31.5"
    assert rates(tmp_path, text, "wifi-TCPBandwidth.txt") == ([10_000.0] * 2, [30.5, 31.5])
    assert "round trips" in refusal(tmp_path, text, "wifi-TCPRTT.txt")


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y", "", "/dev", "absent.zip/x"])
def test_names_that_no_file_has_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="existing file"):
        read_rates(name, "auto", tmp_path)


def test_a_data_folder_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path / "absent"))
    with pytest.raises(InputError, match="absent, which is no folder"):
        read_rates("nofile", "auto", tmp_path)


TOKENS = ["0", "1", "2.5", "-3", "1e400", "nan", "1700000000", "time_s", "timestamp", "mbps", '"', ",", ";", "\t", " ", "\n",
          "2023-01-01 00:00:01", "Z", "_", "[", "]", "{", "}", ":", '"timestamps"', "Kbits/sec", "\ufeff", "\x00", "é"]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join).map(str.encode) | st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.txt").write_bytes(content)
    with contextlib.suppress(InputError):
        duration_ms, mbps = read_rates("any.txt", "auto", folder)
        assert np.all(duration_ms > 0)
        assert np.all(np.isfinite(mbps) & (mbps >= 0))
    with contextlib.suppress(InputError):
        found = read_arrivals("any.txt", None, None, folder)
        times = found[0] if isinstance(found, tuple) else np.cumsum(found)
        assert np.all(np.isfinite(times))
        assert np.all(np.diff(times) >= 0)
