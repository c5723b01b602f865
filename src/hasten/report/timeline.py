"""Timelines of tasks as Chrome trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A round (a scheduler on one realization) is a process. Its devices, uplinks and edge are tracks, which are split where
tasks overlap. A task is a slice on each, joined by arrows; what is known of it is in each slice's arguments.
The format: "Trace Event Format", its JSON object form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hasten.core.output import write_text

Event = dict[str, Any]
PLACES = ("device", "uplink", "edge")


@dataclass(frozen=True)
class StageSlice:
    """A task on a track, which is one of a place, from ``begin_ms`` to ``end_ms``."""

    place: str
    """One of ``PLACES``."""
    track: str
    name: str
    begin_ms: float
    end_ms: float


@dataclass(frozen=True)
class TracedTask:
    """What is drawn of one task; ``stages`` are in order of time, ``told`` is what its slices say."""

    name: str
    home: str
    """The track of its device: there it is marked if it was dropped or late."""
    arrival_ms: float
    deadline_ms: float
    """Relative to arrival."""
    outcome: str
    stages: Sequence[StageSlice]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class TracedRound:
    """All tasks of a round, and its links' rates: of each (ms, Mbit/s) where it changes."""

    name: str
    tasks: Sequence[TracedTask]
    rates: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


def write_trace(path: Path, rounds: Iterable[TracedRound], about: Mapping[str, str]) -> None:
    """Write a trace; ``about`` says what it is of."""
    write_text(path, json.dumps(trace_document(rounds, about), allow_nan=False, separators=(",", ":")) + "\n")


def trace_document(rounds: Iterable[TracedRound], about: Mapping[str, str]) -> dict[str, Any]:
    """The trace as JSON has it."""
    events = [event for pid, one in enumerate(rounds, start=1) for event in _Tracks(pid).events(one)]
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(about)}


class _Tracks:
    """One process of the trace: gives each slice a thread on which no other is at that time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._lanes: dict[tuple[int, str], list[float]] = {}
        """(place, track): until when each of its lanes is taken, µs."""
        self._threads: dict[tuple[int, str, int], int] = {}

    def events(self, shown: TracedRound) -> list[Event]:
        """Everything about a round, its names last."""
        found = []
        slices = [(stage, number) for number, task in enumerate(shown.tasks) for stage in task.stages]
        placed: dict[int, list[Event]] = {}
        for stage, number in sorted(slices, key=lambda one: (one[0].begin_ms, one[1])):
            event = self._slice(stage, shown.tasks[number])
            placed.setdefault(number, []).append(event)
            found.append(event)
        for number, task in enumerate(shown.tasks):
            found += self._arrows(number, placed.get(number, []))
            found += self._mark(task)
        for link, steps in shown.rates.items():
            counter = {"ph": "C", "pid": self._pid, "tid": 0, "name": f"{link}, Mbit/s"}
            found += [counter | {"ts": _us(at_ms), "args": {"rate": round(mbps, 4)}} for at_ms, mbps in steps]
        return found + self._names(shown.name)

    def _slice(self, stage: StageSlice, task: TracedTask) -> Event:
        begin, end = _us(stage.begin_ms), max(_us(stage.end_ms), _us(stage.begin_ms))
        place = PLACES.index(stage.place), stage.track
        lanes = self._lanes.setdefault(place, [])
        lane = next((i for i, taken in enumerate(lanes) if taken <= begin), len(lanes))
        lanes[lane : lane + 1] = [end]
        told = {"stage": stage.name, "outcome": task.outcome, "deadline_ms": task.deadline_ms, **task.told}
        return {
            "ph": "X",
            "pid": self._pid,
            "tid": self._thread(*place, lane),
            "ts": begin,
            "dur": round(end - begin, 3),
            "name": task.name,
            "cat": f"{stage.place},{task.outcome}",
            "args": told,
        }

    def _arrows(self, number: int, slices: Sequence[Event]) -> list[Event]:
        """From each slice of a task to the next, where the tracks differ."""
        on_tracks = [one for i, one in enumerate(slices) if i == 0 or one["tid"] != slices[i - 1]["tid"]]
        if len(on_tracks) < 2:
            return []
        kinds = ["s", *["t"] * (len(on_tracks) - 2), "f"]
        arrow = {"pid": self._pid, "id": f"{self._pid}.{number}", "name": "task", "cat": "task", "bp": "e"}
        return [
            arrow | {"ph": kind, "tid": one["tid"], "ts": one["ts"]} for kind, one in zip(kinds, on_tracks, strict=True)
        ]

    def _mark(self, task: TracedTask) -> list[Event]:
        """A mark on the device's track: when it was dropped, or when it had to be answered and was not."""
        if task.outcome == "on_time":
            return []
        dropped = task.outcome == "dropped"
        at_ms = task.arrival_ms if dropped else task.arrival_ms + task.deadline_ms
        name = f"{task.name} {'dropped' if dropped else task.outcome + ': deadline'}"
        home = self._thread(0, task.home, 0)
        told = {"deadline_ms": task.deadline_ms, **task.told}
        return [{"ph": "i", "s": "t", "pid": self._pid, "tid": home, "ts": _us(at_ms), "name": name, "args": told}]

    def _thread(self, place: int, track: str, lane: int) -> int:
        return self._threads.setdefault((place, track, lane), len(self._threads) + 1)

    def _names(self, name: str) -> list[Event]:
        def meta(kind: str, tid: int, **args: Any) -> Event:
            return {"ph": "M", "pid": self._pid, "tid": tid, "ts": 0, "name": kind, "args": args}

        found = [meta("process_name", 0, name=name), meta("process_sort_index", 0, sort_index=self._pid)]
        order = sorted(self._threads)  # devices, uplinks, edge
        for key, tid in self._threads.items():
            _, track, lane = key
            found.append(meta("thread_name", tid, name=track if lane == 0 else f"{track} ({lane + 1})"))
            found.append(meta("thread_sort_index", tid, sort_index=order.index(key)))
        return found


def _us(at_ms: float) -> float:
    """Microseconds, to the nanosecond."""
    return round(1000.0 * at_ms, 3)
