"""``hs.AsyncDevice``: :class:`~hasten.runtime.library.device.Device` for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from hasten.core.decision import Scheduler
from hasten.core.errors import ClosedError
from hasten.runtime.device.answers import Answer
from hasten.runtime.device.events import EdgeEvent
from hasten.runtime.device.prepared import DEFAULT_DEADLINE_MS
from hasten.runtime.device.stats import DeviceStats
from hasten.runtime.device.streaming import PENDING, StreamPlan, WhenFull, stream_async
from hasten.runtime.library.device import Device, DeviceOptions
from hasten.split.package import Package


class AsyncDevice:
    """A :class:`Device` for asyncio: the same arguments, methods and promises. It is opened by ``async with``.

    hasten does not run in your event loop but in its own thread, so neither holds the other up.

    Examples:
        >>> import hasten as hs
        >>> async def main(frame):
        ...     async with hs.AsyncDevice("my.hasten", edge="192.0.2.7:7700", deadline_ms=80) as device:
        ...         print((await device.infer(frame)).label)
    """

    def __init__(
        self,
        package: str | Path | Package,
        edge: str | None = None,
        scheduler: str | Scheduler = "greedy",
        deadline_ms: float = DEFAULT_DEADLINE_MS,
        on_event: Callable[[EdgeEvent], None] | None = None,
        log: str | Path | None = None,
        **options: Unpack[DeviceOptions],
    ) -> None:
        def open_device() -> Device:
            return Device(package, edge, scheduler, deadline_ms, on_event, log, **options)

        self._open_device = open_device
        self._lock = threading.Lock()
        self._given_up = False
        self._opened: Device | None = None

    async def infer(self, frame: Any, deadline_ms: float | None = None) -> Answer:
        """The answer to one frame, as :meth:`Device.infer`; cancelling the task that awaits takes the frame back."""
        return await asyncio.wrap_future(self._device.submit(frame, deadline_ms))

    def submit(self, frame: Any, deadline_ms: float | None = None) -> Future[Answer]:
        """The future of one frame's answer, as :meth:`Device.submit`; ``asyncio.wrap_future`` makes it awaitable."""
        return self._device.submit(frame, deadline_ms)

    def stream(
        self,
        frames: Iterable[Any] | AsyncIterable[Any],
        when_full: WhenFull = "wait",
        pending: int = PENDING,
        deadline_ms: float | None = None,
    ) -> AsyncGenerator[Answer]:
        """Answers to all frames in order, as :meth:`Device.stream`.

        Frames may come from an async iterable; a plain one is read in threads, so that it may block.
        """
        return stream_async(self._device._submissions, frames, StreamPlan(when_full, pending, deadline_ms))

    async def switch(self, package: str | Path | Package, scheduler: str | Scheduler | None = None) -> None:
        """Go over to another version of the package, as :meth:`Device.switch`."""
        await asyncio.to_thread(self._device.switch, package, scheduler)

    def stats(self) -> DeviceStats:
        """What became of this device's frames so far."""
        return self._device.stats()

    async def aclose(self) -> None:
        """Take no more frames, see those through that are here (for 0.7 s at most), and end."""
        await asyncio.to_thread(self._device.close)

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._open)
        except asyncio.CancelledError:
            with self._lock:
                self._given_up = True
                late, self._opened = self._opened, None
            if late is not None:
                late.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _open(self) -> None:
        """In a thread: what is opened when nobody waits for it any more is closed again."""
        device = self._open_device()
        with self._lock:
            given_up = self._given_up
            if not given_up:
                self._opened = device
        if given_up:
            device.close()

    @property
    def _device(self) -> Device:
        if self._opened is None:
            raise ClosedError("the device is not open yet: use it within `async with`")
        return self._opened
