"""Scenarios whose devices choose among several edges: what is accepted, what refused, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hasten.core.edge_batches import BY_ITSELF
from hasten.core.errors import InputError
from hasten.core.limits import MAX_RATE_STEPS
from hasten.core.scenario import Scenario, load_scenario, scenario_from
from hasten.sim.edge_batches import pack_batches

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "two-edges.yaml"


def way(name: str, edge: dict[str, Any] | None = None, **uplink: Any) -> dict[str, Any]:
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 3}
    return {"name": name, "uplink": {"rate": rate, **uplink}, **({} if edge is None else {"edge": edge})}


def document(**changes: Any) -> dict[str, Any]:
    arrivals = {"kind": "poisson", "rate_hz": 15}
    stream = {"name": "cam", "count": 2, "profile": "alexnet-pi", "deadline_ms": 80, "arrivals": arrivals}
    return {"schema": "hasten.scenario/1", "streams": [stream], "tasks_per_stream": 5} | changes


def of(*edges: dict[str, Any], **changes: Any) -> Scenario:
    return scenario_from(document(edges=list(edges), **changes))


def test_each_edge_has_its_own_way_machine_and_links() -> None:
    near = way("near", rtt_ms=2)
    far = way("far", {"workers": 3, "slowdown": 2.0}, topology="dedicated", rtt_ms=9)
    scenario = of(near, far)
    assert [edge.name for edge in scenario.every_edge] == ["near", "far"]
    assert (scenario.uplink.rtt_ms, scenario.every_edge[1].uplink.rtt_ms) == (2.0, 9.0)
    assert scenario.links.tolist() == [[0, 0], [1, 2]]
    options = scenario.options
    there = {e: options.edge_ms[0, options.edge[0] == e] for e in (0, 1)}
    sent = there[0][there[0] > 0]
    np.testing.assert_allclose(there[1], 2.0 * sent)
    last = options.index(0, 3, 1, edge=1)
    assert (options.exit[0, last], options.partition[0, last], options.edge[0, last]) == (3, 1, 1)
    local = np.flatnonzero(options.payload_bits[0] == 0)
    assert not options.edge[0, local].any() and len(set(options.exit[0, local])) == len(local)


def test_links_are_drawn_one_by_one_and_those_of_the_first_edge_as_if_it_were_alone() -> None:
    first, second = way("a"), way("b", topology="dedicated")
    alone, both = of(first).realize(3), of(first, second).realize(3)
    np.testing.assert_array_equal(alone.rates[0].bits_per_ms, both.rates[0].bits_per_ms)
    assert len(both.rates) == 3
    drawn = [tuple(rate.bits_per_ms[:5]) for rate in both.rates]
    assert len(set(drawn)) == 3
    np.testing.assert_array_equal(alone.arrival_ms, both.arrival_ms)


def test_one_entry_is_the_same_as_none() -> None:
    entry = way("only", {"workers": 2}, rtt_ms=3)
    listed, plain = of(entry), scenario_from(document(uplink=entry["uplink"], edge=entry["edge"]))
    assert (listed.uplink, listed.edge) == (plain.uplink, plain.edge)
    listed.need_one_edge("this")
    assert plain.links.tolist() == listed.links.tolist() == [[0, 0]]


def test_what_was_written_can_be_read() -> None:
    several, plain = of(way("a"), way("b")), scenario_from(document(uplink=way("a")["uplink"]))
    again = scenario_from(several.model_dump(mode="json", by_alias=True))
    assert again.edges == several.edges and again.uplink == several.uplink
    assert scenario_from({**document(), "edges": several.edges}).uplink == several.uplink
    assert "edges" not in plain.model_dump() and "uplink" not in several.model_dump()


def test_devices_that_see_by_themselves_make_every_way_one_of_ready_order() -> None:
    scenario = of(way("a"), way("b"), view={"kind": "device"})
    assert {edge.uplink.order for edge in scenario.every_edge} == {"ready"} == {scenario.uplink.order}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges": []}, ["edges", "at least 1"]),
        ({"edges": [way("a"), way("a")]}, ["different names for the edges", "'a'"]),
        ({"edges": [way("a")], "uplink": way("a")["uplink"]}, ["either edges or uplink"]),
        ({"edges": [way("a")], "edge": {"workers": 2}}, ["either edges or edge"]),
        ({"edges": [{"name": "a"}]}, ["edges[0].uplink", "present"]),
        ({"edges": [way("a"), way("b", order="ready")]}, ["edges[1].uplink.order", "grant"]),
        ({"edges": [way("a"), way("b")], "view": {"age_ms": 5}}, ["view.age_ms", "several edges"]),
        ({"edges": [way("a"), way("b")], "confidence": {"max_accuracy_loss": 0.1}}, ["confidence", "several edges"]),
        ({"edges": [way(f"e{i}") for i in range(65)]}, ["edges", "64"]),
        ({"edges": [way("a"), {**way("b"), "edge": {"workers": 0}}]}, ["edges[1].edge.workers", "0"]),
        ({}, ["uplink", "present"]),
    ],
)
def test_a_wrong_choice_of_edges_is_refused_in_one_line(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        scenario_from(document(**changes))
    message = str(refused.value)
    assert "\n" not in message and all(word in message for word in words)


def test_the_steps_of_all_links_count_together() -> None:
    rate = {"kind": "gauss_markov", "mean_mbps": 10, "sigma_mbps": 3, "step_ms": 1.0}
    edges = [{"name": name, "uplink": {"rate": rate}} for name in ("a", "b")]
    span_ms = 0.6 * MAX_RATE_STEPS
    slow = {**document()["streams"][0], "arrivals": {"kind": "poisson", "rate_hz": 0.01}}
    changes = {"streams": [slow], "tasks_per_stream": None, "horizon_ms": span_ms}
    assert scenario_from(document(edges=edges[:1], **changes)).horizon_ms == span_ms
    with pytest.raises(InputError, match=r"edges\[1\]\.uplink\.rate\.step_ms"):
        scenario_from(document(edges=edges, **changes))


def test_a_part_that_knows_one_edge_says_so() -> None:
    with pytest.raises(InputError, match=r"edges: got \['a', 'b'\], expected one edge: a timeline knows no choice"):
        of(way("a"), way("b")).need_one_edge("a timeline")


def test_between_the_two_edges_of_the_example_one_is_always_near() -> None:
    scenario = load_scenario(EXAMPLE)
    west, east = scenario.realize(0).rates
    times = np.arange(0.0, 60_000.0, 500.0)
    mbps = np.array([[link.at(now) / 1000.0 for now in times] for link in (west, east)])
    assert (mbps.max(axis=0) > 2.0).all()  # never without any link
    assert (mbps == 0.0).any(axis=1).all()  # each is lost for a while
    assert mbps[0, 0] > 10.0 and mbps[1, 60] > 10.0


def batching_document(folder: Path, batches: list[dict[str, Any]] | None, **changes: Any) -> dict[str, Any]:
    """As :func:`document`, of an edge that runs up to 3 tasks at once; options of exit 1 at partition 0 are measured."""
    profile = {
        "schema": "hasten.profile/1", "name": "tiny", "source": "made up", "input_bytes": 1000,
        "blocks": [{"name": "b", "device_ms": 10, "edge_ms": 1, "output_bytes": 500}],
        "exits": [{"name": "e", "after_block": 1, "accuracy": 0.9, "device_ms": 1, "edge_ms": 0.1}],
    } | ({} if batches is None else {"edge_batches": batches})  # fmt: skip
    (folder / "tiny.json").write_text(json.dumps(profile))
    stream = document()["streams"][0] | {"profile": str(folder / "tiny.json")}
    uplink, edge = way("near")["uplink"], {"batch": 3}
    given = document(streams=[stream], uplink=uplink, edge=edge, view={"kind": "device"}) | changes
    return {name: value for name, value in given.items() if value is not None}


MEASURED = [{"exit": 1, "partition": 0, "sizes": [1, 2, 4], "ms": [1.0, 1.5, 2.5]}]


def test_an_edge_that_batches_runs_up_to_so_many_at_once(tmp_path: Path) -> None:
    scenario = scenario_from(batching_document(tmp_path, MEASURED))
    batches = pack_batches(scenario, scenario.options)
    offloaded = scenario.options.payload_bits > 0
    assert (batches.kind[offloaded] == 0).all() and (batches.kind[~offloaded] == BY_ITSELF).all()
    assert batches.times.sizes.tolist() == [[1, 2]] and batches.times.factors.tolist() == [[1.0, 1.5]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"view": {"kind": "fresh"}}, r"view\.kind device with edge\.batch"),
        ({"edge": {"batch": 0}}, r"edge\.batch"),
        (
            {"uplink": None, "edge": None, "edges": [way("a"), way("b", {"batch": 2})]},
            r"edge\.batch 1 with several edges",
        ),
    ],
)
def test_edges_that_cannot_batch_are_refused(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        scenario_from(batching_document(tmp_path, MEASURED, **changes))


@pytest.mark.parametrize("batches", [None, [MEASURED[0] | {"sizes": [1, 4], "ms": [1.0, 2.5]}]])
def test_batches_that_nobody_measured_are_refused(tmp_path: Path, batches: list[dict[str, Any]] | None) -> None:
    with pytest.raises(InputError, match=r"edge\.batch: got 3, expected 1: no profile has times of so few at once"):
        scenario_from(batching_document(tmp_path, batches))
