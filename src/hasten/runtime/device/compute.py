"""The device's own processor: serves jobs in order, one at a time, and knows its backlog from planned work."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.pace import dilated, now_ms, sharpen_sleep

Array = NDArray[np.generic]
T = TypeVar("T")


class DeviceRunner(Protocol):
    """What executes segments; :class:`hasten.split.executor.Executor` does."""

    def prefix(self, partition: int, inputs: Sequence[Array]) -> list[Array]:
        """Run blocks 1..partition."""

    def outputs(self, partition: int, exit_: int, tensors: Sequence[Array]) -> Mapping[str, Array]:
        """Run from ``partition`` to what ``exit_`` gives, by name and without the batch axis."""

    def check(self, partition: int, exit_: int, tensors: Sequence[Array]) -> tuple[Mapping[str, Array], list[Array]]:
        """Run from ``partition`` to an exit where a task may stop: what it gives, and the tensors behind its block."""

    def onward(self, partition: int, tensors: Sequence[Array]) -> list[Array]:
        """Run from the tensors of the last exit before ``partition`` where a task may stop to those there."""


@dataclass(eq=False, slots=True)
class ComputeJob:
    """One piece of work for the task of this number.

    ``work(started_ms)`` runs on the processor; ``done(result)`` is called in the event loop, with the exception if
    there was one.
    """

    planned_ms: float
    work: Callable[[float], Any]
    done: Callable[[Any], None]
    task: int
    started_ms: float = field(default=0.0)


class Compute(Protocol):
    """A processor. Submit from the event loop's thread."""

    def submit(self, job: ComputeJob, urgent: bool = False) -> None:
        """Queue a job; an urgent one goes to the front."""

    def play(self, slowdown: float, profiled_ms: float, work: Callable[[], T]) -> tuple[T, float]:
        """Within a job: do ``work`` as a machine ``slowdown`` times slower would; return it and its milliseconds."""

    def backlog_ms(self, now: float) -> float:
        """Planned work that is left: queued, plus what remains of the running job."""

    def running_left_ms(self, now: float) -> float:
        """What remains of the running job: how long an urgent one waits."""

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""

    async def close(self) -> None:
        """Drop queued jobs and end after the running one."""


class Planned:
    """What every processor knows: what is queued, what runs, and how much planned work that is."""

    def __init__(self) -> None:
        self.jobs: deque[ComputeJob] = deque()
        self.running: ComputeJob | None = None
        self._planned_ms = 0.0

    def add(self, job: ComputeJob, urgent: bool) -> None:
        """Queue a job."""
        if urgent:
            self.jobs.appendleft(job)
        else:
            self.jobs.append(job)
        self._planned_ms += job.planned_ms

    def begin(self, now: float) -> ComputeJob:
        """Take the next job."""
        job = self.jobs.popleft()
        job.started_ms = now
        self.running = job
        return job

    def end(self) -> None:
        """The running job is done."""
        assert self.running is not None  # begun
        self._planned_ms = max(self._planned_ms - self.running.planned_ms, 0.0) if self.jobs else 0.0
        self.running = None

    def backlog_ms(self, now: float) -> float:
        """Planned work that is left."""
        running = self.running
        served_ms = min(now - running.started_ms, running.planned_ms) if running is not None else 0.0
        return max(self._planned_ms - served_ms, 0.0)

    def running_left_ms(self, now: float) -> float:
        """What remains of the running job."""
        running = self.running
        return max(running.started_ms + running.planned_ms - now, 0.0) if running is not None else 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self.running is None and not self.jobs


class ComputeQueue(Planned):
    """First come, first served, on one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        super().__init__()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    def submit(self, job: ComputeJob, urgent: bool = False) -> None:
        """Queue a job; an urgent one goes to the front."""
        with self._changed:
            self.add(job, urgent)
            self._changed.notify()

    def play(self, slowdown: float, profiled_ms: float, work: Callable[[], T]) -> tuple[T, float]:
        """Do ``work``, then wait out the rest of ``slowdown`` times its profiled time."""
        return dilated(slowdown, profiled_ms, work)

    async def close(self) -> None:
        """Drop queued jobs and end the thread after the running one."""
        with self._changed:
            self._closing = True
            self.jobs.clear()
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        sharpen_sleep()
        while True:
            with self._changed:
                while not self.jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                job = self.begin(now_ms())
            try:
                result = job.work(job.started_ms)
            except Exception as error:  # handed to whoever submitted the job; the thread serves the next
                result = error
            with self._changed:
                self.end()
            try:
                self._loop.call_soon_threadsafe(job.done, result)
            except RuntimeError:  # the loop has closed
                return
