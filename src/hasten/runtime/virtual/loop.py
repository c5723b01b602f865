"""An event loop in which time passes only when everybody waits, and a clock that reads it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STUCK_S = 5.0
"""Nothing is scheduled: only another thread could go on, and is given so long in real time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for a timer it sets its clock to it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds


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
    """Run a coroutine in virtual time, from 0 on."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """The time of a virtual loop, in milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> float:
        """The virtual time."""
        return 1000.0 * self._loop.time()

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Have ``call`` run at ``when_ms``; equal times in the order they were set."""
        heapq.heappush(self._due, (when_ms, next(self._order), call))
        self._loop.call_at(when_ms / 1000.0, self._run_due)

    def close(self) -> None:
        """Forget what is due."""
        self._due.clear()

    def _run_due(self) -> None:
        now = self.now_ms() + 1e-6
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
