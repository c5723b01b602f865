"""What happens when a task ends: it is counted, logged and told; whatever of these fails, no task is lost over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hasten.runtime.device.events import EdgeEvent, EdgeListener, EdgeNews
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Outcome, Reason, Task
from hasten.runtime.outputs import ExitAnswer

DRAIN_S = 0.7
"""An agent that is asked to end waits so long for the tasks that it has."""
MOST_KINDS = 100
"""So many kinds of things are told of once: an edge may think of any number of texts."""


class Teller:
    """Tells in words; a listener that fails is told about no more, and nobody notices."""

    def __init__(self, listener: Callable[[str], None] | None) -> None:
        self.on_edge: EdgeListener | None = None
        """Told when the edge comes, goes or cannot be reached."""
        self._listener = listener
        self._told: set[str] = set()

    def tell(self, text: str) -> None:
        """Tell every time."""
        if self._listener is not None:
            try:
                self._listener(text)
            except Exception:  # a closed terminal, a full disk behind it: there is nobody left to tell
                self._listener = None

    def once(self, key: str, text: str) -> None:
        """Tell the first of its kind, as long as there are not too many kinds."""
        if key not in self._told and len(self._told) < MOST_KINDS:
            self._told.add(key)
            self.tell(text)

    def edge(self, kind: EdgeNews, text: str) -> None:
        """Tell that the edge has come, gone, or cannot be reached."""
        self.tell(text)
        if self.on_edge is not None:
            try:
                self.on_edge(EdgeEvent(kind, text))
            except Exception as error:  # the program's own; it costs no task, and it is told what happened
                self.once("on_event", f"on_event failed: {type(error).__name__}: {error}")


class Endings:
    """Counts open tasks and reports each that ends.

    Attributes:
        open: the tasks without an outcome, by number.
        all_ended: set while there is none and none is to come.
    """

    def __init__(self, teller: Teller, learn: Callable[[Task], None]) -> None:
        self.open: dict[int, Task] = {}
        self.all_ended = asyncio.Event()
        self._teller = teller
        self._learn = learn
        self._more = False
        self._start_ms = 0.0
        self._log: TaskLog | None = None
        self._on_task: Callable[[Task], object] | None = None

    def begin(self, start_ms: float, log: TaskLog, on_task: Callable[[Task], object] | None) -> None:
        """Tasks are to come; times in the log count from ``start_ms``."""
        self._more, self._start_ms, self._log = True, start_ms, log
        self.all_ended.clear()
        log.on_trouble = lambda text: self._teller.once("log", text)
        self._on_task = on_task

    def arrived(self, task: Task) -> None:
        """A task that will need an outcome."""
        self.open[task.number] = task

    def no_more(self) -> None:
        """No task is to come."""
        self._more = False
        self._look()

    async def drain(self) -> None:
        """No task is to come; those that are here get a moment to end."""
        self.no_more()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.all_ended.wait()
        except TimeoutError:
            for task in list(self.open.values()):
                self.end(task, Outcome.LATE, Reason.STOPPED)

    def answer(self, task: Task, now_ms: float, partition: int, found: ExitAnswer) -> None:
        """A task has its answer, with blocks 1..``partition`` run here; the first one counts."""
        if not task.ended:
            task.answer(now_ms, partition, found)
            self._close(task)

    def end(self, task: Task, outcome: Outcome, reason: Reason) -> None:
        """A task ends without an answer."""
        if not task.ended:
            task.end(outcome, reason)
            self._close(task)

    def fail(self, task: Task, why: Reason) -> None:
        """A task that was begun ends without an answer."""
        self.end(task, Outcome.INVALID if why is Reason.INVALID else Outcome.LATE, why)

    def unanswered(self, task: Task) -> None:
        """A task's answer is not waited for any longer."""
        self.fail(task, Reason.NO_ANSWER)

    def _close(self, task: Task) -> None:
        del self.open[task.number]
        self._guarded("learning", lambda: self._learn(task))
        self._guarded("metric", task.be_judged)
        record: dict[str, Any] = {}
        self._guarded("record", lambda: record.update(task.record(self._start_ms)))
        if self._log is not None and record:
            self._guarded("log", lambda: self._written(record))
        listener = self._on_task
        if listener is not None:
            self._guarded("on_task", lambda: listener(task))
        self._look()

    def _written(self, record: dict[str, Any]) -> None:
        assert self._log is not None  # checked by the caller
        self._log.write(record)

    def _guarded(self, what: str, call: Callable[[], object]) -> None:
        """Make a call that must not cost a task its outcome; told once if it fails."""
        try:
            call()
        except Exception as error:
            self._teller.once(what, f"{what} failed: {type(error).__name__}: {error}; tasks go on without it")

    def _look(self) -> None:
        if not self._more and not self.open:
            self.all_ended.set()
