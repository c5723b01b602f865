"""Timelines are what the trace event format asks for, and tell what happened to each task."""

import json

import jsonschema
import pytest
from report_results import HOSTILE
from web_logs import logged, told_round, write_logs

import hasten as hs
from hasten.core.errors import InputError
from hasten.report.timeline import StageSlice, TracedRound, TracedTask, trace_document, write_trace
from hasten.report.timeline_sources import logged_rounds, simulated_round

NUMBER, TEXT, COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}


def event(phase, required, **more):
    known = {
        "ph": {"const": phase},
        "pid": COUNT,
        "tid": COUNT,
        "ts": NUMBER,
        "name": TEXT,
        "cat": TEXT,
        "args": {"type": "object"},
    }
    return {
        "type": "object",
        "properties": known | more,
        "required": ["ph", "pid", "tid", "ts", "name", *required],
        "additionalProperties": False,
    }


IDS = {"id": {"type": ["string", "integer"]}, "bp": {"const": "e"}}
META = {"name": {"enum": ["process_name", "process_sort_index", "thread_name", "thread_sort_index"]}}
FORMAT = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object", "additionalProperties": TEXT},
        "traceEvents": {
            "type": "array",
            "items": {
                "oneOf": [
                    event("X", ["dur", "args"], dur={"type": "number", "minimum": 0}),
                    event("i", ["s"], s={"enum": ["g", "p", "t"]}),
                    event("C", ["args"], args={"type": "object", "additionalProperties": NUMBER}),
                    event("M", ["args"], **META),
                    *(event(phase, ["id", "cat"], **IDS) for phase in "stf"),
                ]
            },
        },
    },
    "additionalProperties": False,
}
"""The trace event format, JSON object form, as far as it is used: complete slices, instants, counters, flows, names."""


def checked(document):
    """The document's events by phase, after the rules that a schema cannot say."""
    jsonschema.validate(document, FORMAT)
    by_phase = {}
    for one in document["traceEvents"]:
        by_phase.setdefault(one["ph"], []).append(one)
    threads = {}
    for one in sorted(by_phase["X"], key=lambda one: one["ts"]):
        assert threads.get((one["pid"], one["tid"]), 0.0) <= one["ts"] + 1e-6, "slices of a thread do not overlap"
        threads[one["pid"], one["tid"]] = one["ts"] + one["dur"]
    named = {(one["pid"], one["tid"]) for one in by_phase["M"] if one["name"] == "thread_name"}
    assert set(threads) <= named
    flows = {}
    for one in by_phase.get("s", []) + by_phase.get("t", []) + by_phase.get("f", []):
        flows.setdefault(one["id"], []).append(one)
        slices = [x for x in by_phase["X"] if (x["pid"], x["tid"]) == (one["pid"], one["tid"])]
        assert any(x["ts"] <= one["ts"] <= x["ts"] + x["dur"] for x in slices), "an arrow begins and ends in a slice"
    for arrows in flows.values():
        assert sorted(one["ph"] for one in arrows) in (["f", "s"], ["f", "s", "t"])
    return by_phase


@pytest.fixture(scope="module")
def scenario():
    stream = {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80}
    stream |= {"arrivals": {"kind": "poisson", "rate_hz": 20}}
    uplink = {"rate": {"kind": "gauss_markov", "mean_mbps": 9, "sigma_mbps": 5, "step_ms": 100}}
    data = {"schema": "hasten.scenario/1", "streams": [stream], "uplink": uplink, "tasks_per_stream": 30}
    return hs.scenario_from(data, "two")


