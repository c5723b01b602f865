"""What Prometheus can know of an edge: its own counters, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from hasten.core.version import own_version
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.metrics import counter_family, seconds_family

OUTCOMES = ("done", "late", "invalid", "abandoned")
REFUSED = "refused ("
REASONS = {"token": 0, "package": 0, "version": 0}
"""Counted from the beginning, so that their first time is an increase."""


class EdgeMetrics(Collector):
    """A collector for a registry of ``prometheus_client``."""

    def __init__(self, server: EdgeServer) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """All of it, now."""
        core, connections = self._server.core, self._server.connections
        yield from _tasks(core)
        yield from _load(core)
        yield GaugeMetricFamily("hasten_edge_devices", "Devices that are connected.", connections.devices)
        told = "Devices that have connected and were welcomed."
        yield CounterMetricFamily("hasten_edge_connections", told, connections.welcomed)
        told = "Connections that the edge refused or ended, by reason."
        yield counter_family("hasten_edge_ended_connections", told, "reason", REASONS | connections.ended.copy())
        packages = InfoMetricFamily("hasten_edge_package", "The packages in service, and hasten's version.")
        for served in core.services.all:
            name = served.package.manifest.name
            packages.add_metric([], {"package": name, "digest": served.digest.hex(), "version": own_version()})
        yield packages


def _tasks(core: EdgeCore) -> Iterator[Metric]:
    totals = core.totals.copy()
    ended = {kind: totals[kind] for kind in OUTCOMES}
    yield counter_family("hasten_edge_tasks", "Tasks that were taken, by how they ended.", "outcome", ended)
    refused = {kind[len(REFUSED) : -1]: count for kind, count in totals.items() if kind.startswith(REFUSED)}
    refused = {"busy": 0, "quota": 0, **refused}
    yield counter_family("hasten_edge_refused_tasks", "Tasks that were refused, by reason.", "reason", refused)
    told = "Time that tasks which were run had waited."
    yield seconds_family("hasten_edge_task_wait_seconds", told, core.counts.waits.summary())
    told = "Time at work on tasks, decoding and computing."
    yield seconds_family("hasten_edge_task_service_seconds", told, core.counts.services.summary())
    work_s = core.counts.work_ms / 1000.0
    yield CounterMetricFamily("hasten_edge_work_seconds", "Time of workers at work.", work_s)


def _load(core: EdgeCore) -> Iterator[Metric]:
    report = core.report()
    yield GaugeMetricFamily("hasten_edge_waiting_tasks", "Tasks that wait.", report.waiting)
    told = "Predicted work of the worker that is free first, and of what waits before it is."
    yield GaugeMetricFamily("hasten_edge_backlog_seconds", told, min(report.backlog_ms) / 1000.0)
    yield GaugeMetricFamily("hasten_edge_workers", "Tasks that can be run at once.", core.workers)
    busy = sum(backlog_ms > 0.0 for backlog_ms in report.backlog_ms)
    yield GaugeMetricFamily("hasten_edge_busy_workers", "Workers that have something to do.", busy)
