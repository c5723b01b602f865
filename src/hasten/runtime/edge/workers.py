"""What executes an edge's tasks, several at a time: threads, or whatever else keeps the protocol."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from hasten.core.errors import InputError
from hasten.runtime.edge.served import Computed, Refusal, Request, compute
from hasten.runtime.edge.together import compute_together
from hasten.runtime.pace import sharpen_sleep
from hasten.runtime.wire.load import MAX_WORKERS

Done = Callable[[Computed | Refusal], None]
AllDone = Callable[[list[Computed | Refusal]], None]


class Workers(Protocol):
    """Executes tasks.

    Attributes:
        count: how many at a time.
    """

    count: int

    def start(self) -> None:
        """Get ready."""

    def execute(self, worker: int, request: Request, done: Done) -> None:
        """Run a task on worker ``worker``, which is free, and call ``done`` with what came out; does not wait."""

    def execute_together(self, worker: int, requests: Sequence[Request], done: AllDone) -> None:
        """The same with several tasks of one segment at once; only where the profile has times of batches."""

    def close(self, wait_s: float) -> None:
        """End after the tasks under way, which are waited for so long at most."""


class WorkerThreads:
    """One thread per worker; ``done`` is called on it. What a call raises does not end the thread."""

    def __init__(self, count: int = 1, on_error: Callable[[BaseException], None] | None = None) -> None:
        if not 1 <= count <= MAX_WORKERS:
            raise InputError("edge", "workers", count, f"1..{MAX_WORKERS}")
        self.count = count
        self._on_error = on_error or (lambda error: None)
        self._given: list[queue.SimpleQueue[Callable[[], None] | None]] = [queue.SimpleQueue() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._work, args=(w,), name=f"worker-{w}", daemon=True) for w in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def execute(self, worker: int, request: Request, done: Done) -> None:
        """Hand a task to a thread."""
        self._given[worker].put(lambda: done(compute(request)))

    def execute_together(self, worker: int, requests: Sequence[Request], done: AllDone) -> None:
        """Hand tasks to a thread that runs them at once."""
        self._given[worker].put(lambda: done(compute_together(requests)))

    def close(self, wait_s: float) -> None:
        """End the threads; one that is at a task for longer is left behind."""
        for given in self._given:
            given.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(wait_s)

    def _work(self, worker: int) -> None:
        sharpen_sleep()
        while (work := self._given[worker].get()) is not None:
            try:
                work()
            except BaseException as error:  # the thread serves all streams: it goes on
                self._on_error(error)
            del work  # a thread that waits holds no task's memory
