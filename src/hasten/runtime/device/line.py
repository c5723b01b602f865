"""One stream's agents, one after another: each version of its package has one, and tasks end with the one they began.

A task is decided, run and answered by one version from its arrival on, whatever comes meanwhile: the version before
sees its tasks through, over its own connection, beside the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from hasten.core.errors import ClosedError, InputError
from hasten.runtime.clock import SystemClock
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.known_arrivals import Replay
from hasten.runtime.device.prepared import PreparedDevice
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Task

Opening = Callable[[PreparedDevice], AbstractAsyncContextManager[DeviceAgent]]
"""Opens the agent of a version."""
OnTask = Callable[[Task], object]
Told = Callable[[PreparedDevice], OnTask]
"""Gives what is told of the tasks of a version."""
Begin = Callable[["_Version"], AbstractAsyncContextManager[None]]


@dataclass(eq=False)
class _Version:
    prepared: PreparedDevice
    agent: DeviceAgent
    open: int = 0
    """Its tasks that have no outcome yet."""
    ending: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Closes the agent,"""
    taking: AsyncExitStack = field(default_factory=AsyncExitStack)
    """and before that what its tasks need."""

    async def close(self) -> None:
        await self.taking.aclose()
        await self.ending.aclose()


class AgentLine:
    """The agents of one stream; an async context manager. All calls are made in the event loop."""

    def __init__(self, prepared: PreparedDevice, opening: Opening) -> None:
        """``prepared`` is the first version."""
        self._first, self._opening = prepared, opening
        self._versions: list[_Version] = []
        self._open: dict[int, _Version] = {}
        self._fewer = asyncio.Event()
        self._begin: Begin | None = None
        self._seeing_off: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._versions.append(await self._opened(self._first))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(version.close() for version in self._versions))
        await asyncio.gather(*self._seeing_off)

    @property
    def agent(self) -> DeviceAgent:
        """The one that takes what comes."""
        return self._versions[-1].agent

    @property
    def digest(self) -> str:
        """Of the package of the present version."""
        return self._versions[-1].prepared.package.digest

    async def switch(self, prepared: PreparedDevice) -> None:
        """Have a new version take what comes from now on; that before sees its tasks through and ends by itself.

        Raises:
            InputError: it takes other inputs, or its scheduler cannot decide for it. All goes on as before.
            ClosedError: tasks are not taken any more.
        """
        before = self._versions[-1]
        require_same_inputs(before.prepared, prepared)
        version = await self._opened(prepared)
        if self._begin is None:
            await version.close()
            raise ClosedError("the device is closed: it takes no more frames")
        await version.taking.enter_async_context(self._begin(version))
        self._versions.append(version)
        leaving = asyncio.create_task(self._see_off(before))
        self._seeing_off.add(leaving)
        leaving.add_done_callback(self._seeing_off.discard)

    @asynccontextmanager
    async def taking(self, start_ms: float, log: TaskLog, told: Told) -> AsyncIterator[None]:
        """Within, tasks may be taken one by one; at the end those that have arrived get 0.7 s to end."""

        def begin(version: _Version) -> AbstractAsyncContextManager[None]:
            on_task = told(version.prepared)
            return version.agent.taking(start_ms, log, lambda task: self._ended(task, on_task))

        await self._versions[-1].taking.enter_async_context(begin(self._versions[-1]))
        self._begin = begin
        try:
            yield
        finally:
            self._begin = None
            await asyncio.gather(*(version.taking.aclose() for version in self._versions))

    async def run(self, arrivals: Iterable[Arrival], start_ms: float, log: TaskLog, told: Told) -> None:
        """As :meth:`DeviceAgent.run`, by whichever version is there when a task arrives."""
        clock, over = SystemClock(asyncio.get_running_loop()), asyncio.Event()
        replay = Replay(clock, arrivals, start_ms, self.take, over.set)
        try:
            async with self.taking(start_ms, log, told):
                replay.begin()
                try:
                    await over.wait()
                    await self._until(lambda: not self._open)
                finally:
                    replay.stop()
        finally:
            clock.close()
        if replay.error is not None:
            raise replay.error

    def take(self, arrival: Arrival, number: int, deadline_ms: float | None = None) -> None:
        """As :meth:`DeviceAgent.take`; the number is of the stream's, whatever version takes the task."""
        version = self._versions[-1]
        self._open[number] = version
        version.open += 1
        try:
            version.agent.take(arrival, number, deadline_ms)
        except BaseException:
            self._forget(number)
            raise

    def withdraw(self, number: int) -> None:
        """As :meth:`DeviceAgent.withdraw`."""
        version = self._open.get(number)
        if version is not None:
            version.agent.withdraw(number)

    async def _opened(self, prepared: PreparedDevice) -> _Version:
        stack = AsyncExitStack()
        agent = await stack.enter_async_context(self._opening(prepared))
        return _Version(prepared, agent, ending=stack)

    async def _see_off(self, version: _Version) -> None:
        await self._until(lambda: not version.open)
        await version.close()
        if version in self._versions[:-1]:
            self._versions.remove(version)

    def _ended(self, task: Task, on_task: OnTask) -> None:
        self._forget(task.number)
        on_task(task)

    def _forget(self, number: int) -> None:
        version = self._open.pop(number, None)
        if version is not None:
            version.open -= 1
        self._fewer.set()

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait for as many tasks to end as that takes."""
        while not done():
            self._fewer.clear()
            await self._fewer.wait()


def require_same_inputs(before: PreparedDevice, after: PreparedDevice) -> None:
    """Refuse a package that does not take the frames of the one before with an :class:`InputError`."""
    wanted, found = before.package.manifest.inputs, after.package.manifest.inputs
    if found != wanted:
        shown = [", ".join(f"{it.name} {it.dtype}{list(it.shape)}" for it in specs) for specs in (found, wanted)]
        raise InputError(after.package.path, "inputs", shown[0], f"{shown[1]}, as in the version before")
