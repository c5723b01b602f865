"""What a run tells of a round, written and read again."""

from __future__ import annotations

import json

import pytest

from hasten.core.errors import InputError
from hasten.core.scenario import scenario_from
from hasten.runtime.local.rounds import RoundFiles, link_facts, log_path, read_round, round_facts

STREAM = {"name": "cam", "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 10}}


def scenario(**rate):
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [STREAM | {"count": 2}],
            "uplink": {"topology": "dedicated", "rate": {"kind": "constant", "mbps": 8} | rate},
            "tasks_per_stream": 20,
        }
    )


def test_a_round_reads_as_it_was_told(tmp_path):
    run = scenario()
    told = round_facts(run, "device-only:deepest", run.realize(3), tmp_path, 1000.0)
    files = RoundFiles(tmp_path, "round")
    files.begin(told)
    assert read_round(tmp_path / "round.round.json") == told
    assert [stream.log for stream in told.streams] == [
        log_path(tmp_path, "device-only:deepest", 3, name).name for name in ("cam-1", "cam-2")
    ]
    profile = run.devices[0].profile
    assert all(accuracy == profile.accuracy(e, p) for e, p, accuracy in told.streams[0].accuracy)
    assert len(told.streams[0].accuracy) == sum(exit_.after_block + 1 for exit_ in profile.exits)
    files.event("edge_ended", "the edge has ended")
    files.end()
    assert read_round(tmp_path / "round.round.json").ended
    (line,) = (tmp_path / "round.events.log").read_text().splitlines()
    assert json.loads(line)["text"] == "the edge has ended"
    files.begin(told)
    assert not (tmp_path / "round.events.log").exists()


def test_links_have_the_realization_s_rates():
    rate = {"kind": "gauss_markov", "mean_mbps": 8, "sigma_mbps": 3, "step_ms": 100}
    run = scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [STREAM],
            "uplink": {"rate": rate},
            "tasks_per_stream": 20,
        }
    )
    realization = run.realize(0)
    (link,) = link_facts(run, realization, 0)
    trace = link.trace()
    for at_ms in (0.0, 150.0, 999.0):
        assert trace.at(at_ms) == pytest.approx(realization.rates[0].at(at_ms))


def test_rates_without_a_step_each_are_refused(tmp_path):
    run = scenario()
    told = round_facts(run, "greedy", run.realize(0), tmp_path, 0.0).model_dump(by_alias=True)
    told["links"][0]["mbps"] = []
    (tmp_path / "x.round.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="a rate for each step"):
        read_round(tmp_path / "x.round.json")
