"""The device's own processor: one thread that serves jobs in order, and its backlog from planned work."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.pace import now_ms, sharpen_sleep

Array = NDArray[np.generic]


class Runner(Protocol):
    """What executes segments; :class:`hasten.split.executor.Executor` does."""

    def prefix(self, partition: int, inputs: Sequence[Array]) -> list[Array]:
        """Run blocks 1..partition."""

    def finish(self, partition: int, exit_: int, tensors: Sequence[Array]) -> NDArray[np.float32]:
        """Run from ``partition`` to the logits of ``exit_``."""


@dataclass(eq=False, slots=True)
class Job:
    """One piece of work.

    ``work(started_ms)`` runs in the compute thread; ``done(result)`` is called in the event loop, with the exception
    if there was one.
    """

    planned_ms: float
    work: Callable[[float], Any]
    done: Callable[[Any], None]
    started_ms: float = field(default=0.0)


class ComputeQueue:
    """First come, first served, on one thread. Submit from the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._planned_ms = 0.0
        self._running: Job | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def submit(self, job: Job, urgent: bool = False) -> None:
        """Queue a job; an urgent one goes to the front."""
        with self._changed:
            if urgent:
                self._jobs.appendleft(job)
            else:
                self._jobs.append(job)
            self._planned_ms += job.planned_ms
            self._changed.notify()

    def backlog_ms(self, now: float) -> float:
        """Planned work that is left: queued, plus what remains of the running job."""
        running = self._running
        served_ms = min(now - running.started_ms, running.planned_ms) if running is not None else 0.0
        return max(self._planned_ms - served_ms, 0.0)

    def running_left_ms(self, now: float) -> float:
        """What remains of the running job: how long an urgent one waits."""
        running = self._running
        return max(running.started_ms + running.planned_ms - now, 0.0) if running is not None else 0.0

    def close(self) -> None:
        """Drop queued jobs and end the thread after the running one."""
        with self._changed:
            self._closing = True
            self._jobs.clear()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        sharpen_sleep()
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                job = self._jobs.popleft()
                job.started_ms = now_ms()
                self._running = job
            try:
                result = job.work(job.started_ms)
            except Exception as error:  # handed to whoever submitted the job; the thread serves the next
                result = error
            with self._changed:
                self._running = None
                self._planned_ms = max(self._planned_ms - job.planned_ms, 0.0)
            try:
                self._loop.call_soon_threadsafe(job.done, result)
            except RuntimeError:  # the loop has closed
                return
