"""Counters served to Prometheus: read by its own client's parser, with names as its conventions have them."""

from __future__ import annotations

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from hasten.core.errors import InputError
from hasten.runtime.device.answers import Answer
from hasten.runtime.device.metrics import DeviceMetrics
from hasten.runtime.device.stats import Counters
from hasten.runtime.latency_counts import BOUNDS_MS, LatencyCounts
from hasten.runtime.metrics import MetricsServer, counter_family, seconds_family
from hasten.runtime.place import ListenPlace, parse_place


def scraped(server):
    """(name, labels as pairs) -> value of every sample."""
    with urllib.request.urlopen(f"http://{server.place}/metrics", timeout=10) as got:
        text = got.read().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Given(Collector):
    def __init__(self):
        self.latencies = LatencyCounts()
        self.counts = {"a": 1}

    def collect(self):
        yield counter_family("given_things", "Things.", "kind", self.counts)
        yield seconds_family("given_wait_seconds", "Waits.", self.latencies.summary())


def test_counters_are_read_when_asked_for():
    given = Given()
    server = MetricsServer(ListenPlace("127.0.0.1", 0), [given])
    try:
        assert scraped(server)["given_things_total", ("kind", "a")] == 1
        for wait_ms in (0.5, 1.0, 1.5, 90_000.0):
            given.latencies.add(wait_ms)
        given.counts["a"] = 7
        found = scraped(server)
        assert found["given_things_total", ("kind", "a")] == 7
        upto = {bound: found["given_wait_seconds_bucket", ("le", str(bound / 1000.0))] for bound in BOUNDS_MS}
        assert [upto[1.0], upto[2.0], upto[5000.0]] == [2, 3, 3]
        assert found["given_wait_seconds_bucket", ("le", "+Inf")] == found["given_wait_seconds_count",] == 4
        assert found["given_wait_seconds_sum",] == pytest.approx(90.003)
        assert found["process_resident_memory_bytes",] > 1e6
        with pytest.raises(InputError, match="free port"):
            MetricsServer(server.place, [])
    finally:
        server.close()
    MetricsServer(server.place, []).close()  # the port is free again


def test_a_device_counts_its_answers():
    counters = Counters()
    answer = {"reason": "answered", "number": 0, "deadline_ms": 80.0}
    counters.answered(Answer(outcome="on_time", latency_ms=12.0, exit=1, ran_on="edge", edge="a:1", **answer), 1000)
    counters.answered(Answer(outcome="late", latency_ms=95.0, exit=1, ran_on="device", fallback="lost", **answer), 500)
    counters.answered(Answer(outcome="dropped", latency_ms=float("inf"), **{**answer, "reason": "expired"}), 0)
    families = {
        family.name: family
        for family in DeviceMetrics(lambda: counters.stats({"a:1": False, "b:2": True}, "it raised")).collect()
    }

    def values(name):
        return {tuple(sample.labels.values()): sample.value for sample in families[name].samples}

    assert values("hasten_device_tasks") == {("on_time",): 1, ("late",): 1, ("dropped",): 1, ("invalid",): 0}
    assert values("hasten_device_answers") == {("device",): 1, ("split",): 0, ("edge",): 1}
    assert values("hasten_device_fallbacks") == {(): 1}
    assert values("hasten_device_uplink_bytes") == {(): 1500}
    assert values("hasten_device_edge_connected") == values("hasten_device_scheduler_failed") == {(): 1}
    assert values("hasten_device_edge_answers") == {("a:1",): 1, ("b:2",): 0}
    assert values("hasten_device_edge_up") == {("a:1",): 0, ("b:2",): 1}
    latency = values("hasten_device_task_latency_seconds")
    assert latency["0.01",] == 0 and latency["0.02",] == 1 and latency["+Inf",] == 2
    assert latency[()] == pytest.approx(0.107)


@pytest.mark.parametrize("given", ["", "host", "host:", "70000", "-1", "1.5", "::1", "a:b:1"])
def test_what_is_no_place_is_refused(given):
    with pytest.raises(InputError, match=r"--metrics.*expected \[HOST:\]PORT"):
        parse_place(given, "--metrics")


def test_places_are_read_as_written():
    assert parse_place("9464", "--metrics") == ListenPlace("127.0.0.1", 9464)
    assert parse_place("0.0.0.0:1", "--metrics") == ListenPlace("0.0.0.0", 1)
    assert parse_place("[::1]:9464", "--metrics") == ListenPlace("::1", 9464)
    assert str(ListenPlace("::1", 9464)) == "[::1]:9464"
