"""What a process tells its operator, in lines, without ever flooding them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hasten.runtime.pace import now_ms

BURST = 5
"""So many lines of one kind are told at once;"""
EVERY_MS = 10_000.0
"""then one in so much time, which says how many there were in between."""


Record = Callable[[str, str, Mapping[str, object]], None]
"""Is given an event's kind, its words, and what of that is data."""


def say_on_stderr(text: str) -> None:
    """One line on standard error, if that still takes any."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class _Kind:
    credit: float
    asked_ms: float
    untold: int = 0


class Notes:
    """Tells lines, each kind at a limited rate. May be used from any thread.

    Args:
        say: takes each line.
        clock_ms: tells the time.
        record: takes each as data, too.
    """

    def __init__(
        self,
        say: Callable[[str], None] = say_on_stderr,
        clock_ms: Callable[[], float] = now_ms,
        record: Record | None = None,
    ) -> None:
        self._say, self._clock_ms, self._record = say, clock_ms, record
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def tell(self, kind: str, text: str, **fields: object) -> None:
        """Say ``text``, unless too much of this kind was said lately; ``fields`` are what of it is data."""
        now = self._clock_ms()
        with self._lock:
            known = self._kinds.setdefault(kind, _Kind(BURST, now))
            known.credit = min(known.credit + (now - known.asked_ms) / EVERY_MS, BURST)
            known.asked_ms = now
            if known.credit < 1.0:
                known.untold += 1
                return
            known.credit -= 1.0
            untold, known.untold = known.untold, 0
        self._say(text + (f" ({untold} more of this kind since the last line)" if untold else ""))
        if self._record is not None:
            self._record(kind, text, fields | ({"omitted": untold} if untold else {}))
