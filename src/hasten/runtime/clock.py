"""Time as the runtime sees it: a clock that is read, and calls that are made at given times.

Device and edge are given a clock and never ask a global one, so that they run in virtual time as well. Real time is
:class:`SystemClock`: event loops round timers to milliseconds and tasks here last milliseconds, while threads that
sleep are accurate to about 0.1 ms, so one thread keeps the times and hands due calls to the loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Protocol

from hasten.runtime.pace import now_ms, sharpen_sleep


class Clock(Protocol):
    """What time it is, and calls at given times; all calls are made in the event loop."""

    def now_ms(self) -> float:
        """A monotonic time in milliseconds; readable from any thread."""

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Have ``call`` run at ``when_ms``; equal times in the order they were set. From the loop's thread only."""

    def close(self) -> None:
        """Forget what is due."""


class SystemClock:
    """Real time, to be used from one event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    def now_ms(self) -> float:
        """This machine's monotonic clock, shared by its processes."""
        return now_ms()

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Have ``call`` run at ``when_ms``; equal times in the order they were set."""
        with self._changed:
            heapq.heappush(self._due, (when_ms, next(self._order), call))
            if self._due[0][2] is call:
                self._changed.notify()

    def close(self) -> None:
        """Forget what is due and end the thread."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        sharpen_sleep()
        with self._changed:
            while not self._closed:
                if not self._due:
                    self._changed.wait()
                    continue
                left_ms = self._due[0][0] - now_ms()
                if left_ms > 0:
                    self._changed.wait(left_ms / 1000.0)
                    continue
                call = heapq.heappop(self._due)[2]
                try:
                    self._loop.call_soon_threadsafe(call)
                except RuntimeError:  # the loop has closed
                    return
