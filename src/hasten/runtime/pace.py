"""Waiting precisely, and playing a slower machine."""

from __future__ import annotations

import contextlib
import ctypes
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


def dilated(slowdown: float, profiled_ms: float | Callable[[T], float], work: Callable[[], T]) -> tuple[T, float]:
    """Do ``work`` as a machine ``slowdown`` times slower would: do it, then wait the rest; return it and its ms.

    The rest is what is missing to ``slowdown`` times the profiled time, not to that multiple of the time just taken:
    a computer that plays several machines at once takes a little longer now and then, and a multiple of that would
    be jitter that no single slower machine has. Without a slow-down nothing is waited for. Where the profiled time
    depends on what came out, a call tells it of that.
    """
    start_s = time.perf_counter()
    result = work()
    if slowdown > 1.0:
        whole_ms = profiled_ms(result) if callable(profiled_ms) else profiled_ms
        end_s = start_s + slowdown * whole_ms / 1000.0
        left_s = end_s - time.perf_counter()
        if left_s > OVERSLEEP_S:
            time.sleep(left_s - OVERSLEEP_S)
        while time.perf_counter() < end_s:
            pass
    return result, (time.perf_counter() - start_s) * 1000.0
