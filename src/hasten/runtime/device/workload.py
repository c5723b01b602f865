"""What ``hasten device`` gives its agent to do: tasks drawn from known frames, or the frames of a live source."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, Protocol

from hasten.core.arrivals import Arrivals, PeriodicArrivals
from hasten.core.errors import InputError
from hasten.runtime.device.inputs import FrameInput
from hasten.runtime.device.line import AgentLine, Told
from hasten.runtime.device.live_sources import LiveSource, live_source, paced
from hasten.runtime.device.prepared import DEFAULT_RATE_HZ
from hasten.runtime.device.sources import Frames, arrival_times, open_source, parse_arrivals
from hasten.runtime.device.streaming import StreamPlan, stream_async
from hasten.runtime.device.submissions import Submissions
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.pace import now_ms
from hasten.split.package import Package

LEAD_MS = 50.0
PACED_PENDING = 64
"""So many frames that come at given times are under way at most; their deadlines bound them before that."""


class Workload(Protocol):
    """Tasks for one stream's agents.

    Attributes:
        arrivals: the process that they arrive by, where it is known.
        rate_hz: how many come in a second.
    """

    arrivals: Arrivals | None
    rate_hz: float

    async def run(self, line: AgentLine, deadline_ms: float, log: TaskLog, told: Told) -> None:
        """Have the agents do them all."""


def open_workload(source: str, arrivals: str | None, tasks: int | None, package: Package, seed: int = 0) -> Workload:
    """The workload of this source; without ``arrivals`` a video comes at its own rate, others at 10 Hz.

    Raises:
        InputError: the source is none or does not fit the package, or a source that comes when it comes was given
            arrivals.
    """
    live = live_source(source, package.manifest.inputs)
    process = parse_arrivals(arrivals) if arrivals is not None else None
    if live is None:
        return DrawnTasks(open_source(source, package, seed), process or _periodic(DEFAULT_RATE_HZ), tasks, seed)
    if live.own_pace:
        if process is not None:
            raise InputError("device", "arrivals", arrivals, f"none with {source}, whose frames come when they come")
        return LiveFrames(live, None, live.rate_hz or DEFAULT_RATE_HZ, tasks, package, seed)
    process = process or _periodic(live.rate_hz or DEFAULT_RATE_HZ)
    return LiveFrames(live, process, process.mean_rate_hz(None), tasks, package, seed)


def _periodic(rate_hz: float) -> Arrivals:
    return PeriodicArrivals(kind="periodic", rate_hz=rate_hz)


class DrawnTasks:
    """Each task shows a frame drawn from those there are, at a time of the arrival process."""

    def __init__(self, frames: Frames, arrivals: Arrivals, tasks: int | None, seed: int) -> None:
        self.arrivals: Arrivals | None = arrivals
        self.rate_hz = arrivals.mean_rate_hz(None)
        self._frames, self._process, self._tasks, self._seed = frames, arrivals, tasks, seed

    async def run(self, line: AgentLine, deadline_ms: float, log: TaskLog, told: Told) -> None:
        """Have the agents do them all."""
        stream = self._frames.stream(arrival_times(self._process, self._seed, self._tasks), self._seed)
        await line.run(stream, now_ms() + LEAD_MS, log, told)


class LiveFrames:
    """Every frame of a live source, in order: paced by an arrival process, or (None) as they come, the newest first."""

    def __init__(
        self,
        source: LiveSource,
        arrivals: Arrivals | None,
        rate_hz: float,
        tasks: int | None,
        package: Package,
        seed: int,
    ) -> None:
        self.arrivals, self.rate_hz = arrivals, rate_hz
        self._source, self._tasks, self._package, self._seed = source, tasks, package, seed

    async def run(self, line: AgentLine, deadline_ms: float, log: TaskLog, told: Told) -> None:
        """Have the agents do them all."""
        frame_input = FrameInput(self._package.manifest.inputs)
        submissions = Submissions(line, frame_input, deadline_ms, told)
        plan = StreamPlan("newest") if self.arrivals is None else StreamPlan("wait", PACED_PENDING)
        ended = threading.Event()
        await submissions.open(log)
        try:
            async with aclosing(stream_async(submissions, self._frames(ended), plan)) as answers:
                async for _ in answers:
                    pass
        finally:
            ended.set()  # whoever waits for the next frame's time goes on at once
            await submissions.close()

    def _frames(self, ended: threading.Event) -> Iterator[Any]:
        frames = itertools.islice(self._source.frames, self._tasks)
        if self.arrivals is None:
            return frames
        return paced(frames, arrival_times(self.arrivals, self._seed, self._tasks), ended.wait)
