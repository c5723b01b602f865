"""Counters of one device, kept answer by answer and read from any thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hasten.runtime.device.answers import Answer
from hasten.runtime.latency_counts import LatencyCounts, LatencySummary


@dataclass(frozen=True, slots=True)
class EdgeStats:
    """What one of a device's edges did for it so far."""

    name: str
    """``HOST:PORT``"""
    connected: bool
    answers: int


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """What became of a device's frames so far."""

    frames: int = 0
    """Taken, each of which gets one answer."""
    under_way: int = 0
    """Of these, without one yet."""
    on_time: int = 0
    late: int = 0
    dropped: int = 0
    """Withdrawn and superseded ones included."""
    invalid: int = 0
    superseded: int = 0
    """Dropped because a newer frame took their place in a stream."""
    withdrawn: int = 0
    """Dropped because the caller cancelled their future."""
    on_device: int = 0
    """Answered by the device alone,"""
    split: int = 0
    """by both,"""
    on_edge: int = 0
    """or by the edge alone."""
    fallbacks: int = 0
    """Finished here otherwise than was decided."""
    uplink_bytes: int = 0
    latencies: LatencySummary = LatencyCounts().summary()  # noqa: RUF009  # a plain tuple
    """Of those with an answer, from arrival to answer."""
    edge_connected: bool = False
    """Whether there is a connection to any edge."""
    edges: tuple[EdgeStats, ...] = ()
    """Of each edge in the order given; after them those that have answered and are not in use any more."""
    scheduler_failure: str | None = None
    """What the scheduler did wrong, if it did; Greedy has decided since."""


_PLACES = {"device": "on_device", "split": "split", "edge": "on_edge"}


class Counters:
    """Counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._latencies = LatencyCounts()
        self._by_edge: Counter[str] = Counter()

    def taken(self) -> None:
        """A frame was taken."""
        with self._lock:
            self._counts["frames"] += 1

    def answered(self, answer: Answer, uplink_bytes: int) -> None:
        """A frame has its answer."""
        with self._lock:
            counts = self._counts
            counts["ended"] += 1
            counts[answer.outcome] += 1
            if answer.reason in ("superseded", "withdrawn"):
                counts[answer.reason] += 1
            if answer.ran_on is not None:
                counts[_PLACES[answer.ran_on]] += 1
                self._latencies.add(answer.latency_ms)
            if answer.edge is not None:
                self._by_edge[answer.edge] += 1
            counts["fallbacks"] += answer.fallback is not None
            counts["uplink_bytes"] += uplink_bytes

    def stats(self, connected: Mapping[str, bool], scheduler_failure: str | None) -> DeviceStats:
        """All of it, at one moment; ``connected`` says of each edge, by its name, whether there is a connection."""
        with self._lock:
            counts, latencies, by_edge = self._counts.copy(), self._latencies.summary(), self._by_edge.copy()
        names = dict.fromkeys((*connected, *by_edge))
        return DeviceStats(
            frames=counts["frames"],
            under_way=counts["frames"] - counts["ended"],
            on_time=counts["on_time"],
            late=counts["late"],
            dropped=counts["dropped"],
            invalid=counts["invalid"],
            superseded=counts["superseded"],
            withdrawn=counts["withdrawn"],
            on_device=counts["on_device"],
            split=counts["split"],
            on_edge=counts["on_edge"],
            fallbacks=counts["fallbacks"],
            uplink_bytes=counts["uplink_bytes"],
            latencies=latencies,
            edge_connected=any(connected.values()),
            edges=tuple(EdgeStats(name, connected.get(name, False), by_edge[name]) for name in names),
            scheduler_failure=scheduler_failure,
        )
