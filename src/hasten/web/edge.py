"""An edge as it serves: its own counters, sampled four times a second, whether a page is open or not."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hasten.runtime.edge.connections import Guest
from hasten.runtime.edge.server import EdgeServer
from hasten.web.track import quantile

Plain = dict[str, Any]
SAMPLE_S, KEPT = 0.25, 241
"""A minute of samples."""
PATIENCE_S = 5.0
"""A sample that takes longer is given up."""
NOW = 21
"""So many samples, five seconds, are the present."""
MOST_DEVICES, MOST_EVENTS = 500, 200
"""The first so many devices that come are shown."""
COUNTED = ("answered", "late", "refused")


@dataclass
class EdgeSample:
    """What an edge's counters were at a time."""

    at_ms: float
    backlog_ms: float
    waiting: int
    busy: int
    totals: dict[str, int]
    devices: list[tuple[int, float]] = field(default_factory=list)
    """Of each device, in the order of coming: its tasks so far, and its share of a worker."""


class SampledEdge(ABC):
    """A source for the page, as a context manager: an edge by samples that a thread takes until it ends."""

    kind = "edge"

    def __init__(self) -> None:
        self.rounds: dict[str, SampledEdge] = {"edge": self}
        self._began_s = time.monotonic()
        self._samples: deque[EdgeSample] = deque(maxlen=KEPT)
        self._events: deque[Plain] = deque(maxlen=MOST_EVENTS)
        self._told = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-edge", daemon=True)

    def __enter__(self) -> Self:
        """Watching begins when there is an edge."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def refresh(self) -> None:  # noqa: B027 - it is for sources that have to look
        """Samples come by themselves."""

    def summaries(self) -> list[Plain]:
        """An edge has no rounds."""
        return []

    def updates(self, name: str, stream: int) -> EdgeUpdates:
        """For one page."""
        return EdgeUpdates(self)

    def samples(self, since_ms: float) -> list[EdgeSample]:
        """Those after a time."""
        return [sample for sample in list(self._samples) if sample.at_ms > since_ms]

    def events(self, after: int) -> list[Plain]:
        """Those after a number."""
        return [event for event in list(self._events) if event["number"] > after]

    def rows(self, first: EdgeSample, last: EdgeSample) -> list[Plain]:
        """Each device, with what it had between two samples, where that is known."""
        return []

    @abstractmethod
    def head(self, sample: EdgeSample) -> Plain:
        """What there is to say of the edge as a whole."""

    def hear(self, text: str) -> None:
        """A note for whoever looks; from any thread."""
        self._told += 1
        event = {"number": self._told, "at_ms": self._now_ms(), "stream": -1, "kind": "note", "text": text, "count": 1}
        self._events.append(event)

    @abstractmethod
    def _run(self) -> None:
        """Take samples until it is time to stop."""

    def _now_ms(self) -> float:
        return round(1000.0 * (time.monotonic() - self._began_s), 1)


class EdgeWatch(SampledEdge):
    """An edge that listens, and what it tells its operator."""

    def __init__(self) -> None:
        super().__init__()
        self._guests: dict[Guest, None] = {}
        self._server: EdgeServer

    def begin(self, server: EdgeServer) -> Self:
        """Watch this edge."""
        self._server = server
        self._thread.start()
        return self

    def rows(self, first: EdgeSample, last: EdgeSample) -> list[Plain]:
        """Each device, with what it had between two samples."""
        now_ms, connected = self._server.core.clock.now_ms(), set(self._server.connections.everybody())
        seconds = max(last.at_ms - first.at_ms, 1.0) / 1000.0
        found = []
        for i, guest in enumerate(list(self._guests)[: len(last.devices)]):
            tasks, load = last.devices[i]
            before = first.devices[i][0] if i < len(first.devices) else 0
            found.append(
                {
                    "name": guest.name,
                    "address": f"{guest.address}:{guest.port}",
                    "connected": guest in connected,
                    "connected_s": round((now_ms - guest.since_ms) / 1000.0),
                    "tasks": tasks,
                    "rate_hz": round((tasks - before) / seconds, 1),
                    "late": guest.late,
                    "refused": guest.refused,
                    "wait_p95_ms": _rounded(quantile(sorted(guest.waits_ms.copy()), 0.95)),
                    "load": round(load, 3),
                }
            )
        return found

    def head(self, sample: EdgeSample) -> Plain:
        """What there is to say of the edge as a whole."""
        core = self._server.core
        return {
            "title": f"edge on {self._server.host}:{self._server.port}",
            "live": True,
            "workers": core.workers,
            "devices": self._server.connections.devices,
            "busy": sample.busy,
        }

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        core, connections = self._server.core, self._server.connections
        for guest in connections.everybody():
            if guest.name is not None and len(self._guests) < MOST_DEVICES:
                self._guests.setdefault(guest)
        report, now_ms = core.report(), core.clock.now_ms()
        ended = core.totals.copy()
        totals = {
            "answered": ended["done"] + ended["invalid"],
            "late": ended["late"],
            "refused": sum(count for kind, count in ended.items() if kind.startswith("refused")),
        }
        devices = [(guest.answered, guest.carried.lately(now_ms)[0]) for guest in self._guests]
        backlog_ms = min(report.backlog_ms, default=0.0)
        busy = sum(backlog_ms > 0.0 for backlog_ms in report.backlog_ms)
        self._samples.append(EdgeSample(self._now_ms(), backlog_ms, report.waiting, busy, totals, devices))


class EdgeUpdates:
    """What one page is sent of an edge."""

    def __init__(self, watch: SampledEdge) -> None:
        self._watch = watch
        self._sent_ms, self._event = -1.0, 0
        self._rows: list[Plain] = []

    def update(self, at_ms: float | None = None) -> Plain:
        """What is new; an edge shows the present only."""
        recent = self._watch.samples(-1.0)
        if not recent:
            return {"rows": [], "events": []}
        first, last = recent[-min(NOW, len(recent))], recent[-1]
        rows = self._watch.rows(first, last)
        known, self._rows = self._rows, rows
        changed = [[i, row] for i, row in enumerate(rows) if i >= len(known) or known[i] != row]
        events = self._watch.events(self._event)
        self._event = max((event["number"] for event in events), default=self._event)
        head = self._watch.head(last)
        rates = _rates(first, last)
        total = {**last.totals, "rate_hz": rates["answered"], "waiting": last.waiting, "backlog_ms": last.backlog_ms}
        series = _series(recent, self._sent_ms)
        self._sent_ms = last.at_ms
        return {
            "at_ms": last.at_ms,
            "end_ms": last.at_ms,
            "title": head.pop("title"),
            "live": head.pop("live"),
            "total": total | head,
            "rows": changed,
            "series": series,
            "events": events,
        }


def _series(samples: list[EdgeSample], since_ms: float) -> Plain:
    """The samples after a time, with rates over the second before each."""
    fresh = [i for i, sample in enumerate(samples) if sample.at_ms > since_ms] or [len(samples) - 1]
    rates = [_rates(samples[max(i - 4, 0)], samples[i]) for i in fresh]
    return {
        "from_ms": samples[fresh[0]].at_ms,
        "at_ms": [samples[i].at_ms for i in fresh],
        "backlog_ms": [round(samples[i].backlog_ms, 2) for i in fresh],
        "waiting": [samples[i].waiting for i in fresh],
        **{f"{name}_hz": [rate[name] for rate in rates] for name in COUNTED},
    }


def _rates(first: EdgeSample, last: EdgeSample) -> dict[str, float]:
    seconds = max(last.at_ms - first.at_ms, 1.0) / 1000.0
    return {name: round((last.totals[name] - first.totals[name]) / seconds, 2) for name in COUNTED}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