def test_a_simulated_run(scenario):
    result = hs.simulate(scenario, "greedy")
    shown = trace_document([simulated_round(scenario, result)], {"command": "hasten simulate"})
    events = checked(shown)
    assert {one["args"]["name"] for one in events["M"] if one["name"] == "process_name"} == {"greedy, seed 0"}
    tracks = [one["args"]["name"] for one in events["M"] if one["name"] == "thread_name"]
    assert sorted(tracks) == ["cam-1: device", "cam-2: device", "edge", "uplink"]
    assert len(events["i"]) == (~result.on_time).sum() and len(events["C"]) > 3
    offloaded = (result.decisions[:, 0] > 0) & (result.uplink_bytes > 0)
    device = [one for one in events["X"] if one["cat"].startswith("device")]
    assert 0 < len(events["f"]) <= len(device) == offloaded.sum()
    first = next(one for one in events["X"] if one["name"] == "cam-1 #0")
    i = int((result.stream == 0).argmax())
    assert first["args"] | {"exit": int(result.decisions[i, 0]), "deadline_ms": 80.0} == first["args"]
    assert first["ts"] == pytest.approx(1000 * result.arrival_ms[i], abs=1e-3)


def test_a_run_of_real_processes(tmp_path):
    write_logs(tmp_path)
    (tmp_path / "greedy-0.round.json").write_text(json.dumps(told_round()))
    (shown,) = logged_rounds(tmp_path)
    events = checked(trace_document([shown], {}))
    assert len(events["i"]) == 10 and all(one["name"].endswith("dropped") for one in events["i"])
    mine = [one for one in events["X"] if one["name"] == "cam-1 #1"]
    assert [(one["args"]["stage"], one["ts"], one["dur"]) for one in mine] == [
        ("device", 251e3, 20e3),
        ("encode", 271e3, 1e3),
        ("uplink", 272e3, 10e3),
        ("edge", 282e3, 5e3),
    ]
    assert mine[0]["args"]["deadline_ms"] == 100.0 and mine[0]["args"]["exit"] == 2
    assert len([one for one in events["f"] if one["id"] == events["f"][0]["id"]]) == 1
    assert [one["args"]["rate"] for one in events["C"]] == [4.0, 8.0]


def test_of_several_edges_each_has_tracks_and_rates_of_its_own(tmp_path):
    write_logs(tmp_path)
    told = told_round()
    faster = [{**link, "mbps": [2 * rate for rate in link["mbps"]]} for link in told["links"]]
    told["edges"] = [{"name": "west", "links": told["links"]}, {"name": "east", "links": faster}]
    (tmp_path / "greedy-0.round.json").write_text(json.dumps(told))
    (shown,) = logged_rounds(tmp_path)
    assert sorted(shown.rates) == ["uplink to east", "uplink to west"]
    assert [rate for _, rate in shown.rates["uplink to east"]] == [8.0, 16.0]
    tracks = {stage.track for task in shown.tasks for stage in task.stages}
    assert tracks == {"cam-1: device", "cam-1: uplink to west", "cam-2: device", "cam-2: uplink to west", "west"}


def test_a_single_log_and_what_is_none(tmp_path):
    log = tmp_path / "cam.jsonl"
    log.write_text(json.dumps(logged(0, 0.0, 50.0)) + "\n")
    (shown,) = logged_rounds(log)
    assert shown.name == "cam" and shown.tasks[0].told["latency_ms"] == 50.0
    assert [one.name for one in logged_rounds(tmp_path)] == ["cam"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="hasten run --out"):
        logged_rounds(tmp_path / "none")
    log.write_text("{}\n")
    with pytest.raises(InputError):
        logged_rounds(log)


def test_tasks_that_overlap_get_tracks_of_their_own_and_names_stay_texts(tmp_path):
    def task(number, begin_ms, end_ms):
        stage = StageSlice("uplink", HOSTILE, "uplink", begin_ms, end_ms)
        return TracedTask(f"#{number}", "d", begin_ms, 50.0, "late", [stage], {"stream": HOSTILE})

    shown = TracedRound(HOSTILE, [task(0, 0.0, 10.0), task(1, 5.0, 12.0), task(2, 10.0, 20.0)])
    write_trace(tmp_path / "t.json", [shown, shown], {"command": HOSTILE})
    events = checked(json.loads((tmp_path / "t.json").read_text()))
    tids = [one["tid"] for one in events["X"] if one["pid"] == 1]
    assert tids[0] == tids[2] != tids[1]
    names = {one["args"]["name"] for one in events["M"] if one["name"] == "thread_name"}
    assert names == {HOSTILE, f"{HOSTILE} (2)", "d"}
