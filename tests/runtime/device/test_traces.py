"""One trace per task: its spans are those of the task's own times, in order, over device, link and edge."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import hasten as hs
from hasten.core.errors import InputError
from hasten.runtime.device.command import DeviceStream, run_device
from hasten.runtime.device.prepared import DevicePlan
from hasten.runtime.device.traces import open_traces

AT_EDGE = ["edge.queue", "edge.decode", "edge.compute"]


@pytest.fixture
def spans():
    """A provider, and what it was given."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter.get_finished_spans


def test_a_task_is_one_trace_over_device_link_and_edge(package, spans, tmp_path):
    provider, finished = spans
    log = tmp_path / "log.jsonl"
    with (
        hs.Edge([package], port=0) as edge,
        hs.Device(package, edge.address, "fixed:2,1", deadline_ms=5000.0, log=log, otel=provider) as device,
    ):
        answer = device.infer(package.samples()[0][0])
    assert answer.ran_on == "split"
    (line,) = map(json.loads, log.read_text().splitlines())
    named = {span.name: span for span in finished()}
    task, link, there = named["hasten.task"], named["hasten.link"], named["hasten.edge"]
    assert len({span.context.trace_id for span in named.values()}) == 1 and len(named) == len(finished())
    assert task.parent is None and task.status.status_code is not StatusCode.ERROR
    told = dict(task.attributes)
    assert (told["hasten.exit"], told["hasten.partition"], told["hasten.outcome"]) == (2, 1, "on_time")
    assert told["hasten.package"] == "tiny" and told["hasten.uplink_bytes"] == line["bytes"]
    assert (link.kind, there.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert link.parent.span_id == task.context.span_id and there.parent.span_id == link.context.span_id

    def length_ms(name):
        span = named.get(name)
        return (span.end_time - span.start_time) / 1e6 if span else 0.0

    parts = {"device.compute": "device", "device.encode": "encode", "link.up": "uplink", "link.down": "downlink"}
    parts |= {"edge.queue": "edge_queue", "edge.decode": "decode", "edge.compute": "edge"}
    for name, part in parts.items():
        assert length_ms(name) == pytest.approx(line["parts"][part], abs=1e-3), name
    assert length_ms("hasten.task") == pytest.approx(line["latency_ms"], abs=1e-3)
    assert length_ms("hasten.edge") == pytest.approx(sum(line["parts"][parts[name]] for name in AT_EDGE), abs=1e-3)
    inside = [named[name] for name in ("device.compute", "device.encode", "link.up", *AT_EDGE) if name in named]
    assert all(before.end_time <= after.start_time for before, after in itertools.pairwise(inside))
    assert task.start_time <= inside[0].start_time and link.end_time <= task.end_time + 1_000_000


def test_what_was_not_in_time_is_an_error_with_its_reason(package, spans):
    provider, finished = spans
    with hs.Device(package, "127.0.0.1:9", "edge-only", deadline_ms=5000.0, otel=provider) as device:
        assert device.infer(package.samples()[0][0]).fallback == "unreachable"
        assert not device.infer(package.samples()[0][0], deadline_ms=1e-3).on_time
    first, second = [span for span in finished() if span.name == "hasten.task"]
    assert [event.attributes["hasten.fallback"] for event in first.events] == ["unreachable"]
    assert first.status.status_code is not StatusCode.ERROR
    assert second.status.status_code is StatusCode.ERROR
    assert second.attributes["hasten.reason"] == "expired"
    assert not any(span.name in ("hasten.link", "hasten.edge") for span in finished())


class Collector(HTTPServer):
    """Takes what is sent, and gives up nothing."""

    def __init__(self):
        self.requests = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


def test_a_collector_is_sent_two_services(package, monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, daemon=True)
    thread.start()
    try:
        with hs.Edge([package], port=0) as edge:
            otel = f"http://127.0.0.1:{collector.server_port}"
            plan = DevicePlan(edge=edge.address, scheduler="edge-only", deadline_ms=5000.0, otel=otel)
            stream = DeviceStream(arrivals="periodic:100", tasks=5)
            run_device(package.path, plan, stream, on_note=lambda text: None)
    finally:
        collector.shutdown()
        collector.server_close()
    names = {}
    for path, request in collector.requests:
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            (service,) = [it.value.string_value for it in resource.resource.attributes if it.key == "service.name"]
            names.setdefault(service, []).extend(span.name for scope in resource.scope_spans for span in scope.spans)
    assert names["hasten-device"].count("hasten.task") == 5
    assert names["hasten-edge"].count("hasten.edge") == 5
    assert not any(name.startswith("edge.") for name in names["hasten-device"])


def test_a_collector_that_is_not_there_costs_one_line(package):
    notes = []
    plan = DevicePlan(deadline_ms=5000.0, otel="http://me:secret@127.0.0.1:9/")
    result = run_device(package.path, plan, DeviceStream(arrivals="periodic:100", tasks=3), on_note=notes.append)
    assert result.tasks == 3
    assert len([note for note in notes if "traces cannot be sent to http://127.0.0.1:9/v1/traces" in note]) == 1


def test_an_address_that_is_none_is_refused():
    with pytest.raises(InputError, match="expected http://HOST:PORT"):
        open_traces("localhost:4318", print)
