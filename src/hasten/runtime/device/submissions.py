"""Frames that a program hands to an agent, one by one and from any thread, and their answers as futures.

The agent takes them in its event loop. Every frame gets exactly one answer: the agent ends every task once, and what
is cancelled or still here at the end is ended, too. When another version's agent takes over, each frame is answered by
the one that took it.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

from hasten.core.errors import ClosedError, InputError
from hasten.runtime.device.answers import Answer, Answers
from hasten.runtime.device.inputs import FrameInput
from hasten.runtime.device.line import AgentLine, OnTask
from hasten.runtime.device.prepared import PreparedDevice
from hasten.runtime.device.stats import Counters, DeviceStats
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Outcome, Reason, Task
from hasten.runtime.pace import now_ms
from hasten.split.inputs import Frame


class Submissions:
    """Around one stream's agents. ``open`` and ``close`` it in their event loop; the rest is for any thread."""

    def __init__(
        self,
        line: AgentLine,
        frame_input: FrameInput,
        deadline_ms: float,
        told: Callable[[PreparedDevice], OnTask] | None = None,
    ) -> None:
        """``deadline_ms`` holds where a call says nothing else; ``told`` as of :meth:`AgentLine.taking`."""
        self._line, self._input = line, frame_input
        self._deadline_ms, self._told_beside = deadline_ms, told
        self._counters = Counters()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Answer]] = {}
        self._number = 0
        self._closed = False
        self._ending = AsyncExitStack()
        self._newest: tuple[Answers, OnTask | None]
        self._loop: asyncio.AbstractEventLoop
        self._start_ms = 0.0

    async def open(self, log: TaskLog) -> None:
        """Begin to take frames; the log gets a line for each."""
        self._loop, self._start_ms = asyncio.get_running_loop(), now_ms()
        await self._ending.enter_async_context(self._line.taking(self._start_ms, log, self._told_of))

    async def close(self) -> None:
        """Take no more frames, and see those through that are here, for 0.7 s at most."""
        with self._lock:
            self._closed = True
        await self._ending.aclose()  # what was handed to the loop before runs before

    def checked(self, frame: Any, copy: bool = True) -> Frame:
        """Of each input (1, *shape), a copy unless it stays as it is; :class:`InputError` if it is no frame."""
        return self._input.batch(frame, copy)

    def submit(self, batch: Frame, deadline_ms: float | None = None, arrived_ms: float | None = None) -> Future[Answer]:
        """Hand over a checked frame, which arrived then (by default now).

        Raises:
            InputError: the deadline is no number above 0.
            ClosedError: no more frames are taken.
        """
        if arrived_ms is None:
            arrived_ms = now_ms()
        if deadline_ms is None:
            deadline_ms = self._deadline_ms
        elif not 0 < deadline_ms < math.inf:
            raise InputError("device", "deadline_ms", deadline_ms, "a number above 0")
        future: Future[Answer] = Future()
        with self._lock:
            number = self._next(future)
            arrival = Arrival(arrived_ms - self._start_ms, number, batch, None)
            self._loop.call_soon_threadsafe(self._take, arrival, deadline_ms)
        future.add_done_callback(lambda ended: self._withdraw(number) if ended.cancelled() else None)
        return future

    def supersede(self, batch: Frame, deadline_ms: float | None, arrived_ms: float) -> Answer:
        """The answer of a frame that is not even handed to the agent, since a newer one has taken its place."""
        if deadline_ms is None:
            deadline_ms = self._deadline_ms
        with self._lock:
            number = self._next(None)
        arrival = Arrival(arrived_ms - self._start_ms, number, batch, None)
        task = Task(number, arrival, arrived_ms, deadline_ms, arrived_ms + deadline_ms)
        task.end(Outcome.DROPPED, Reason.SUPERSEDED)
        return self._told(task, *self._newest)

    def stats(self) -> DeviceStats:
        """The counters, now."""
        agent = self._line.agent
        return self._counters.stats(agent.edges, agent.failure)

    def _next(self, future: Future[Answer] | None) -> int:
        if self._closed:
            raise ClosedError("the device is closed: it takes no more frames")
        number = self._number
        self._number += 1
        if future is not None:
            self._waiting[number] = future
        self._counters.taken()
        return number

    def _take(self, arrival: Arrival, deadline_ms: float) -> None:
        """In the loop."""
        try:
            self._line.take(arrival, arrival.sample, deadline_ms)
        except Exception as error:  # one of ours: the caller must not wait for ever
            future = self._waiting.pop(arrival.sample)
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _withdraw(self, number: int) -> None:
        """The caller has cancelled the future."""
        if number in self._waiting:
            self._loop.call_soon_threadsafe(self._line.withdraw, number)

    def _told_of(self, version: PreparedDevice) -> OnTask:
        """What a version's agent tells its ended tasks."""
        answers = Answers(version.package)
        beside = self._told_beside(version) if self._told_beside is not None else None
        self._newest = answers, beside
        return lambda task: self._ended(task, answers, beside)

    def _ended(self, task: Task, answers: Answers, beside: OnTask | None) -> None:
        """In the loop: a task has its outcome."""
        answer = self._told(task, answers, beside)
        future = self._waiting.pop(task.number)
        if future.set_running_or_notify_cancel():
            future.set_result(answer)

    def _told(self, task: Task, answers: Answers, beside: OnTask | None) -> Answer:
        answer = answers.of(task)
        self._counters.answered(answer, task.wire_bytes)
        if beside is not None:
            beside(task)
        return answer
