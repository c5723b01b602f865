"""When the stages of a simulated run served each task, worked out once more from its decisions.

A run keeps no such times. With all decisions known each stage can be played by itself, in its order of service
(``sim.stages``): the devices, then the uplinks, then the edge. Plain Python, for people who look at a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hasten.core.decision import useful_limit_ms
from hasten.core.edge_order import earliest_deadline
from hasten.core.noise import no_noise
from hasten.core.options import DROP
from hasten.core.results import Result
from hasten.core.scenario import Realization, Scenario
from hasten.core.scenario_parts import EdgeSpec
from hasten.core.timing import half_way, stage_start
from hasten.sim.arrays import FloatArray, IntArray


class StageTimes(NamedTuple):
    """Every array is (N,), ms from time 0; NaN where a stage did not serve a task."""

    device_start_ms: FloatArray
    device_end_ms: FloatArray
    uplink_start_ms: FloatArray
    uplink_end_ms: FloatArray
    edge_start_ms: FloatArray
    edge_end_ms: FloatArray
    worker: IntArray
    """The worker of the task's edge, -1 without one."""


def stage_times(scenario: Scenario, realization: Realization, result: Result) -> StageTimes:
    """The stages of a result that this scenario was simulated to on this realization."""
    return _Replay(scenario, realization, result).times


class _Replay:
    """Plays the stages one after the other."""

    def __init__(self, scenario: Scenario, realization: Realization, result: Result) -> None:
        table, tasks = scenario.options, realization.tasks
        self._arrival_ms, self._stream = realization.arrival_ms, realization.stream
        noise = realization.noise or no_noise(tasks, len(scenario.every_edge))
        self._at = np.zeros(tasks, dtype=np.int64) if result.edge is None else result.edge
        chose = zip(self._stream.tolist(), result.decisions.tolist(), self._at.tolist(), strict=True)
        option = np.array([table.index(m, exit_, cut, edge) for m, (exit_, cut), edge in chose], dtype=np.int64)
        chosen = self._stream, np.maximum(option, 0)
        self._device_ms, self._edge_ms = table.device_ms[chosen], table.edge_ms[chosen]
        self._payload_bits = table.payload_bits[chosen]
        device_ms, edge_ms, self._sent = self._device_ms, self._edge_ms, self._payload_bits > 0
        if table.stops is not None and realization.ease is not None:  # where it stops a task knows by itself
            until = table.stops.until[chosen]
            stop = (realization.ease[:, None] >= until[:, :-1]).sum(axis=1)
            device_ms, edge_ms = table.stops.device_ms[*chosen, stop], table.stops.edge_ms[*chosen, stop]
            self._sent = table.stops.payload_bits[*chosen, stop] > 0
        self._device_taken_ms = device_ms * noise.device_factor
        self._edge_taken_ms = edge_ms * noise.edge_factor[np.arange(tasks), self._at]
        self._useful_ms = useful_limit_ms(scenario.context(np.zeros(1, dtype=np.int64)))[self._stream]
        self._rtt_ms = np.array([way.uplink.rtt_ms for way in scenario.every_edge])[self._at]
        self._ready = scenario.uplink.order == "ready"
        self._link = scenario.links[self._at, self._stream]
        unknown = np.full((6, tasks), np.nan)
        self.times = StageTimes(
            unknown[0], unknown[1], unknown[2], unknown[3], unknown[4], unknown[5], np.full(tasks, -1, dtype=np.int64)
        )
        self._devices(np.flatnonzero(option != DROP))
        self._uplinks(realization)
        for edge, way in enumerate(scenario.every_edge):
            self._edge(edge, way.edge)

    def _devices(self, tasks: IntArray) -> None:
        """Each serves its tasks in order, those in time; in grant order all that were not dropped are."""
        free_ms: dict[int, float] = {}
        for i in tasks:
            start_ms = stage_start(self._arrival_ms[i], free_ms.get(self._stream[i], 0.0))
            ahead_ms = self._device_ms[i] + (self._edge_ms[i] + self._rtt_ms[i] if self._payload_bits[i] > 0 else 0.0)
            if not self._too_late(i, start_ms, ahead_ms):
                free_ms[self._stream[i]] = start_ms + self._device_taken_ms[i]
                self.times.device_start_ms[i], self.times.device_end_ms[i] = start_ms, free_ms[self._stream[i]]

    def _uplinks(self, realization: Realization) -> None:
        ready_ms = self.times.device_end_ms
        free_ms: dict[int, float] = {}
        for i in self._in_order(np.flatnonzero(np.isfinite(ready_ms) & self._sent), ready_ms):
            link = int(self._link[i])
            start_ms = stage_start(ready_ms[i], free_ms.get(link, 0.0))
            if not self._too_late(i, start_ms, self._edge_ms[i] + self._rtt_ms[i]):
                free_ms[link] = realization.rates[link].transfer_end(start_ms, self._payload_bits[i])
                self.times.uplink_start_ms[i], self.times.uplink_end_ms[i] = start_ms, free_ms[link]

    def _edge(self, edge: int, spec: EdgeSpec) -> None:
        arrive_ms = half_way(self.times.uplink_end_ms, self._rtt_ms)
        free_ms = np.zeros(spec.workers)
        here = np.flatnonzero(np.isfinite(arrive_ms) & (self._at == edge))
        order = self._in_order(here, arrive_ms).tolist()
        for i in self._turns(order, arrive_ms, free_ms) if spec.queue == "deadline" else order:
            worker = int(free_ms.argmin())
            start_ms = stage_start(arrive_ms[i], free_ms[worker])
            if not self._too_late(i, start_ms, half_way(self._edge_ms[i], self._rtt_ms[i])):
                free_ms[worker] = start_ms + self._edge_taken_ms[i]
                self.times.edge_start_ms[i], self.times.edge_end_ms[i] = start_ms, free_ms[worker]
                self.times.worker[i] = worker

    def _turns(self, waiting: list[int], arrive_ms: FloatArray, free_ms: FloatArray) -> Iterator[int]:
        """Tasks by deadline, as workers get to them; ``free_ms`` (workers,) goes on between two of them."""
        while waiting:
            start_ms = stage_start(arrive_ms[waiting[0]], free_ms.min())
            there = itertools.takewhile(lambda i: arrive_ms[i] <= start_ms, waiting)  # noqa: B023
            turns = [earliest_deadline(arrive_ms[i], self._arrival_ms[i] + self._useful_ms[i]) for i in there]
            yield waiting.pop(turns.index(min(turns)))

    def _in_order(self, tasks: IntArray, due_ms: FloatArray) -> IntArray:
        """In order of decision, or in that of becoming ready (ties: decision)."""
        return tasks[np.argsort(due_ms[tasks], kind="stable")] if self._ready else tasks

    def _too_late(self, i: int, start_ms: float, ahead_ms: float) -> bool:
        """In ready order a task is cancelled where it stands; in grant order it was dropped before."""
        return self._ready and not start_ms + ahead_ms - self._arrival_ms[i] <= self._useful_ms[i]
