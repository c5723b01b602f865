"""The counters of an edge and a device as they run, their names, and the dashboard that asks for them."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import hasten as hs
from hasten.runtime.device.metrics import DeviceMetrics
from hasten.runtime.edge.counts import EdgeCounts

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "hasten.json"


@pytest.fixture(scope="module")
def families(package):
    """Name -> family, as both sides tell them after five tasks at the edge."""
    with (
        hs.Edge([package], port=0, metrics="127.0.0.1:0") as edge,
        hs.Device(package, edge.address, "edge-only", deadline_ms=5000.0) as device,
    ):
        for frame in package.samples()[0][:5]:
            assert device.infer(frame).ran_on == "edge"
        registry = CollectorRegistry()
        registry.register(DeviceMetrics(device.stats))
        text = generate_latest(registry).decode()
        with urllib.request.urlopen(edge.addresses["metrics"], timeout=10) as got:
            text += got.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family):
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


def test_an_edge_tells_what_it_did(families, package):
    tasks = values(families["hasten_edge_tasks"])
    assert tasks["hasten_edge_tasks_total", "done"] >= 5 and tasks["hasten_edge_tasks_total", "late"] == 0
    for name in ("hasten_edge_task_wait_seconds", "hasten_edge_task_service_seconds"):
        assert values(families[name])[f"{name}_count",] == tasks["hasten_edge_tasks_total", "done"]
    service_s = values(families["hasten_edge_task_service_seconds"])["hasten_edge_task_service_seconds_sum",]
    assert 0 < service_s < 5
    work_s = values(families["hasten_edge_work_seconds"])["hasten_edge_work_seconds_total",]
    assert work_s == pytest.approx(service_s)  # one at a time
    assert values(families["hasten_edge_devices"]) == {("hasten_edge_devices",): 1}
    assert values(families["hasten_edge_connections"]) == {("hasten_edge_connections_total",): 1}
    assert values(families["hasten_edge_workers"]) == {("hasten_edge_workers",): 1}
    (info,) = families["hasten_edge_package_info"].samples
    assert info.labels == {"package": "tiny", "digest": package.digest, "version": hs.__version__}


def test_a_device_tells_what_it_did(families):
    assert values(families["hasten_device_tasks"])["hasten_device_tasks_total", "on_time"] == 5
    assert values(families["hasten_device_answers"])["hasten_device_answers_total", "edge"] == 5


def test_names_keep_the_conventions(families):
    ours = [family for name, family in families.items() if name.startswith("hasten_")]
    assert len(ours) >= 15
    for family in ours:
        assert re.fullmatch(r"hasten_(edge|device)(_[a-z]+)+", family.name)
        assert not re.search(r"_(ms|us|kb|percent)(_|$)", family.name), "base units"
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_the_dashboard_asks_for_what_there_is(families):
    known = {sample.name: set(sample.labels) for family in families.values() for sample in family.samples}
    page = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in page["panels"] for target in panel.get("targets", [])]
    asked += [entry["definition"] for entry in page["templating"]["list"] if "definition" in entry]
    used = set()
    for query in asked:
        names = set(re.findall(r"\b(?:hasten|process)_\w+", query))
        assert names and names <= set(known), query
        for name, selector in re.findall(r"(\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)=", selector)) <= known[name] | {"instance"}, query
        labels = set().union(*(known[name] for name in names))
        assert set(re.findall(r"by \((\w+)\)", query)) <= labels | {"instance"}, query
        used |= names
    bases = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in used}
    assert {name for name in families if name.startswith("hasten_")} <= bases, "what nobody looks at"


def test_the_dashboard_is_laid_out_without_overlaps():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells


def test_tasks_that_are_run_together_are_work_once():
    counts = EdgeCounts()
    counts.ran(1.0, 10.0)
    for _ in range(4):
        counts.ran(1.0, 16.0, 0.25)
    assert counts.work_ms == 26.0
    assert counts.services.summary().sum_ms == 74.0
