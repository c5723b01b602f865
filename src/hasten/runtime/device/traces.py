"""Traces of tasks for OpenTelemetry: one trace each, over device, link and edge.

The device writes all of it when a task has ended, from the times that it measured itself and those that came with the
edge's answer. So nothing travels for it, an edge needs no configuration, and its part is there without its own clock.
Spans are made in a thread of their own, for they take longer than most decisions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, TracerProvider, set_span_in_context
from opentelemetry.util.types import AttributeValue

from hasten.core.errors import InputError
from hasten.core.version import own_version
from hasten.runtime.device.tasks import Outcome, Task
from hasten.runtime.pace import now_ms

MOST_WAITING = 1000
"""So many ended tasks wait for their spans; what comes beyond has none."""
CLOSING_S = 2.0
"""So long spans may take to be sent; a collector that is not there by then has missed them."""
AT_DEVICE = {
    "wake": "device.wake",
    "decide": "device.decide",
    "device_queue": "device.queue",
    "device": "device.compute",
    "encode": "device.encode",
}
AT_EDGE = {"edge_queue": "edge.queue", "decode": "edge.decode", "edge": "edge.compute"}
"""Parts of a task, as its log names them, in the order of time."""


class _Ended(NamedTuple):
    """What is kept of a task until its spans are made. Times are nanoseconds of the system's clock."""

    began_ns: int
    sent_ns: int
    ended_ns: int
    parts: Mapping[str, float]
    attributes: dict[str, AttributeValue]
    outcome: Outcome
    fallback: str | None


class TaskTraces:
    """Makes the spans of one device's tasks.

    Args:
        device: makes those of the device.
        edge: those of the edge; two tracers, so that each can be of its own service.
        on_close: sends what is left.
    """

    def __init__(self, device: Tracer, edge: Tracer, on_close: Callable[[], None]) -> None:
        self._device, self._edge, self._on_close = device, edge, on_close
        self._waiting: queue.Queue[_Ended | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def ended(self, task: Task, package: str) -> None:
        """A task of this package has ended; does not wait."""
        try:
            self._waiting.put_nowait(_noted(task, package))
        except queue.Full:
            return

    def close(self) -> None:
        """Make and send what waits, for a moment."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=CLOSING_S)
            self._thread.join(CLOSING_S)
        self._on_close()

    def _run(self) -> None:
        while (ended := self._waiting.get()) is not None:
            self._make(ended)

    def _make(self, ended: _Ended) -> None:
        task = self._device.start_span(
            "hasten.task", Context(), SpanKind.INTERNAL, ended.attributes, start_time=ended.began_ns
        )
        inside = set_span_in_context(task, Context())
        _row(self._device, inside, ended.began_ns, ended.parts, AT_DEVICE)
        if "uplink" in ended.parts:
            self._make_away(inside, ended)
        if ended.fallback is not None:
            task.add_event("fallback", {"hasten.fallback": ended.fallback}, ended.ended_ns)
        if ended.outcome is not Outcome.ON_TIME:
            task.set_status(Status(StatusCode.ERROR, ended.outcome.value))
        task.end(ended.ended_ns)

    def _make_away(self, inside: Context, ended: _Ended) -> None:
        """The link's and the edge's."""
        parts, sent_ns = ended.parts, ended.sent_ns
        link = self._device.start_span("hasten.link", inside, SpanKind.CLIENT, start_time=sent_ns)
        away = set_span_in_context(link, Context())
        there_ns = _row(self._device, away, sent_ns, parts, {"uplink": "link.up"})
        edge = self._edge.start_span("hasten.edge", away, SpanKind.SERVER, start_time=there_ns)
        done_ns = _row(self._edge, set_span_in_context(edge, Context()), there_ns, parts, AT_EDGE)
        edge.end(done_ns)
        link.end(_row(self._device, away, done_ns, parts, {"downlink": "link.down"}))


def _row(tracer: Tracer, inside: Context, at_ns: int, parts: Mapping[str, float], names: Mapping[str, str]) -> int:
    """Spans of parts, one after another; returns when the last ends."""
    for part, name in names.items():
        if parts.get(part, 0.0) > 0.0:
            span = tracer.start_span(name, inside, start_time=at_ns)
            at_ns += _ns(parts[part])
            span.end(at_ns)
    return at_ns


def _noted(task: Task, package: str) -> _Ended:
    assert task.outcome is not None and task.reason is not None  # it has ended
    ahead_ns = time.time_ns() - _ns(now_ms())
    ended_ms = task.finish_ms if task.answered else now_ms()
    known: dict[str, AttributeValue | None] = {
        "hasten.package": package,
        "hasten.task": task.number,
        "hasten.exit": task.answered_exit or task.exit,
        "hasten.partition": task.answered_partition if task.answered else task.partition,
        "hasten.deadline_ms": task.deadline_ms,
        "hasten.outcome": task.outcome.value,
        "hasten.reason": task.reason.value,
        "hasten.fallback": task.fallback.value if task.fallback else None,
        "hasten.note": task.note,
        "hasten.uplink_bytes": task.wire_bytes or None,
    }
    return _Ended(
        ahead_ns + _ns(task.arrived_ms),
        ahead_ns + (_ns(task.sent_ms) if "uplink" in task.parts else 0),
        ahead_ns + _ns(ended_ms),
        dict(task.parts),
        {name: value for name, value in known.items() if value is not None},
        task.outcome,
        task.fallback.value if task.fallback else None,
    )


def _ns(milliseconds: float) -> int:
    return int(milliseconds * 1e6)


def open_traces(otel: str | TracerProvider, note: Callable[[str], None]) -> TaskTraces:
    """Traces to an OTLP endpoint, or by a provider of the program's own, which then sees both services as one.

    Args:
        otel: ``http://HOST:PORT`` of a collector, with a path if it is another than ``/v1/traces``; or a provider.
        note: told once, in words, when spans cannot be sent.

    Raises:
        InputError: that is no address.
    """
    if not isinstance(otel, str):
        tracer = otel.get_tracer("hasten", own_version())
        return TaskTraces(tracer, tracer, lambda: None)
    if not otel.startswith(("http://", "https://")):
        raise InputError("device", "otel", otel, "http://HOST:PORT of a collector, for example http://localhost:4318")
    url = otel if urlsplit(otel).path.strip("/") else f"{otel.rstrip('/')}/v1/traces"
    parts = urlsplit(url)
    trouble = _Trouble(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), note)  # without a password
    services = os.environ.get("OTEL_SERVICE_NAME", "hasten-device"), "hasten-edge"
    providers = [_provider(service, url) for service in services]

    def close() -> None:
        ending = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(CLOSING_S)
        logging.getLogger("opentelemetry").removeHandler(trouble)

    logging.getLogger("opentelemetry").addHandler(trouble)
    device, edge = (provider.get_tracer("hasten", own_version()) for provider in providers)
    return TaskTraces(device, edge, close)


def _provider(service: str, url: str) -> SdkTracerProvider:
    resource = Resource.create({"service.name": service, "service.version": own_version()})
    provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=CLOSING_S)))
    return provider


class _Trouble(logging.Handler):
    """Hears what the exporter has to say, and tells it once."""

    def __init__(self, where: str, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._where, self._note, self._told = where, note, False

    def emit(self, record: logging.LogRecord) -> None:
        """Something is wrong."""
        if not self._told:
            self._told = True
            self._note(f"traces cannot be sent to {self._where} ({record.getMessage()[:200]}); tasks go on")
