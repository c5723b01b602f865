"""What a scenario or a call may ask for: refused in one line, before anything of that size is made."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import hasten as hs
from hasten.core.limits import check_seed
from hasten.core.profile_names import load_profile

BASE: dict[str, Any] = {
    "schema": "hasten.scenario/1",
    "streams": [
        {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 20}}
    ],
    "uplink": {"rate": {"kind": "constant", "mbps": 10}},
    "tasks_per_stream": 50,
}
HORIZON = {"tasks_per_stream": None}
GAUSS = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 1}


def changed(**changes: Any) -> dict[str, Any]:
    data = copy.deepcopy(BASE)
    for path, value in changes.items():
        target: Any = data
        *parents, last = path.split("__")
        for key in parents:
            target = target[int(key) if key.isdigit() else key]
        target[last] = value
    return data


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (HORIZON | {"horizon_ms": 1e15}, "horizon_ms"),
        (HORIZON | {"horizon_ms": 1e11}, "at most 20000000 tasks in all"),
        (HORIZON | {"horizon_ms": 1e11, "streams__0__arrivals": {"kind": "periodic", "rate_hz": 1}}, "tasks in all"),
        ({"tasks_per_stream": 10**12}, "tasks_per_stream"),
        ({"tasks_per_stream": 10**7, "streams__0__count": 10}, "tasks in all"),
        ({"streams__0__count": 10**12}, "streams[0].count"),
        ({"streams__0__arrivals__rate_hz": 1e-300}, "a run of at most"),
        ({"streams__0__arrivals__rate_hz": 1e12}, "rate_hz"),
        ({"streams__0__arrivals": {"kind": "mmpp", "rates_hz": [1e-6], "dwell_ms": [1e-3]}}, "at most 5000000 steps"),
        (HORIZON | {"horizon_ms": 1e6, "uplink__rate": GAUSS | {"step_ms": 1e-9}}, "uplink.rate.step_ms"),
        ({"uplink__rate": GAUSS | {"step_ms": 1e-9}}, "uplink.rate.step_ms"),
        ({"uplink__rate": {"kind": "constant", "mbps": 1e308}}, "uplink.rate.mbps"),
        ({"gain": {"kind": "tradeoff", "lambda": 1e308}}, "gain.lambda"),
        ({"gain": {"kind": "soft", "kappa": 1e308}}, "gain.kappa"),
        ({"streams__0__deadline_ms": 1e300}, "deadline_ms"),
        ({"streams__0__slowdown": 1e300}, "slowdown"),
        ({"edge": {"slowdown": 1e300}}, "edge.slowdown"),
        ({"view": {"rate_error": 1e3}}, "view.rate_error"),
        ({"streams__0__name": "x" * 5000}, "at most 200 characters"),
        ({"streams__0__name": "a\nb"}, "streams[0].name"),
        ({"streams__0__name": ""}, "streams[0].name"),
        ({"streams__0__profile": "x" * 5000 + ".json"}, "streams[0].profile"),
        ({"streams__0__profile": "x" * 3000 + ".json"}, "an existing file"),
        ({"x" * 5000: 1}, "known key"),
        ({"streams__0__arrivals": {"kind": "explicit", "times_ms": [0, 10]}}, "to have 50 times"),
        ({"streams__0__arrivals": {"kind": "explicit", "times_ms": [0, float("nan")]}}, "finite"),
        ({"streams__0__arrivals": {"kind": "explicit", "times_ms": [0, float("inf")]}}, "finite"),
        ({"streams__0__arrivals": {"kind": "explicit", "times_ms": [0, True]}}, "times_ms[1]"),
        ({"streams__0__count": True}, "streams[0].count"),
        ({"streams__0__count": "2"}, "streams[0].count"),
        ({"streams__0__count": 2.0}, "streams[0].count"),
        ({"streams__0__deadline_ms": "80"}, "streams[0].deadline_ms"),
        ({"streams__0__deadline_ms": False}, "streams[0].deadline_ms"),
        ({"tasks_per_stream": True}, "tasks_per_stream"),
        ({"streams__0__deadline_ms": 10**400}, "streams[0].deadline_ms"),
    ],
)  # fmt: skip
def test_too_much_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(hs.InputError, match=re.escape(words)) as caught:
        hs.scenario_from(changed(**changes))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_numbers_of_numpy_are_taken() -> None:
    scenario = hs.scenario_from(changed(streams__0__deadline_ms=np.float64(80.0), uplink__rate__mbps=np.float64(5)))
    assert scenario.realize(0).tasks == 50


def test_long_explicit_lists_and_a_few_tasks_are_fine() -> None:
    explicit = {"kind": "explicit", "times_ms": [float(t) for t in range(60)]}
    assert hs.scenario_from(changed(streams__0__arrivals=explicit)).realize(0).tasks == 50
    far = changed(streams__0__arrivals={"kind": "explicit", "times_ms": [0]}, tasks_per_stream=None, horizon_ms=1e11)
    assert hs.scenario_from(far).realize(0).tasks == 1


def test_the_line_of_a_wrong_value_is_named(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(), sort_keys=False).replace("deadline_ms: 80", "deadline_ms: 1:20")
    (tmp_path / "s.yaml").write_text(text)
    line = next(number for number, content in enumerate(text.splitlines(), start=1) if "1:20" in content)
    with pytest.raises(hs.InputError, match=rf"s\.yaml, line {line}: streams\[0\]\.deadline_ms: got '1:20'"):
        hs.load_scenario(tmp_path / "s.yaml")


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "/", "absent.yaml", None, 5, b"s.yaml"])
def test_what_is_no_file_is_refused(path: Any) -> None:
    for load in (hs.load_scenario, hs.load_profile):
        with pytest.raises(hs.InputError):
            load(path)


def profile(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(load_profile("alexnet-pi").to_json())
    for path, value in changes.items():
        target: Any = data
        *parents, last = path.split("__")
        for key in parents:
            target = target[int(key) if key.isdigit() else key]
        target[last] = value
    return data


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"blocks__0__output_bytes": True}, "blocks[0].output_bytes"),
        ({"blocks__0__output_bytes": 10**30}, "blocks[0].output_bytes"),
        ({"blocks__0__device_ms": "3"}, "blocks[0].device_ms"),
        ({"blocks__0__device_ms": 1e300}, "blocks[0].device_ms"),
        ({"blocks__0__name": "x" * 5000}, "blocks[0].name"),
        ({"exits__0__accuracy": True}, "exits[0].accuracy"),
        ({"exits__0__after_block": 1.5}, "exits[0].after_block"),
        ({"exits__0__accuracy_by_partition": [0.5, True]}, "exits[0].accuracy_by_partition[1]"),
        ({"device_power_mw": 1e300}, "device_power_mw"),
    ],
)
def test_a_profile_that_converts_or_overflows_is_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(profile(**changes)))
    with pytest.raises(hs.InputError, match=re.escape(f"p.json: {field}: got ")):
        hs.load_profile(tmp_path / "p.json")


def test_a_thousand_blocks_by_a_thousand_exits_are_refused(tmp_path: Path) -> None:
    base = profile()
    base["blocks"] = [base["blocks"][0] | {"name": f"b{i}"} for i in range(1000)]
    head = base["exits"][0]
    base["exits"] = [head | {"name": f"e{i}", "after_block": i + 1} for i in range(1000)]
    (tmp_path / "p.json").write_text(json.dumps(base))
    with pytest.raises(hs.InputError, match="at most 10000 options"):
        hs.load_profile(tmp_path / "p.json")
    base["exits"] = base["exits"][:100]
    (tmp_path / "p.json").write_text(json.dumps(base))
    with pytest.raises(hs.InputError, match="10000000 options in all"):
        hs.scenario_from(changed(streams__0__profile=str(tmp_path / "p.json"), streams__0__count=2000))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, None, True, "0", float("nan"), [0], np.float64(1)])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    scenario = hs.scenario_from(BASE)
    for ask in (lambda: hs.simulate(scenario, "greedy", seed=seed), lambda: scenario.realize(seed)):
        with pytest.raises(hs.InputError, match="whole number from 0"):
            ask()


def test_seeds_of_numpy_and_the_largest_are_seeds() -> None:
    scenario = hs.scenario_from(BASE)
    assert scenario.realize(np.int64(3)).arrival_ms.tolist() == scenario.realize(3).arrival_ms.tolist()  # type: ignore[arg-type]
    assert scenario.realize(check_seed(2**63 - 1)).tasks == 50


def test_simulate_names_what_it_was_given_instead() -> None:
    scenario: Any = hs.scenario_from(BASE)
    with pytest.raises(hs.InputError, match=r"scenario: got 's\.yaml', expected a Scenario, as load_scenario"):
        hs.simulate("s.yaml", "greedy")  # type: ignore[arg-type]
    for other, where in ((hs.solve_offline, "solve_offline"), (hs.train, "train")):
        with pytest.raises(hs.InputError, match=f"{where}: scenario: got 's.yaml'"):
            other("s.yaml")  # type: ignore[operator]
    for scheduler in (None, 5, scenario):
        with pytest.raises(hs.InputError, match="simulate: scheduler"):
            hs.simulate(scenario, scheduler)


def test_a_recording_of_counts_cannot_ask_for_more(tmp_path: Path) -> None:
    (tmp_path / "counts.txt").write_text("1 0 0 0")
    trace = {"kind": "trace", "file": str(tmp_path / "counts.txt")}
    for changes in ({"tasks_per_stream": 10**7}, HORIZON | {"horizon_ms": 1e11}):
        with pytest.raises(hs.InputError, match=r"steps in all|tasks in all"):
            hs.scenario_from(changed(streams__0__arrivals=trace, **changes))


def test_profiles_of_scission_come_from_a_table_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path))
    with pytest.raises(hs.InputError, match=r"set HASTEN_DATA|HASTEN_DATA is"):
        hs.load_profile("scission:net:a:b")
    table = tmp_path / "latency" / "scission" / "scission_segments.csv"
    table.parent.mkdir(parents=True)
    header = "device,model,segment,latency_s,output_bytes_with_128B_header\n"
    table.write_text(header + "a,net,0,0.5,528\nb,net,0,0.1,528\n")
    assert hs.load_profile("scission:net:a:b").blocks[0].output_bytes == 100
    for rows in ("a,net,0,nan,528\nb,net,0,0.1,528\n", "a,net,0,0.5,x\nb,net,0,0.1,528\n", "a,net,0,0.5,528\n" * 2 + "b,net,0,0.1,528\n", "a,net,0\n"):  # fmt: skip
        table.write_text(header + rows)
        with pytest.raises(hs.InputError):
            hs.load_profile("scission:net:a:b")
