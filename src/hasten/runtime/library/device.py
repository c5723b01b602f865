"""``hs.Device``: frames in, answers out, from any thread of any program."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from hasten.core.decision import Scheduler
from hasten.core.errors import ClosedError, HastenError, InputError
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.answers import Answer
from hasten.runtime.device.events import EdgeEvent
from hasten.runtime.device.inputs import FrameInput
from hasten.runtime.device.line import AgentLine, OnTask
from hasten.runtime.device.prepared import DEFAULT_DEADLINE_MS, DevicePlan, PreparedDevice
from hasten.runtime.device.stats import DeviceStats
from hasten.runtime.device.streaming import PENDING, StreamPlan, WhenFull, stream
from hasten.runtime.device.submissions import Submissions
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.watched import traces_of
from hasten.runtime.library.background import Background, acquire, release
from hasten.split.package import Package

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_logger = logging.getLogger("hasten.device")


class DeviceOptions(TypedDict, total=False):
    """What else can be said of a device; see :class:`Device`."""

    token: str
    tls_ca: str | Path | None
    tls_cert: str | Path | None
    tls_key: str | Path | None
    rate_hz: float
    profile: str | Path | None
    slowdown: float
    memory_mb: int
    seed: int
    outputs: bool
    otel: str | TracerProvider | None
    max_accuracy_loss: float


class Device:
    """The device side of hasten in your own program. Frames go in, and each gets exactly one :class:`Answer`.

    May be used from any number of threads, and wherever an event loop runs or none does. All devices of a process
    share one thread that computes and one for hasten's own event loop. Close it, or use it as a context manager.

    Args:
        package: a ``.hasten`` file, or an opened one.
        edge: ``HOST:PORT`` of an edge node, or several with commas, of which each frame goes to that which is expected
            to serve it best, or None to work alone. An edge that is not there is no error: the device does without it
            until it is. A scheduler that knows one edge (a trained policy) uses one at a time.
        scheduler: a name as for ``hasten simulate``, or an object of your own, which then serves this device only.
        deadline_ms: from arrival to answer, where a call says nothing else.
        on_event: called when the edge comes, goes or cannot be reached, in hasten's thread: keep it short.
        log: a file for the task log, one JSON line per frame.
        options: ``token`` and ``tls_ca`` of the edge; ``tls_cert`` and ``tls_key`` of this device, where the edge asks
            for them; ``rate_hz``, the frames a second that you expect (10), for schedulers that plan with it;
            ``profile``, a file with measured times; ``outputs=True`` has the edge send a classifier's logits, too;
            ``max_accuracy_loss`` lets a frame stop at an exit that it passes if that is sure enough, in a package that
            was built for at most such a loss; ``otel``, an OTLP endpoint or a tracer provider that traces go to;
            ``slowdown``, ``memory_mb`` and ``seed`` as for ``hasten device``.

    Raises:
        InputError: something given cannot be used.

    Examples:
        >>> import hasten as hs
        >>> with hs.Device("my.hasten", edge="192.0.2.7:7700", deadline_ms=80) as device:  # doctest: +SKIP
        ...     print(device.infer(frame).label)
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
        plan = DevicePlan(edge=edge, scheduler=scheduler, deadline_ms=deadline_ms, **options)
        prepared = PreparedDevice(package, plan)
        self._input = FrameInput(prepared.package.manifest.inputs)
        self._plan, self._on_event = plan, on_event
        self._closing = threading.Lock()
        self._closed = False
        self._ending = AsyncExitStack()
        self._log = TaskLog(Path(log) if log is not None else None)
        self._traces = traces_of(plan.otel, _logger.warning)
        self._background: Background = acquire()
        self._line: AgentLine
        self._submissions: Submissions
        try:
            self._background.call(self._open(prepared))
        except BaseException:
            self._close_files()
            release(self._background)
            raise

    async def _open(self, prepared: PreparedDevice) -> None:
        self._line = await self._ending.enter_async_context(AgentLine(prepared, self._agent))
        told = self._told if self._traces is not None else None
        self._submissions = Submissions(self._line, self._input, self._plan.deadline_ms, told)
        await self._submissions.open(self._log)
        self._ending.push_async_callback(self._submissions.close)

    def _told(self, version: PreparedDevice) -> OnTask:
        """What a version's ended tasks are told."""
        assert self._traces is not None  # only then it is asked
        traces, name = self._traces, version.package.manifest.name
        return lambda task: traces.ended(task, name)

    def _agent(self, version: PreparedDevice) -> AbstractAsyncContextManager[DeviceAgent]:
        return version.agent(_logger.info, self._on_event, self._background.compute)

    def infer(self, frame: Any, deadline_ms: float | None = None) -> Answer:
        """The answer to one frame; returns in any case, also when the frame was dropped or the answer is late.

        Args:
            frame: a numpy array of the package's input shape and type, with or without a leading axis of 1, or a dict
                of arrays by the inputs' names. It must stay as it is until the answer is there.
            deadline_ms: from now to the answer; by default the device's.

        Raises:
            InputError: the frame is not one of the package.
            ClosedError: the device is closed.
        """
        self._require_own_process()
        self._require_other_thread()
        return self._submissions.submit(self._submissions.checked(frame, copy=False), deadline_ms).result()

    def submit(self, frame: Any, deadline_ms: float | None = None) -> Future[Answer]:
        """The future of one frame's answer; the frame is copied.

        ``cancel()`` on the future takes the frame back where it stands. Callbacks of it run in hasten's thread.

        Raises:
            InputError: the frame is not one of the package.
            ClosedError: the device is closed.
        """
        self._require_own_process()
        return self._submissions.submit(self._submissions.checked(frame), deadline_ms)

    def stream(
        self,
        frames: Iterable[Any],
        when_full: WhenFull = "wait",
        pending: int = PENDING,
        deadline_ms: float | None = None,
    ) -> Iterator[Answer]:
        """Answers to all frames of an iterable, in order.

        Args:
            frames: as for :meth:`infer`; each is copied. It may be endless.
            when_full: with ``pending`` frames under way, ``"wait"`` takes the next one only when there is room: for
                frames that are there already. ``"newest"`` takes every frame when it comes, in a thread of its own,
                and drops the one that waits for a place when a newer one comes: for cameras.
            pending: frames under way at most.
            deadline_ms: of each, from its arrival; by default the device's.

        Raises:
            InputError: a frame is not one of the package; raised after the answers of those before it.
        """
        self._require_own_process()
        return stream(self._submissions, frames, StreamPlan(when_full, pending, deadline_ms))

    def switch(self, package: str | Path | Package, scheduler: str | Scheduler | None = None) -> None:
        """Go over to another version of the package, which takes the same inputs; returns when it takes the frames.

        Frames that are under way are answered by the version that took them. The edge has to serve the new one, else
        the device works alone until it does. Measured times and rates are learnt anew.

        Args:
            package: the new ``.hasten`` file, or an opened one.
            scheduler: by default that of before, by its name; an object serves one version, so that it needs another.

        Raises:
            InputError: the package cannot be used in place of the one before; the device goes on with that.
            ClosedError: the device is closed.
        """
        self._require_own_process()
        self._require_other_thread()
        if scheduler is None and not isinstance(self._plan.scheduler, str):
            raise InputError("device", "scheduler", None, "another scheduler for the new version, or a name")
        with self._closing:
            if self._closed:
                raise ClosedError("the device is closed: it takes no more frames")
            plan = replace(self._plan, scheduler=scheduler or self._plan.scheduler)
            self._background.call(self._line.switch(PreparedDevice(package, plan)))
            self._plan = plan

    def stats(self) -> DeviceStats:
        """What became of this device's frames so far."""
        return self._submissions.stats()

    def close(self) -> None:
        """Take no more frames, see those through that are here (for 0.7 s at most), and end. Twice is once."""
        self._require_own_process()
        with self._closing:
            if self._closed:
                return
            self._require_other_thread()
            self._closed = True
            try:
                self._background.call(self._ending.aclose())
            finally:
                self._close_files()
                release(self._background)

    def _close_files(self) -> None:
        self._log.close()
        if self._traces is not None:
            self._traces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_other_thread(self) -> None:
        if self._background.here():
            raise HastenError("called back by hasten: submit frames here, and do not wait for an answer")

    def _require_own_process(self) -> None:
        if self._background.pid != os.getpid():
            raise ClosedError("this device was opened before the process was forked: open one here")
