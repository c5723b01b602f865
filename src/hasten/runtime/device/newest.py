"""Frames that come faster than they are served: the newest waits for a place, the one that waited is dropped."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hasten.core.errors import ClosedError
from hasten.runtime.device.answers import Answer
from hasten.runtime.device.submissions import Submissions
from hasten.runtime.pace import now_ms
from hasten.split.inputs import Frame


@dataclass(eq=False, slots=True)
class _Waiting:
    batch: Frame
    arrived_ms: float
    future: Future[Answer] = field(default_factory=Future)


class NewestWins:
    """At most ``pending`` frames are under way and one waits. Frames may be put from one thread at a time."""

    def __init__(self, submissions: Submissions, pending: int, deadline_ms: float | None) -> None:
        self._submissions, self._pending, self._deadline_ms = submissions, pending, deadline_ms
        self._lock = threading.Lock()
        self._under_way = 0
        self._waits: _Waiting | None = None

    def put(self, frame: Any) -> Future[Answer]:
        """A frame has arrived. Its future gets an answer in any case, and may be cancelled.

        Raises:
            InputError: it is no frame of the package.
        """
        arrived_ms = now_ms()
        came = _Waiting(self._submissions.checked(frame), arrived_ms)
        with self._lock:
            room = self._under_way < self._pending
            before = None
            if room:
                self._under_way += 1
            else:
                before, self._waits = self._waits, came
        if before is not None and before.future.set_running_or_notify_cancel():
            before.future.set_result(self._submissions.supersede(before.batch, self._deadline_ms, before.arrived_ms))
        if room:
            self._start(came)
        return came.future

    def _start(self, waiting: _Waiting) -> None:
        try:
            inner = self._submissions.submit(waiting.batch, self._deadline_ms, waiting.arrived_ms)
        except ClosedError as error:
            if waiting.future.set_running_or_notify_cancel():
                waiting.future.set_exception(error)
            return
        waiting.future.add_done_callback(lambda outer: inner.cancel() if outer.cancelled() else None)
        inner.add_done_callback(lambda ended: self._ended(waiting, ended))

    def _ended(self, waiting: _Waiting, ended: Future[Answer]) -> None:
        with self._lock:
            following, self._waits = self._waits, None
            if following is None:
                self._under_way -= 1
        if following is not None:
            self._start(following)
        if waiting.future.set_running_or_notify_cancel():
            waiting.future.set_result(ended.result())
