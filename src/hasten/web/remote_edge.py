"""An edge seen from elsewhere: its page from what it tells Prometheus (`hasten edge --metrics`).

That are the counters of the edge as a whole. Which device has what, and what the edge tells its operator, only its own
page knows (`hasten edge --web`).
"""

from __future__ import annotations

import re
from http.client import HTTPConnection, HTTPException
from typing import Any, Self

from hasten.core.errors import InputError
from hasten.web.edge import PATIENCE_S, EdgeSample, SampledEdge

Plain = dict[str, Any]
ASK_S = 0.5
MOST_BYTES = 1 << 20
LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
OUTCOME = re.compile(r'outcome="(\w+)"')
NOT_ONE = "an edge's metrics: HOST:PORT of `hasten edge --metrics [HOST:]PORT`"


class RemoteEdge(SampledEdge):
    """Asks for an edge's metrics twice a second.

    Raises:
        InputError: the address is none, or nothing there tells an edge's metrics.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError("web", "--edge", address, NOT_ONE)
        self._address, self._host, self._port = address, host.strip("[]"), int(port)
        self._trouble = ""
        self._figures: dict[str, float] = {}
        try:
            self._sample()
        except (OSError, HTTPException, ValueError) as error:
            raise InputError("web", "--edge", address, f"{NOT_ONE} ({error})") from None
        self.hear("single devices are shown by the edge's own page only (hasten edge --web)")

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

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
                    self.hear(f"no metrics any more: {error}")
                self._trouble = str(error) or type(error).__name__
            else:
                if self._trouble:
                    self.hear("metrics are there again")
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
