"""Serves counters to Prometheus, in a thread of its own. They are read when somebody asks, at no other time.

Answers are given one after another, so however many ask, that is one thread; one who is silent for long is let go.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Mapping
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from hasten.core.errors import InputError
from hasten.runtime.latency_counts import BOUNDS_MS, LatencySummary
from hasten.runtime.place import ListenPlace

SILENCE_S = 5.0


def counter_family(name: str, told: str, label: str, counts: Mapping[str, float]) -> CounterMetricFamily:
    """A counter with one label; Prometheus adds ``_total``."""
    family = CounterMetricFamily(name, told, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def seconds_family(name: str, told: str, latencies: LatencySummary) -> HistogramMetricFamily:
    """A histogram, in seconds."""
    bounds = [*(str(bound / 1000.0) for bound in BOUNDS_MS), "+Inf"]
    buckets = list(zip(bounds, latencies.upto, strict=True))
    return HistogramMetricFamily(name, told, buckets=buckets, sum_value=latencies.sum_ms / 1000.0)


class MetricsServer:
    """Collectors, and this process's memory, processor time and files, at ``http://HOST:PORT/metrics``.

    Attributes:
        place: where it listens.

    Raises:
        InputError: the port is taken, or the host has no address here.
    """

    def __init__(self, place: ListenPlace, collectors: Iterable[Collector]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        for collector in collectors:
            self.registry.register(collector)
        try:
            self._server = _server(place)
        except OSError as error:
            raise InputError("metrics", "port", str(place), f"a free port of this machine ({error.strerror})") from None
        self._server.set_app(make_wsgi_app(self.registry))
        self.place = ListenPlace(place.host, int(self._server.server_port))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._thread.join(1.0)
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""


def _server(place: ListenPlace) -> WSGIServer:
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]

    class Server(ThreadingMixIn, WSGIServer):  # one who asks slowly keeps nobody waiting
        daemon_threads, block_on_close = True, False
        address_family = found[0]

        def server_bind(self) -> None:
            """As the base class does, but without asking the name service what this address is called."""
            TCPServer.server_bind(self)
            self.server_name, self.server_port = place.host, self.server_address[1]
            self.setup_environ()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """One who asked has gone: no news either."""

    return Server((str(found[4][0]), place.port), _Handler)
