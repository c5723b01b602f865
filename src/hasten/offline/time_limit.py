"""When the offline solver stops: a limit on its time, and signals, which it notices between stretches of work."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

SLICE_S = 0.1
"""About how long a stretch of compiled code may take."""


class TimeLimit:
    """A stretch of wall-clock time that starts when this object is made; None never ends.

    A share of a limit ends with it at the latest. Time spent in ``paused`` does not count, for none of them.
    """

    def __init__(self, seconds: float | None = None, part_of: TimeLimit | None = None) -> None:
        self._part_of = part_of
        self._paused_s = 0.0
        self._seconds = np.inf if seconds is None else float(seconds)
        self.stop: IntArray = np.zeros(1, dtype=np.int64) if part_of is None else part_of.stop
        """(1,): not 0 once all shares are cancelled; compiled code can look at it."""
        self._start_s = self._now_s()

    def _now_s(self) -> float:
        """The clock of all shares of a limit, which stands still during pauses."""
        return time.monotonic() - self._paused_s if self._part_of is None else self._part_of._now_s()

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return self._now_s() - self._start_s

    @property
    def left_s(self) -> float:
        """Seconds until the end, never negative; infinity without a limit."""
        if self.cancelled:
            return 0.0
        own_s = max(self._seconds - self.spent_s, 0.0)
        return own_s if self._part_of is None else min(own_s, self._part_of.left_s)

    @property
    def expired(self) -> bool:
        """Whether the time is used up."""
        return self.left_s <= 0.0

    @property
    def whole_left_s(self) -> float:
        """Seconds until the end of the limit that this one is a share of, or of this one."""
        return self.left_s if self._part_of is None else self._part_of.left_s

    @property
    def overdue(self) -> bool:
        """Whether a limit that this one is a share of is used up."""
        return self._part_of is not None and self._part_of.expired

    @property
    def cancelled(self) -> bool:
        """Whether the user has interrupted."""
        return bool(self.stop[0])

    def share(self, part: float) -> TimeLimit:
        """A limit that ends after ``part`` (0..1) of what is left of this one."""
        return TimeLimit(None if np.isinf(self._seconds) else part * self.left_s, part_of=self)

    def cancel(self) -> None:
        """End now, together with all shares and what this one is a share of: the user has interrupted."""
        self.stop[0] = 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A stretch of time that does not count: compiling, which is done once per installation."""
        if self._part_of is not None:
            with self._part_of.paused():
                yield
            return
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._paused_s += time.monotonic() - began_s


def paced(tasks: int, took_s: float, most: int) -> int:
    """How many tasks to decide in the next stretch of compiled code, in which no limit and no signal is noticed."""
    return int(np.clip(tasks * SLICE_S / max(took_s, 1e-6), 1, most))


@contextmanager
def signals_cancel(limit: TimeLimit) -> Iterator[None]:
    """Let the first Ctrl-C cancel ``limit``, instead of raising KeyboardInterrupt anywhere; a second one raises it.

    The same holds for the other signals that ask a process to end, where the program handles them in Python: its own
    handler is called, and what it raises is left out. Signals belong to the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}

    def put_back() -> None:
        for number, handler in own.items():
            signal.signal(number, handler)

    def cancel(number: int, frame: FrameType | None) -> None:
        limit.cancel()
        put_back()
        with suppress(KeyboardInterrupt):
            own[signal.Signals(number)](number, None)

    for number in own:
        signal.signal(number, cancel)
    try:
        yield
    finally:
        put_back()
