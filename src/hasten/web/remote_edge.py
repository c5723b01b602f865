"""An edge seen from elsewhere: its page from what it tells Prometheus (`hasten edge --metrics`).

That are the counters of the edge as a whole. Which device has what, and what the edge tells its operator, only its own
page knows (`hasten edge --web`).
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Self

from hasten.core.errors import InputError
from hasten.web.edge import KEPT, MOST_EVENTS, EdgeSample, EdgeUpdates

Plain = dict[str, Any]
ASK_S, PATIENCE_S = 0.5, 5.0
MOST_BYTES = 1 << 20
LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>[-+.\dinfNa]+)")
OUTCOME = re.compile(r'outcome="(\w+)"')
NOT_ONE = "an edge's metrics: HOST:PORT of `hasten edge --metrics [HOST:]PORT`"


class RemoteEdge:
    """A source for the page, as a context manager: asks for an edge's metrics twice a second.

    Raises:
        InputError: the address is none, or nothing there tells an edge's metrics.
    """

    kind = "edge"

    def __init__(self, address: str) -> None:
        self.rounds: dict[str, RemoteEdge] = {"edge": self}
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError("web", "--edge", address, NOT_ONE)
        self._address, self._host, self._port = address, host.strip("[]"), int(port)
        self._began_s = time.monotonic()
        self._samples: deque[EdgeSample] = deque(maxlen=KEPT)
        self._events: deque[Plain] = deque(maxlen=MOST_EVENTS)
        self._told, self._trouble = 0, ""
        self._figures: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-edge", daemon=True)
        try:
            self._sample()
        except (OSError, HTTPException, ValueError) as error:
            raise InputError("web", "--edge", address, f"{NOT_ONE} ({error})") from None
        self._hear("single devices are shown by the edge's own page only (hasten edge --web)")

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def refresh(self) -> None:
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
        """Not known from here."""
        return []

    def head(self, sample: EdgeSample) -> Plain:
        """What there is to say of the edge as a whole."""
        return {
            "title": f"edge, by its metrics at {self._address}",
            "live": not self._trouble,
            "workers": round(self._figures.get("hasten_edge_workers", 0.0)),
            "devices": round(self._figures.get("hasten_edge_devices", 0.0)),
            "busy": sample.busy,
            "by_device": False,
        }

    def _run(self) -> None:
        while not self._stop.wait(ASK_S):
            try:
                self._sample()
            except (OSError, HTTPException, ValueError) as error:
                if not self._trouble:
                    self._hear(f"no metrics any more: {error}")
                self._trouble = str(error) or type(error).__name__
            else:
                if self._trouble:
                    self._hear("metrics are there again")
                self._trouble = ""

    def _sample(self) -> None:
        figures, totals = edge_figures(self._ask())
        self._figures = figures
        backlog_ms = 1000.0 * figures.get("hasten_edge_backlog_seconds", 0.0)
        waiting, busy = (round(figures.get(f"hasten_edge_{name}", 0.0)) for name in ("waiting_tasks", "busy_workers"))
        self._samples.append(EdgeSample(self._now_ms(), backlog_ms, waiting, busy, totals))

    def _ask(self) -> str:
        connection = HTTPConnection(self._host, self._port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1)
        finally:
            connection.close()
        if answer.status != 200 or len(body) > MOST_BYTES:
            raise ValueError(f"got status {answer.status}, {len(body)} bytes")
        return body.decode(errors="replace")

    def _hear(self, text: str) -> None:
        self._told += 1
        event = {"number": self._told, "at_ms": self._now_ms(), "stream": -1, "kind": "note", "text": text, "count": 1}
        self._events.append(event)

    def _now_ms(self) -> float:
        return round(1000.0 * (time.monotonic() - self._began_s), 1)


def edge_figures(text: str) -> tuple[dict[str, float], dict[str, int]]:
    """Of Prometheus' text format: figures without labels by name, and the tasks answered, late and refused.

    Raises:
        ValueError: these are no metrics of an edge.
    """
    figures: dict[str, float] = {}
    totals = {"answered": 0, "late": 0, "refused": 0}
    found = False
    for line in text.splitlines():
        match = LINE.fullmatch(line.strip())
        if match is None:
            continue
        name, labels, value = match["name"], match["labels"], float(match["value"])
        if name == "hasten_edge_tasks_total" and (outcome := OUTCOME.search(labels or "")) is not None:
            found = True
            kind = {"done": "answered", "invalid": "answered", "late": "late"}.get(outcome[1])
            if kind is not None:
                totals[kind] += round(value)
        elif name == "hasten_edge_refused_tasks_total":
            totals["refused"] += round(value)
        elif labels is None:
            figures[name] = value
    if not found:
        raise ValueError("these are no metrics of an edge")
    return figures, totals
