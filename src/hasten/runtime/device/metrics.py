"""What Prometheus can know of a device: its own counters, read when asked for.

In a program of yours: ``prometheus_client.REGISTRY.register(DeviceMetrics(device.stats))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hasten.runtime.device.stats import DeviceStats
from hasten.runtime.metrics import counter_family, seconds_family


class DeviceMetrics(Collector):
    """A collector for a registry of ``prometheus_client``; ``stats`` gives the counters."""

    def __init__(self, stats: Callable[[], DeviceStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """All of it, now."""
        stats = self._stats()
        outcomes = {name: getattr(stats, name) for name in ("on_time", "late", "dropped", "invalid")}
        yield counter_family("hasten_device_tasks", "Tasks by how they ended.", "outcome", outcomes)
        places = {"device": stats.on_device, "split": stats.split, "edge": stats.on_edge}
        yield counter_family("hasten_device_answers", "Answers by where they were computed.", "ran_on", places)
        told = "Tasks that the device finished otherwise than was decided."
        yield CounterMetricFamily("hasten_device_fallbacks", told, stats.fallbacks)
        yield CounterMetricFamily("hasten_device_uplink_bytes", "Bytes of frames to the edge.", stats.uplink_bytes)
        told = "Time from arrival to answer."
        yield seconds_family("hasten_device_task_latency_seconds", told, stats.latencies)
        told = "Whether there is a connection to an edge."
        yield GaugeMetricFamily("hasten_device_edge_connected", told, stats.edge_connected)
        answers = {edge.name: edge.answers for edge in stats.edges}
        yield counter_family("hasten_device_edge_answers", "Answers by the edge that gave them.", "edge", answers)
        told = "Whether there is a connection to each edge."
        up = GaugeMetricFamily("hasten_device_edge_up", told, labels=["edge"])
        for edge in stats.edges:
            up.add_metric([edge.name], edge.connected)
        yield up
        told = "Whether the scheduler has failed; Greedy has decided since."
        yield GaugeMetricFamily("hasten_device_scheduler_failed", told, stats.scheduler_failure is not None)
