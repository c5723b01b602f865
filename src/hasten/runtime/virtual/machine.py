"""A device's machine in virtual time: a processor whose work takes as long as planned, or as a given law says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hasten.core.noise import Noise
from hasten.runtime.clock import Clock
from hasten.runtime.device.beside import Work
from hasten.runtime.device.compute import ComputeJob, Planned
from hasten.runtime.device.machine import Machine
from hasten.runtime.virtual.loop import VirtualClock
from hasten.split.codecs.uint8_zstd import body_bytes
from hasten.split.manifest import Cut

T = TypeVar("T")
Law = Callable[[float], float]
"""What work planned at so many milliseconds takes."""


class VirtualCompute(Planned):
    """Serves jobs in order; each takes the sum of what it plays, times its task's factor where there is noise."""

    def __init__(self, clock: Clock, law: Law = lambda planned_ms: planned_ms, noise: Noise | None = None) -> None:
        self._clock, self._law, self._noise = clock, law, noise
        self._factor = 1.0
        super().__init__()
        self._spent_ms = 0.0

    def submit(self, job: ComputeJob, urgent: bool = False) -> None:
        """Queue a job; an urgent one goes to the front."""
        self.add(job, urgent)
        if self.running is None:
            self._begin()

    def play(self, slowdown: float, profiled_ms: float, work: Callable[[], T]) -> tuple[T, float]:
        """Do ``work`` now; its time is added to the running job's."""
        took_ms = self._factor * self._law(slowdown * profiled_ms)
        self._spent_ms += took_ms
        return work(), took_ms

    async def close(self) -> None:
        """Drop queued jobs."""
        self.jobs.clear()

    def _begin(self) -> None:
        now = self._clock.now_ms()
        job = self.begin(now)
        self._spent_ms = 0.0
        if self._noise is not None:
            self._factor = float(self._noise.device_factor[job.task])
        try:
            result = job.work(now)
        except Exception as error:  # handed to whoever submitted the job
            result = error
        self._clock.call_at(now + self._spent_ms, lambda: self._end(job, result))

    def _end(self, job: ComputeJob, result: Any) -> None:
        self.end()
        if self.jobs:
            self._begin()
        if self._noise is not None and not isinstance(result, bytes):  # a payload has its extra with its answer
            extra_ms = float(self._noise.local_extra_ms[job.task])
            self._clock.call_at(self._clock.now_ms() + extra_ms, lambda: job.done(result))
        else:
            job.done(result)


class InPlace:
    """A helper that does everything at once, in no time; ``slow_ms`` is how much longer the next works seem to take.

    Work that seems to take long is not done before that time has passed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.slow_ms: list[float] = []
        self._free_ms = 0.0

    def start(self, call: Callable[[], Any]) -> Work:
        """Do it, now or later."""
        now = self._clock.now_ms()
        self._free_ms = max(self._free_ms, now) + (self.slow_ms.pop(0) if self.slow_ms else 0.0)
        slow_ms = self._free_ms - now
        work = _Later(call) if slow_ms > 0 else Work(call)
        if slow_ms > 0:
            self._clock.call_at(self._free_ms, lambda: _finish(work, slow_ms))
        else:
            work.run()
            work.took_ms = 0.0
        return work

    def close(self) -> None:
        """Nothing is left to do."""


class _Later(Work):
    def wait(self, at_most_ms: float) -> bool:
        """Virtual time does not pass while somebody is held up."""
        return self.done


def _finish(work: Work, took_ms: float) -> None:
    work.run()
    work.took_ms = took_ms


MARK_BYTES = 4


def filler(tensors: Sequence[NDArray[np.generic]], cut: Cut) -> bytes:
    """A payload of the size of a cut's tensors, with nothing in it but the first bytes of the first."""
    mark = np.ascontiguousarray(tensors[0]).tobytes()[:MARK_BYTES] if tensors else b""
    return mark + bytes(body_bytes(cut.tensors) - len(mark))


class LateAlarm:
    """Goes off so long after the time it was set to, and of several that do so at once in the order of ``rank``.

    Whatever else is due at that time comes before.
    """

    def __init__(self, clock: VirtualClock, late_ms: float, rank: int) -> None:
        self.late_ms = late_ms
        self._clock, self._rank = clock, rank

    def now_ms(self) -> float:
        """The virtual time."""
        return self._clock.now_ms()

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Have ``call`` run late."""
        self._clock.call_at(when_ms + self.late_ms, call, 1 + self._rank)

    def close(self) -> None:
        """The clock is not its own."""


def virtual_machine(law: Law = lambda planned_ms: planned_ms) -> Machine:
    """A machine for one agent that is alone in the running virtual loop."""
    clock = VirtualClock(asyncio.get_running_loop())
    return shared_machine(clock, VirtualCompute(clock, law))


def shared_machine(clock: VirtualClock, compute: VirtualCompute, late_ms: float = 0.0, rank: int = 0) -> Machine:
    """A machine for one of several agents on one clock, whose alarm goes off ``late_ms`` late.

    They are told apart by their ``rank``: their order where tasks arrive together.
    """
    return Machine(clock, LateAlarm(clock, late_ms, rank), compute, filler, InPlace(clock))
