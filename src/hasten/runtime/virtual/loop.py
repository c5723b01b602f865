"""An event loop in which time passes only when everybody waits, and a clock that reads it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STUCK_S = 5.0
"""Nothing is scheduled: only another thread could go on, and is given so long in real time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for a timer it sets its clock to it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._own_thread = threading.get_ident()
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """As usual; within the loop's own thread there is nobody to wake."""
        if threading.get_ident() == self._own_thread:
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; otherwise time passes at once."""
        if timeout is None:
            found = super().select(STUCK_S)
            if not found:
                raise RuntimeError("virtual time: everybody waits, and nothing is scheduled")
            return found
        found = super().select(0)
        if not found:
            self._loop.jump(timeout)
        return found


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, from 0 on.

    Its result is not that of asyncio's task, which is written out at the end, with all arrays, only to be thrown away:
    ``signal.signal`` looks up the handler of Ctrl-C that it puts back, which holds the task.
    """
    found: list[T] = []

    async def kept() -> None:
        found.append(await main)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(kept())
    return found[0]


SAME_MS = 1e-5
"""An event loop keeps seconds: times that differ by less are one."""


class VirtualClock:
    """The time of a virtual loop, in milliseconds. While a call is made it is exactly the time that was set for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._exactly_ms: float | None = None
        self._latest_ms = 0.0
        self._awaited_ms = math.inf

    def now_ms(self) -> float:
        """The virtual time."""
        if self._exactly_ms is not None:
            return self._exactly_ms
        return max(1000.0 * self._loop.time(), self._latest_ms)

    def call_at(self, when_ms: float, call: Callable[[], None], rank: int = 0) -> None:
        """Have ``call`` run at ``when_ms``; equal times by ``rank``, then in the order they were set."""
        heapq.heappush(self._due, (when_ms, rank, next(self._order), call))
        self._await_next()

    def close(self) -> None:
        """Forget what is due."""
        self._due.clear()

    def _await_next(self) -> None:
        if self._due and self._due[0][0] < self._awaited_ms:
            self._awaited_ms = self._due[0][0]
            self._loop.call_at(self._awaited_ms / 1000.0, self._run_due, self._awaited_ms)

    def _run_due(self, awaited_ms: float) -> None:
        if awaited_ms != self._awaited_ms:
            return  # an earlier one came to be awaited meanwhile
        try:
            self._run_all(max(1000.0 * self._loop.time(), self._latest_ms))
        finally:
            self._awaited_ms, self._exactly_ms = math.inf, None
            self._await_next()

    def _run_all(self, now: float) -> None:
        while self._due and self._due[0][0] <= now + SAME_MS:
            when_ms, _, _, call = heapq.heappop(self._due)
            self._exactly_ms = when_ms if now - when_ms < SAME_MS else now
            self._latest_ms = max(self._latest_ms, self._exactly_ms)
            call()
