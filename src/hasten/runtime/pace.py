"""Waiting precisely, and playing a slower machine.

Event loops round timers to milliseconds; tasks here last milliseconds. Threads that sleep are accurate to about
0.1 ms, so one thread per process keeps the times and hands due calls to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PR_SET_TIMERSLACK = 29

OVERSLEEP_S = 1e-4
"""About how late a thread wakes up; the last stretch of a precise wait is spent awake."""


def now_ms() -> float:
    """This machine's monotonic clock, shared by its processes, in milliseconds."""
    return time.monotonic() * 1000.0


def sharpen_sleep() -> None:
    """Have sleeps of the calling thread end on time: by default Linux may add 50 microseconds to save wake-ups."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not on other systems
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


class Alarm:
    """Calls functions in an event loop at given times; to be used from that loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="alarm", daemon=True)
        self._thread.start()

    def at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Have ``call`` run at ``when_ms`` (clock of :func:`now_ms`); equal times in the order they were set."""
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


def dilated(slowdown: float, profiled_ms: float, work: Callable[[], T]) -> tuple[T, float]:
    """Do ``work`` as a machine ``slowdown`` times slower would: do it, then wait the rest; return it and its ms.

    The rest is what is missing to ``slowdown`` times the profiled time, not to that multiple of the time just taken:
    a computer that plays several machines at once takes a little longer now and then, and a multiple of that would
    be jitter that no single slower machine has. Without a slow-down nothing is waited for.
    """
    start_s = time.perf_counter()
    result = work()
    if slowdown > 1.0:
        end_s = start_s + slowdown * profiled_ms / 1000.0
        left_s = end_s - time.perf_counter()
        if left_s > OVERSLEEP_S:
            time.sleep(left_s - OVERSLEEP_S)
        while time.perf_counter() < end_s:
            pass
    return result, (time.perf_counter() - start_s) * 1000.0
