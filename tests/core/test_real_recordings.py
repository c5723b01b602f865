"""The public recordings in the data folder, each against a plain reading of its own; skipped without one."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.core.files import data_folder
from hasten.core.recorded_arrivals import read_arrivals
from hasten.core.recordings import read_rates

DATA = data_folder() or Path("absent")


def needs(name: str) -> str:
    file = name.split(".zip/")[0] + (".zip" if ".zip/" in name else "")
    if not (DATA / file).is_file():
        pytest.skip(f"{file} is not in the data folder")
    return name


def unpacked(name: str) -> Iterator[str]:
    with gzip.open(DATA / name, "rt") as lines:
        yield from lines


def mean_mbps(name: str) -> float:
    duration_ms, mbps = read_rates(needs(name), "auto", DATA)
    return float(np.dot(duration_ms, mbps) / duration_ms.sum())


@pytest.mark.parametrize(
    ("name", "published_mbps"),
    [("ATT-LTE-driving-2016", 1.91), ("TMobile-LTE-short", 13.32), ("Verizon-LTE-short", 5.95)],
)
def test_packet_opportunities(name: str, published_mbps: float) -> None:
    file = needs(f"mahimahi/{name}.up.gz")
    stamps = [int(line) for line in unpacked(file)]
    duration_ms, _ = read_rates(file, "auto", DATA)
    assert duration_ms.sum() == stamps[-1]
    assert mean_mbps(file) == pytest.approx(len(stamps) * 12_000 / stamps[-1] / 1000)
    assert mean_mbps(file) == pytest.approx(published_mbps, abs=0.01)


@pytest.mark.parametrize(
    ("file", "time", "rate", "published_mbps"),
    [
        ("umn5g/walk_s20_t-mobile_sa_all.csv.gz", "timestamp", "Throughput", 28.0),
        ("umn5g/walk_s20_t-mobile_nsa_all.csv.gz", "timestamp", "Throughput", 66.7),
        ("starlink_uplink/mob_all_area.csv.gz", "time", "throughput", 21.4),
    ],
)
def test_walks_and_drives(file: str, time: str, rate: str, published_mbps: float) -> None:
    needs(file)
    rows = [row for row in csv.DictReader(unpacked(file)) if row.get("direction", "uplink") == "uplink"]
    at = [datetime.fromisoformat(row[time].removesuffix(" CDT")) for row in rows]
    gaps_s = [(b - a).total_seconds() for a, b in pairwise(at)]
    held_ms = [1000.0 * min(gap, 25.0) if gap > 0 else 1000.0 for gap in gaps_s] + [1000.0]
    duration_ms, mbps = read_rates(file, "auto", DATA)
    assert duration_ms.tolist() == held_ms
    assert mbps.tolist() == [float(row[rate]) for row in rows]
    assert mbps.mean() == pytest.approx(published_mbps, abs=0.06)


def test_lines_of_seconds_and_rates() -> None:
    file = needs("umn5g/lumos5g_4g_5g_1hz.zip/5G/5g_trace_9_walking")
    with zipfile.ZipFile(DATA / "umn5g/lumos5g_4g_5g_1hz.zip") as archive:
        rows = [line.split() for line in archive.read("5G/5g_trace_9_walking").decode().splitlines()]
    duration_ms, mbps = read_rates(file, "auto", DATA)
    assert set(duration_ms) == {1000.0}
    assert mbps.tolist() == [float(rate) for _, rate in rows]


def test_json_logs() -> None:
    file = needs("ghent4g_norway3g/ghent_4g_json.zip/report_bus_0001.json")
    with zipfile.ZipFile(DATA / "ghent4g_norway3g/ghent_4g_json.zip") as archive:
        steps = json.loads(archive.read("report_bus_0001.json"))
    duration_ms, mbps = read_rates(file, "auto", DATA)
    assert duration_ms.tolist() == [step["duration_ms"] for step in steps]
    assert mbps.tolist() == pytest.approx([step["bandwidth_kbps"] / 1000 for step in steps])
    pattern = json.loads((DATA / needs("opennetlab/4G_500kbps.json")).read_text())["uplink"]["trace_pattern"]
    total_ms = sum(step["duration"] for step in pattern)
    expected = sum(step["duration"] * step["capacity"] for step in pattern) / total_ms / 1000
    assert mean_mbps("opennetlab/4G_500kbps.json") == pytest.approx(expected)
    run = "2018-06-30T05-02-China-ppp0-to-AWS-Korea-3-runs/bbr_datalink_run1.json"
    with zipfile.ZipFile(DATA / "pantheon_cellular/pantheon_cellular_json.zip") as archive:
        data = json.loads(archive.read(run))
    duration_ms, mbps = read_rates(needs(f"pantheon_cellular/pantheon_cellular_json.zip/{run}"), "auto", DATA)
    assert mbps.tolist() == data["bandwidths"]
    assert set(duration_ms) == {500.0}


def test_measurements_in_bursts() -> None:
    member = "lte-TCPBandwidth-upstream-noise0M_Client-Observer_edge.txt"
    file = needs(f"mecperf/mecperf_active_txt.zip/{member}")
    with zipfile.ZipFile(DATA / "mecperf/mecperf_active_txt.zip") as archive:
        pairs = [item.strip().split("_") for item in archive.read(member).decode().strip(", \n").split(",")]
    at = [datetime.fromisoformat(stamp).timestamp() for stamp, _ in pairs]
    usual_s = float(np.median(np.diff(at)))
    duration_ms, mbps = read_rates(file, "auto", DATA)
    assert duration_ms.tolist() == pytest.approx(
        [1000 * min(gap, max(25.0, 2 * usual_s)) for gap in [*np.diff(at), usual_s]], abs=1e-3
    )
    assert mbps.mean() == pytest.approx(10.3, abs=0.1)
    with pytest.raises(InputError, match="round trips"):
        read_rates("mecperf/mecperf_active_txt.zip/lte-TCPRTT-noise0M_Client_edge.txt", "auto", DATA)


@pytest.mark.parametrize("name", ["7Train1", "7Train2", "bus57", "bus62", "bus62_2", "QTrain", "Long_Island_Rail_Road"])
def test_units_of_each_line(name: str) -> None:
    file = needs(f"nyu_mets/{name}.csv")
    scale = {"Mbits/sec": 1.0, "Kbits/sec": 1e-3, "bits/sec": 1e-6}
    expected = [float(value) * scale[unit] for value, unit in csv.reader((DATA / file).open())]
    duration_ms, mbps = read_rates(file, "auto", DATA)
    assert mbps.tolist() == pytest.approx(expected)
    assert duration_ms.sum() == 1000.0 * len(expected)


def test_what_is_no_recording_of_an_uplink_is_refused() -> None:
    for name in (
        "mobilebandwidth/4G.csv.gz",
        "umn5g/speedtest_ookla.csv",
        "umn5g/radio_power_MN-Transfer_combined.csv",
    ):
        with pytest.raises(InputError, match="columns"):
            read_rates(needs(name), "auto", DATA)


@pytest.mark.parametrize(("name", "requests", "mean_s"), [("code", 8819, 0.39), ("conv", 19_366, 0.181)])
def test_requests_of_a_language_model(name: str, requests: int, mean_s: float) -> None:
    file = needs(f"arrivals/azure_llm_2023/AzureLLMInferenceTrace_{name}.csv.gz")
    stamps = [row["TIMESTAMP"] for row in csv.DictReader(unpacked(file))]
    at = np.array([np.datetime64(stamp.replace(" ", "T"), "ns") for stamp in stamps])
    times_ms, _ = read_arrivals(file, None, None, DATA)  # type: ignore[misc]
    assert len(times_ms) == requests
    assert np.array_equal(times_ms, (at - at[0]).astype(np.int64) / 1e6)
    assert np.diff(times_ms).mean() / 1000 == pytest.approx(mean_s, rel=0.01)


def test_other_arrivals() -> None:
    file = needs("arrivals/alibaba_genai/lora_request_trace.csv.gz")
    with pytest.raises(InputError, match="the key column"):
        read_arrivals(file, None, None, DATA)
    rows = list(csv.DictReader(unpacked(file)))
    first, last = (datetime.fromisoformat(rows[i]["gmt_create"]) for i in (0, -1))
    times_ms, _ = read_arrivals(file, "gmt_create", None, DATA)  # type: ignore[misc]
    assert (len(times_ms), times_ms[-1]) == (len(rows), 1000 * (last - first).total_seconds())
    times_ms, _ = read_arrivals(needs("arrivals/mot15_detections/mot15_det_txt.zip/KITTI-13_det.txt"), None, None, DATA)  # type: ignore[misc]
    assert len(times_ms) == 945
    assert times_ms[-1] == pytest.approx(33_600)
    for column, words in ((None, "the key column"), ("end_timestamp", "end_timestamp_s")):
        with pytest.raises(InputError, match=words):
            read_arrivals(needs("arrivals/azure_functions_sample/Azure2021_200.csv"), column, None, DATA)


def test_requests_per_second() -> None:
    counts = read_arrivals(needs("arrivals/twitter/workload.tbz2"), None, None, DATA)
    assert len(counts) == 1_899_061
    assert counts.mean() == pytest.approx(63.6, abs=0.05)  # type: ignore[union-attr]
