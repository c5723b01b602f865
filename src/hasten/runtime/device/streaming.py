"""Streams of frames: answers in the order of arrival, and a bound on what is under way.

Where frames wait (``wait``), the next one is taken from the source when there is room. Where the newest wins
(``newest``), every frame is taken when it comes, and what finds no room is dropped when a newer one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from hasten.core.errors import InputError
from hasten.runtime.device.answers import Answer
from hasten.runtime.device.newest import NewestWins
from hasten.runtime.device.submissions import Submissions

WhenFull = Literal["wait", "newest"]
PENDING = 4
"""Enough to keep device, link and edge at work at the same time."""
UNREAD = 1024
"""So many answers are kept for somebody who does not fetch them; then the source waits."""
LEAVING_S = 1.0
"""So long the end of a stream waits for a source that is about to give a frame."""

Put = Callable[[Any], Future[Answer]]


@dataclass(frozen=True)
class StreamPlan:
    """How a stream is to go."""

    when_full: WhenFull = "wait"
    pending: int = PENDING
    """Frames under way at most."""
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        if self.when_full not in ("wait", "newest"):
            raise InputError("device", "when_full", self.when_full, "'wait' or 'newest'")
        if not 1 <= self.pending <= UNREAD:
            raise InputError("device", "pending", self.pending, f"1..{UNREAD}")

    def put(self, submissions: Submissions) -> Put:
        """What takes each frame."""
        if self.when_full == "newest":
            return NewestWins(submissions, self.pending, self.deadline_ms).put
        return lambda frame: submissions.submit(submissions.checked(frame), self.deadline_ms)


def stream(submissions: Submissions, frames: Iterable[Any], plan: StreamPlan) -> Iterator[Answer]:
    """Answers to ``frames``, in order; what is under way when the caller stops is cancelled."""
    if plan.when_full == "newest":
        return _newest(frames, plan.put(submissions))
    return _waiting(frames, plan.put(submissions), plan.pending)


def _waiting(frames: Iterable[Any], put: Put, pending: int) -> Iterator[Answer]:
    under_way: deque[Future[Answer]] = deque()
    trouble: Exception | None = None
    try:
        source = iter(frames)
        while trouble is None:
            try:
                under_way.append(put(next(source)))
            except StopIteration:
                break
            except Exception as error:  # raised when the frames before it have their answers
                trouble = error
            while under_way and (len(under_way) >= pending or under_way[0].done()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
        if trouble is not None:
            raise trouble
    finally:
        for future in under_way:
            future.cancel()


def _newest(frames: Iterable[Any], put: Put) -> Iterator[Answer]:
    arrived: queue.Queue[Future[Answer] | None] = queue.Queue(UNREAD)
    leaving = threading.Event()
    trouble: list[Exception] = []

    def read() -> None:
        try:
            for frame in frames:
                if leaving.is_set():
                    return
                arrived.put(put(frame))
        except Exception as error:  # raised when the frames before it have their answers
            trouble.append(error)
        finally:
            arrived.put(None)

    reader = threading.Thread(target=read, name="frames", daemon=True)
    reader.start()
    try:
        while (future := arrived.get()) is not None:
            yield future.result()
        if trouble:
            raise trouble[0]
    finally:
        leaving.set()
        with contextlib.suppress(queue.Empty):
            while True:
                left = arrived.get_nowait()
                if left is not None:
                    left.cancel()
        reader.join(LEAVING_S)


async def stream_async(
    submissions: Submissions, frames: Iterable[Any] | AsyncIterable[Any], plan: StreamPlan
) -> AsyncGenerator[Answer]:
    """The same in the running event loop. A plain iterable is read in threads, so that it may block."""
    put = plan.put(submissions)
    room = asyncio.Semaphore(plan.pending if plan.when_full == "wait" else UNREAD)
    arrived: asyncio.Queue[Future[Answer] | Exception | None] = asyncio.Queue()

    async def read() -> None:
        try:
            source = frames if isinstance(frames, AsyncIterable) else _in_threads(frames)
            await room.acquire()
            async for frame in source:
                arrived.put_nowait(put(frame))
                await room.acquire()
            arrived.put_nowait(None)
        except Exception as error:  # raised when the frames before it have their answers
            arrived.put_nowait(error)

    reader = asyncio.create_task(read())
    try:
        while (item := await arrived.get()) is not None:
            if isinstance(item, Exception):
                raise item
            answer = await asyncio.wrap_future(item)
            room.release()
            yield answer
    finally:
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        while not arrived.empty():
            left = arrived.get_nowait()
            if isinstance(left, Future):
                left.cancel()


async def _in_threads(frames: Iterable[Any]) -> AsyncIterator[Any]:
    """One frame after the other, each waited for in a thread."""
    source, end = iter(frames), object()
    while (frame := await asyncio.to_thread(next, source, end)) is not end:
        yield frame
