"""The processes of a run: an edge node for each edge of the scenario, the links to it, and every device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.errors import InputError
from hasten.core.files import locate
from hasten.core.rates import RateTrace
from hasten.core.results import Result
from hasten.core.scenario import Realization, Scenario
from hasten.runtime.local.changes import Changes
from hasten.runtime.local.processes import Child, end_all
from hasten.runtime.local.results import StreamLog, collect, read_log
from hasten.runtime.local.rounds import RoundFiles, log_path, round_facts, round_name
from hasten.runtime.local.watching import EDGE_ENDED, Watch
from hasten.runtime.pace import now_ms
from hasten.runtime.same_network import require_fit
from hasten.runtime.streams import stream_settings
from hasten.split.package import Package, open_package

HOST = "127.0.0.1"
LEAD_MS = 300.0
"""From the order to start until time 0."""
CHANGED_BY_HAND = "changed_by_hand"


class LocalCluster:
    """The processes of a run, as a context manager. After ``stop`` the next round starts them anew.

    Attributes:
        edges: each edge node's process, in the order of the scenario's edges.
        relays: for each edge the process of its links, one for all devices or one for each.
        devices: one process per device.
    """

    edges: list[Child]
    relays: list[Child]
    devices: list[Child]

    def __init__(self, scenario: Scenario, package: Path | None, folder: Path, changes: Changes | None = None) -> None:
        self._changes = changes or Changes()
        self._scenario, self._folder = scenario, folder
        self._ways = scenario.every_edge
        self._paths = stream_packages(scenario, package)
        self._profiles = [self._profile_file(m, override=package is not None) for m in range(len(scenario.devices))]
        self._children: list[Child] = []

    def __enter__(self) -> LocalCluster:
        """Start and warm up everything."""
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self.stop()

    def stop(self) -> None:
        """End every process."""
        children, self._children = self._children, []
        end_all(children)

    def _begin(self) -> None:
        ways = range(len(self._ways))
        self.edges = [self._edge_child(e) for e in ways]
        self.relays = [self._child("relay", self._called("link", " to", e)) for e in ways]
        confidence = self._scenario.confidence
        loss = None if confidence is None else confidence.max_accuracy_loss
        self.devices = [self._child("device", stream.name) for stream in self._scenario.devices]
        for device, path, profile in zip(self.devices, self._paths, self._profiles, strict=True):
            device.tell("start", package=str(path), profile=profile, max_accuracy_loss=loss)
        for e in ways:
            self._start_edge(e, 0)
        self._edge_ports = [int(edge.wait()["port"]) for edge in self.edges]
        self._ports = [self._start_relay(e) for e in ways]
        for device in self.devices:
            device.wait()

    def play(self, scheduler: str, seed: int, tell: Callable[[float], None]) -> Result:
        """Run one round: every task of one realization under one scheduler."""
        if not self._children:
            self._begin()
        self.restart_edges()
        realization = self._scenario.realize(seed)
        for e, relay in enumerate(self.relays):
            rates = realization.rates_of(self._scenario.links[e])
            relay.ask("load", traces=[_trace_message(trace) for trace in rates])
        arrivals = [realization.arrival_ms[realization.stream == m] for m in range(len(self.devices))]
        logs = [log_path(self._folder, scheduler, seed, stream.name) for stream in self._scenario.devices]
        for m, device in enumerate(self.devices):  # one after the other, so that their probes do not meet
            device.ask("prepare", **self._order(scheduler, realization, m), log=str(logs[m]))
        at_ms = now_ms() + LEAD_MS
        for relay in self.relays:
            relay.ask("begin", at_ms=at_ms)
        for device in self.devices:
            device.tell("run", at_ms=at_ms)
        files = RoundFiles(self._folder, round_name(scheduler, seed))
        files.begin(round_facts(self._scenario, scheduler, realization, self._folder, time.time() + LEAD_MS / 1000.0))
        watch = Watch(self, realization, files, self._changes)
        watch.wait(tell)
        records = [read_log(path) for path in logs]
        if watch.changed:  # tasks may have come at other times
            arrivals = [np.array([record["arrival_ms"] for record in stream]) for stream in records]
        streams = [
            StreamLog(stream.profile, stream.deadline_ms, times_ms, told, stream.slowdown)
            for stream, times_ms, told in zip(self._scenario.devices, arrivals, records, strict=True)
        ]
        result = collect(scheduler, seed, streams, self._scenario.gain, [way.name for way in self._ways])
        ended = sum(not edge.alive for edge in self.edges)
        notes = {EDGE_ENDED: ended} if ended else {}
        if watch.changed:
            notes[CHANGED_BY_HAND] = watch.changed
        return replace(result, notes=result.notes | notes)

    def restart_edges(self) -> int:
        """Start every edge that has ended again where it was; how many had."""
        ended = [e for e, edge in enumerate(self.edges) if not edge.alive]
        for e in ended:
            self.edges[e] = self._edge_child(e)
            self._start_edge(e, self._edge_ports[e])
        for e in ended:
            self.edges[e].wait()
        return len(ended)

    def _order(self, scheduler: str, realization: Realization, m: int) -> dict[str, Any]:
        """What a device is told of a round."""
        stream = self._scenario.devices[m]
        settings = vars(stream_settings(self._scenario, realization.seed, m))
        arrivals = stream.spec.arrivals.model_dump(mode="json", by_alias=True)
        several = len(self._ways) > 1
        edges = [(way.name if several else None, HOST, self._ports[e][m]) for e, way in enumerate(self._ways)]
        return {
            "scheduler": scheduler,
            "settings": settings | {"arrivals": arrivals},
            "arrival_ms": realization.arrival_ms[realization.stream == m].tolist(),
            "name": stream.name,
            "edges": edges,
        }

    def _child(self, role: str, name: str) -> Child:
        child = Child(role, name)
        self._children.append(child)
        return child

    def _edge_child(self, e: int) -> Child:
        return self._child("edge", self._called("edge", "", e))

    def _called(self, what: str, of: str, e: int) -> str:
        """What a process is called that there is one of for each edge."""
        return what if len(self._ways) == 1 else f"{what}{of} {self._ways[e].name}"

    def _start_edge(self, e: int, port: int) -> None:
        """Order an edge to serve each package once; it answers with its port."""
        served = dict(zip(self._paths, self._profiles, strict=True))
        edge = self._ways[e].edge
        order = {"packages": [str(path) for path in served], "profiles": list(served.values()), "port": port}
        self.edges[e].tell("start", **edge.model_dump(), **order)

    def _start_relay(self, e: int) -> list[int]:
        """Have the links to an edge listen; each device's port."""
        way = {"host": HOST, "port": self._edge_ports[e], "rtt_ms": self._ways[e].uplink.rtt_ms}
        ports: list[int] = self.relays[e].ask("start", devices=len(self.devices), **way)["ports"]
        return ports

    def _profile_file(self, m: int, override: bool) -> str | None:
        """A file with the stream's profile for the processes, where it is not its package's own."""
        if not override:
            return None
        path = self._folder / f"profile-{m}.json"
        path.write_text(self._scenario.devices[m].profile.to_json(), encoding="utf-8")
        return str(path)


def stream_packages(scenario: Scenario, package: Path | None = None) -> list[Path]:
    """The package of each stream; :class:`InputError` for a stream that names none, or one of another network."""
    opened: dict[Path, Package] = {}
    paths = []
    for i, stream in enumerate(scenario.devices):
        name = stream.spec.profile
        if package is None and not name.endswith(".hasten"):
            raise InputError(scenario.name, f"streams ({stream.name}).profile", name, "a .hasten package, to be run")
        path = package or locate(name, scenario.folder)
        if path not in opened:
            opened[path] = open_package(path)
        require_fit(scenario.devices[i].profile, opened[path])
        paths.append(path)
    return paths


def _trace_message(trace: RateTrace) -> dict[str, Any]:
    return {
        "from_ms": trace.from_ms.tolist(),
        "bits_per_ms": trace.bits_per_ms.tolist(),
        "period_ms": trace.period_ms if np.isfinite(trace.period_ms) else None,
    }
