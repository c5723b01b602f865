"""What became of an edge's tasks: counts for who watches it."""

from __future__ import annotations

import threading
from collections import Counter

from hasten.runtime.edge.served import Refusal
from hasten.runtime.latency_counts import LatencyCounts
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.tasks import EdgeAnswer, Status

_ANSWERED = {status: status.name.lower() for status in Status}
_REFUSED = {code: f"refused ({code.name.lower()})" for code in Code}


class EdgeCounts:
    """Counts; one thread at a time may tell of tasks that came or were run, any may do anything else.

    Attributes:
        totals: how many tasks ended how.
        waits: of tasks that were run, the time before.
        services: of the same, the time at work on them.
        work_ms: of workers; what tasks had together counts once.
        offered_ms: predicted work of all tasks that came with time enough for it, taken or not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.totals: Counter[str] = Counter()
        self.waits, self.services = LatencyCounts(), LatencyCounts()
        self.work_ms = self.offered_ms = 0.0

    def came(self, predicted_ms: float, in_time: bool) -> None:
        """A task has come, of so much work; whether it could be in time if it began now."""
        if in_time:
            self.offered_ms += predicted_ms

    def ended(self, *outcomes: EdgeAnswer | Refusal) -> None:
        """Tasks have ended so."""
        with self._lock:
            for outcome in outcomes:
                ended = _ANSWERED[outcome.status] if isinstance(outcome, EdgeAnswer) else _REFUSED[outcome.code]
                self.totals[ended] += 1

    def ran(self, waited_ms: float, took_ms: float, share: float = 1.0) -> None:
        """A task was run; this share of its time alone was the worker's, if others ran along."""
        self.waits.add(waited_ms)
        self.services.add(took_ms)
        self.work_ms += took_ms * share
