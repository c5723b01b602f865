"""Scenarios: what is refused and how it is said, and that a realization repeats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hasten.core.errors import InputError
from hasten.core.options import StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.profile_names import builtin_profiles, load_profile
from hasten.core.scenario import load_scenario, scenario_from


def document(**changes: Any) -> dict[str, Any]:
    stream = {
        "name": "cam",
        "count": 2,
        "profile": "alexnet-pi",
        "deadline_ms": 80,
        "arrivals": {"kind": "poisson", "rate_hz": 20},
    }
    base: dict[str, Any] = {
        "schema": "hasten.scenario/1",
        "streams": [stream],
        "uplink": {"topology": "shared", "order": "grant", "rtt_ms": 0, "rate": {"kind": "constant", "mbps": 10}},
        "edge": {"workers": 1, "slowdown": 1.0},
        "tasks_per_stream": 200,
    }
    for path, value in changes.items():
        keys = path.split("__")
        target: Any = base
        for key in keys[:-1]:
            target = target[int(key) if key.isdigit() else key]
        target[keys[-1]] = value
    return base


def refusal(where: Path, **changes: Any) -> str:
    path = where / "s.yaml"
    path.write_text(yaml.safe_dump(document(**changes)))
    with pytest.raises(InputError) as error:
        load_scenario(path)
    text = str(error.value)
    assert "\n" not in text
    assert "s.yaml" in text
    return text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speed": 3}, ["speed", "3", "known key"]),
        ({"uplink__rate__mbps": -1}, ["uplink.rate.mbps", "-1", "greater than or equal to 0"]),
        ({"uplink__rate__mbps": float("nan")}, ["uplink.rate.mbps", "finite"]),
        ({"uplink__rate": {"kind": "fast"}}, ["uplink.rate.kind", "'fast'", "constant"]),
        ({"uplink__rate": {"mbps": 3}}, ["uplink.rate", "kind"]),
        ({"uplink__topology": "star"}, ["uplink.topology", "star", "shared"]),
        ({"edge__workers": 0}, ["edge.workers", "0"]),
        ({"streams__0__deadline_ms": 0}, ["streams[0].deadline_ms", "0", "greater than 0"]),
        ({"streams__0__profile": "nonet"}, ["profile", "nonet", "alexnet-pi"]),
        ({"streams__0__profile": "none.json"}, ["none.json", "existing file"]),
        ({"streams__0__arrivals__rate_hz": "often"}, ["streams[0].arrivals.rate_hz", "often", "number"]),
        ({"streams__0__arrivals": {"kind": "explicit", "times_ms": [3, 2]}}, ["times_ms", "ascending"]),
        ({"streams__0__arrivals": {"kind": "mmpp", "rates_hz": [1, 2], "dwell_ms": [1]}}, ["rates_hz", "dwell_ms"]),
        ({"streams__0__arrivals": {"kind": "trace", "file": "absent.csv"}}, ["absent.csv", "existing file"]),
        ({"streams": []}, ["streams", "at least 1"]),
        ({"tasks_per_stream": None}, ["exactly one of tasks_per_stream and horizon_ms"]),
        ({"horizon_ms": 10}, ["exactly one of tasks_per_stream and horizon_ms"]),
        ({"tasks_per_stream": -1}, ["tasks_per_stream", "-1"]),
        ({"schema": "hasten.scenario/9"}, ["schema", "hasten.scenario/9", "hasten.scenario/1"]),
        ({"gain": {"kind": "on_time_accuracy", "energy_weight_per_mj": 1}}, ["energy_weight", "device_power_mw"]),
    ],
)
def test_a_wrong_scenario_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    text = refusal(tmp_path, **changes)
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("content", "word"), [("", "empty"), ("0\n0\n", "rate"), ("x,y\n1,2\n", "column"), ("hello", "format")]
)
def test_a_wrong_rate_trace_is_refused(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / "t.txt").write_text(content)
    if word == "rate":
        (tmp_path / "t.txt").write_text("time_s,mbps\n0,0\n1,0\n")
    text = refusal(tmp_path, uplink__rate={"kind": "trace", "file": "t.txt"})
    assert "t.txt" in text
    assert word in text


def test_a_misspelt_key_is_told_rather_than_the_one_that_is_missing(tmp_path: Path) -> None:
    stream = document()["streams"][0]
    stream["deadline_s"] = stream.pop("deadline_ms")
    told = refusal(tmp_path, streams=[stream], speed=3)
    assert "streams[0].deadline_s" in told and "did you mean deadline_ms?" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not: [yaml", "valid YAML"),
        (b"[1, 2]", r"got \[1, 2\], expected keys and their values"),
        (b"", "keys and their values, of which the file has none"),
        (b"\x00\x01", ""),
        (b"PK\x03\x04\xff", "text in UTF-8, which this file is not"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(InputError, match=rf"s\.yaml.*{message}"):
        load_scenario(tmp_path / "s.yaml")
    with pytest.raises(InputError, match="readable file"):
        load_scenario(tmp_path / "absent.yaml")


ARRIVALS: list[dict[str, Any]] = [
    {"kind": "poisson", "rate_hz": 20},
    {"kind": "periodic", "rate_hz": 20, "jitter": 1.0},
    {"kind": "mmpp", "rates_hz": [5, 40], "dwell_ms": [500, 500]},
]


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_generated_arrivals_have_their_rate_and_repeat(arrivals: dict[str, Any]) -> None:
    scenario = scenario_from(document(streams__0__arrivals=arrivals, tasks_per_stream=20_000))
    first, again, other = scenario.realize(1), scenario.realize(1), scenario.realize(2)
    assert np.array_equal(first.arrival_ms, again.arrival_ms)
    assert not np.array_equal(first.arrival_ms, other.arrival_ms)
    assert first.tasks == 40_000
    assert np.all(np.diff(first.arrival_ms) >= 0)
    nominal = scenario.context(np.zeros(1, dtype=np.int64)).rate_hz[0]
    for m in range(2):
        times = first.arrival_ms[first.stream == m]
        assert 1000 * len(times) / times[-1] == pytest.approx(nominal, rel=0.06)
    bounded = scenario_from({**document(streams__0__arrivals=arrivals, horizon_ms=5000), "tasks_per_stream": None})
    times = bounded.realize(0).arrival_ms
    assert times.max() < 5000
    assert len(times) == pytest.approx(2 * nominal * 5, rel=0.5)


def test_poisson_gaps_are_exponential() -> None:
    scenario = scenario_from(document(streams__0__count=1, tasks_per_stream=40_000))
    gaps = np.diff(scenario.realize(0).arrival_ms)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)


def test_ties_are_in_stream_order() -> None:
    arrivals = {"kind": "explicit", "times_ms": [5, 5, 9]}
    drawn = scenario_from(document(streams__0__arrivals=arrivals, tasks_per_stream=3)).realize(0)
    assert drawn.arrival_ms.tolist() == [5, 5, 5, 5, 9, 9]
    assert drawn.stream.tolist() == [0, 0, 1, 1, 0, 1]


def test_a_scenario_without_tasks_is_fine() -> None:
    assert scenario_from(document(tasks_per_stream=0)).realize(0).tasks == 0
    explicit = {"kind": "explicit", "times_ms": []}
    assert scenario_from(document(streams__0__arrivals=explicit, tasks_per_stream=0)).realize(0).tasks == 0


def test_gauss_markov_rates_have_their_moments_and_stay_positive() -> None:
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 2, "memory": 0.9, "step_ms": 100}
    data = document(uplink__rate=rate, horizon_ms=2_000_000)
    scenario = scenario_from({**data, "tasks_per_stream": None})
    trace = scenario.realize(0).rates[0]
    assert trace.bits_per_ms.mean() == pytest.approx(10_000, rel=0.05)
    assert trace.bits_per_ms.std() == pytest.approx(2_000, rel=0.1)
    assert trace.bits_per_ms.min() > 0


def test_dedicated_links_differ_and_a_shared_one_is_one() -> None:
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 2}
    assert len(scenario_from(document(uplink__rate=rate)).realize(0).rates) == 1
    first, second = scenario_from(document(uplink__rate=rate, uplink__topology="dedicated")).realize(0).rates
    assert not np.array_equal(first.bits_per_ms, second.bits_per_ms)


RECORDINGS = {
    "mahimahi.gz": gzip.compress(b"1\n50\n100\n200\n"),
    "rate.csv": b"time_s,mbps\n0,0.36\n0.1,0.12\n0.2,0.12\n",
    "ghent.json": json.dumps([{"duration_ms": 100, "bandwidth_kbps": 360}, {"duration_ms": 100, "bandwidth_kbps": 120}]).encode(),
    "pattern.json": json.dumps({"uplink": {"trace_pattern": [{"duration": 100, "capacity": 360}, {"duration": 100, "capacity": 120}]}}).encode(),
    "genet.json": json.dumps({"timestamps": [0, 0.1], "bandwidths": [0.36, 0.12]}).encode(),
    "mec.txt": b"2020-01-01 00:00:00.000000_0.36,2020-01-01 00:00:00.100000_0.12",
    "walk.csv": b"timestamp,direction,Throughput\n2021-01-23 07:09:06,downlink,9\n2021-01-23 07:09:07,uplink,0.36\n2021-01-23 07:09:08,uplink,0.12\n",
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_rates(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(RECORDINGS[name])
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(document(uplink__rate={"kind": "trace", "file": name})))
    trace = load_scenario(tmp_path / "s.yaml").realize(0).rates[0]
    step_ms = 1000 if name == "walk.csv" else 100
    assert trace.at(0.0) == pytest.approx(360)
    assert trace.at(step_ms + 1.0) == pytest.approx(120)
    assert trace.at(trace.period_ms + 1.0) == pytest.approx(360)  # it repeats


def test_recorded_arrivals(tmp_path: Path) -> None:
    recordings = {
        "stamps.csv": b"TIMESTAMP,ContextTokens\n2023-11-16 18:15:46.5000000,1\n2023-11-16 18:15:46.7500000,2\n2023-11-16 18:15:47.5000000,3\n",
        "plain.txt": b"0\n250\n1000\n",
    }  # fmt: skip
    for name, content in recordings.items():
        (tmp_path / name).write_bytes(content)
        arrivals = {"kind": "trace", "file": name, "speedup": 2.0}
        data = document(streams__0__arrivals=arrivals, streams__0__count=1, tasks_per_stream=5)
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(data))
        times = load_scenario(tmp_path / "s.yaml").realize(0).arrival_ms
        assert times[:3].tolist() == [0.0, 125.0, 500.0]
        assert len(times) == 5
        assert times[3] > times[2]


def test_recorded_counts_become_as_many_arrivals(tmp_path: Path) -> None:
    (tmp_path / "counts.txt").write_text("3 0 5 2")
    arrivals = {"kind": "trace", "file": "counts.txt"}
    data = document(streams__0__arrivals=arrivals, streams__0__count=1, horizon_ms=4000)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**data, "tasks_per_stream": None}))
    times = load_scenario(tmp_path / "s.yaml").realize(0).arrival_ms
    assert np.histogram(times, bins=[0, 1000, 2000, 3000, 4000])[0].tolist() == [3, 0, 5, 2]


def test_every_built_in_profile_loads_and_deeper_exits_cost_more() -> None:
    assert {"alexnet-pi", "efficientnet-b0", "resnet-110"} <= set(builtin_profiles())
    for name in builtin_profiles():
        profile = load_profile(name)
        assert profile.name == name
        assert len(profile.source) > 40
        assert all(a.accuracy <= b.accuracy for a, b in zip(profile.exits, profile.exits[1:], strict=False))


PROFILE: dict[str, Any] = {
    "schema": "hasten.profile/1", "name": "tiny", "source": "test", "input_bytes": 100,
    "blocks": [{"name": "a", "device_ms": 4, "edge_ms": 1, "output_bytes": 50},
               {"name": "b", "device_ms": 6, "edge_ms": 2, "output_bytes": 20}],
    "exits": [{"name": "e1", "after_block": 1, "accuracy": 0.5, "device_ms": 1, "edge_ms": 0.5},
              {"name": "e2", "after_block": 2, "accuracy": 0.9, "device_ms": 2, "edge_ms": 0.25}],
}  # fmt: skip


def test_encoding_is_work_of_a_device_that_offloads() -> None:
    blocks = [block | {"encode_ms": 0.25} for block in PROFILE["blocks"]]
    coded = Profile.model_validate(PROFILE | {"input_encode_ms": 0.5, "blocks": blocks})
    before, after = (
        option_table([StreamCosts(profile, device_slowdown=2.0)])
        for profile in (Profile.model_validate(PROFILE), coded)
    )
    more_ms = {(1, 1): 0.0, (2, 2): 0.0, (1, 0): 0.5, (2, 0): 0.5, (2, 1): 0.25}
    found = zip(after.exit[0], after.partition[0], after.device_ms[0] - before.device_ms[0], strict=True)
    assert {(int(e), int(p)): float(more) for e, p, more in found} == pytest.approx(more_ms)


def test_options_follow_from_the_profile(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(PROFILE))
    data = document(streams__0__profile="tiny.json", streams__0__slowdown=2.0, streams__0__count=1)
    data["edge"]["slowdown"] = 10.0
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(data))
    o = load_scenario(tmp_path / "s.yaml").options
    rows = {
        (int(e), int(p)): (x, s, y)
        for e, p, x, s, y in zip(
            o.exit[0], o.partition[0], o.device_ms[0], o.payload_bits[0], o.edge_ms[0], strict=True
        )
    }
    assert rows == {
        (1, 1): (10, 0, 0),
        (1, 0): (0, 800, 15),
        (2, 2): (24, 0, 0),
        (2, 1): (8, 400, 22.5),
        (2, 0): (0, 800, 32.5),
    }


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("exits", 1, "after_block"), 3, ["after_block", "at most 2", "3"]),
        (("exits", 0, "after_block"), 0, ["exits[0].after_block", "0"]),
        (("exits", 1, "after_block"), 1, ["after_block", "greater than"]),
        (("blocks", 0, "device_ms"), -1, ["blocks[0].device_ms", "-1"]),
        (("exits", 0, "accuracy"), 1.5, ["exits[0].accuracy", "1.5"]),
        (("blocks",), [], ["blocks", "at least 1"]),
        (("speed",), 1, ["speed", "known key"]),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, path: tuple[Any, ...], value: Any, words: list[str]) -> None:
    data = json.loads(json.dumps(PROFILE))
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        load_profile("p.json", tmp_path)
    for word in ["p.json", *words]:
        assert word in str(error.value)


def test_a_profile_survives_writing(tmp_path: Path) -> None:
    profile = Profile.model_validate(PROFILE)
    (tmp_path / "p.json").write_text(profile.to_json())
    assert load_profile("p.json", tmp_path) == profile
    (tmp_path / "nan.json").write_text(profile.to_json().replace("0.9", "NaN"))
    with pytest.raises(InputError, match="finite"):
        load_profile("nan.json", tmp_path)


def test_dominated_options_are_left_out_and_nothing_else() -> None:
    options = scenario_from(document()).options
    table, column = options.undominated()
    for m in range(options.streams):
        kept = {int(c) for c in column[m] if c >= 0}
        for j in range(options.count[m]):
            mine = (options.device_ms[m, j], options.payload_bits[m, j], options.edge_ms[m, j], -options.worth[m, j])
            beaten = any(
                all(a <= b for a, b in zip(other, mine, strict=True)) and (other != mine)
                for i in range(options.count[m])
                for other in [
                    (
                        options.device_ms[m, i],
                        options.payload_bits[m, i],
                        options.edge_ms[m, i],
                        -options.worth[m, i],
                    )
                ]
            )
            assert (j in kept) == (not beaten)
    assert table.count.tolist() == [len([c for c in row if c >= 0]) for row in column]
