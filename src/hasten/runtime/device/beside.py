"""Work beside the event loop: one helper thread that is asked, waited for a little, and looked at again later."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol


class Work:
    """One piece of work; ``value`` or ``error`` are there once it is ``done``.

    Attributes:
        took_ms: how long it took.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.value: Any = None
        self.error: Exception | None = None
        self.took_ms = 0.0
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    def wait(self, at_most_ms: float) -> bool:
        """Hold the caller until it is done, but no longer than this."""
        return self._done.wait(at_most_ms / 1000.0)

    def run(self) -> None:
        """Do it, here and now."""
        started = time.perf_counter()
        try:
            self.value = self.call()
        except Exception as error:  # given to whoever asked
            self.error = error
        self.took_ms = 1000.0 * (time.perf_counter() - started)
        self._done.set()


class Helper(Protocol):
    """Does work elsewhere, in order."""

    def start(self, call: Callable[[], Any]) -> Work:
        """Have ``call`` made."""

    def close(self) -> None:
        """Take no more work; what is under way is not waited for."""


class HelperThread:
    """A thread that starts with its first work. It ends with the process, whatever it is at."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, call: Callable[[], Any]) -> Work:
        """Queue the call."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
            self._thread.start()
        work = Work(call)
        self._waiting.put(work)
        return work

    def close(self) -> None:
        """End the thread after what it is at."""
        self._waiting.put(None)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work.run()
