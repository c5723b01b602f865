"""The threads behind all devices and edges of a process: one runs hasten's event loop, one computes.

They start with the first user and end with the last. A process that was forked has none of them and starts its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hasten.core.errors import HastenError
from hasten.runtime.device.compute import ComputeQueue

T = TypeVar("T")


class Background:
    """A running event loop in a thread, and a processor; :func:`acquire` gives the process's."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.users = 0
        self.compute: ComputeQueue
        self.loop: asyncio.AbstractEventLoop
        self._ended = asyncio.Event()
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(begun,), name="hasten", daemon=True)
        self._thread.start()
        begun.wait()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop, and wait for it.

        Raises:
            HastenError: called in the loop's own thread, which would wait for itself.
        """
        if self.here():
            coroutine.close()
            raise HastenError("called back by hasten: open and close devices and edges in another thread")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def end(self) -> None:
        """End both threads."""
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self, begun: threading.Event) -> None:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
        with contextlib.suppress(ImportError):
            from uvloop import new_event_loop as factory
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._serve(begun))

    async def _serve(self, begun: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self.compute = ComputeQueue(self.loop)
        begun.set()
        await self._ended.wait()
        await self.compute.close()


_lock = threading.Lock()
_present: Background | None = None


def acquire() -> Background:
    """The process's background, started if need be; to be released once."""
    global _present
    with _lock:
        if _present is None:
            _present = Background()
        _present.users += 1
        return _present


def release(background: Background) -> None:
    """One user less; the last one ends it."""
    global _present
    with _lock:
        background.users -= 1
        if background.users == 0 and background.pid == os.getpid():
            background.end()
            _present = None


def _forget() -> None:
    """In a forked child: the threads are not there."""
    global _lock, _present
    _lock, _present = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
