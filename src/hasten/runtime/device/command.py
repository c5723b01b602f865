"""``hasten device``: one agent with its own stream of tasks, against an edge node somewhere or none at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.output import write_bytes
from hasten.runtime.device.answer_sinks import open_answers
from hasten.runtime.device.answers import Answers
from hasten.runtime.device.learning import Learning, LearnPlan
from hasten.runtime.device.line import AgentLine, OnTask
from hasten.runtime.device.prepared import DevicePlan, PreparedDevice
from hasten.runtime.device.tally import Tally
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Task
from hasten.runtime.device.watched import WatchedDevice
from hasten.runtime.device.workload import open_workload
from hasten.runtime.notes import say_on_stderr
from hasten.runtime.sockets import run_loop
from hasten.runtime.watched import LOOK_EVERY_S, WatchedFiles
from hasten.split.package import open_package


@dataclass(frozen=True)
class DeviceStream:
    """What a device has to do, and where to say what came of it.

    Attributes:
        source: ``samples``, ``synthetic``, a folder or file of arrays, or what ``live_sources`` knows.
        arrivals: see :func:`hasten.runtime.device.sources.parse_arrivals`; by default a video's own rate, else 10 Hz.
            Cameras and network streams come when they come.
        tasks: how many; None goes on until the source or this process ends.
        log: one JSON line per task goes here; see :mod:`hasten.core.task_log`.
        answers: each answer is told here: a file, ``-``, or an MQTT topic; see ``answer_sinks``.
        profile: the profile with the times that were measured meanwhile goes here in the end, also when interrupted.
        metrics: ``[HOST:]PORT`` where Prometheus finds its counters.
        watch: go over to the next version of the package when its file is replaced.
    """

    source: str = "samples"
    arrivals: str | None = None
    tasks: int | None = None
    log: Path | None = None
    answers: str | None = None
    profile: Path | None = None
    metrics: str | None = None
    watch: bool = False


def run_device(
    package: Path,
    plan: DevicePlan,
    stream: DeviceStream,
    learn: LearnPlan | None = None,
    progress: Callable[[str, float], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Tally:
    """Run one device agent until its tasks are done or it is interrupted.

    Args:
        package: what it runs.
        plan: what it is; the stream's arrivals replace its own.
        stream: what it has to do.
        learn: go on training the scheduler's policy on what happens, beside; see ``runtime.device.learning``.
        progress: told what is being done and which fraction of the tasks has its outcome.
        on_note: told when the edge comes and goes; by default standard error is.

    Raises:
        InputError: something given cannot be used. An edge that is not there is no error.
    """
    note, name = on_note or say_on_stderr, str(plan.scheduler)
    learning = Learning(name, learn, note) if learn is not None else None
    if learning is not None and stream.log is None:
        stream = replace(stream, log=learning.folder / "tasks.jsonl")
    if stream.watch and (learning is not None or plan.profile is not None):
        raise InputError("device", "watch", True, "neither --learn nor --profile beside it: they are of one version")
    files = WatchedFiles(lambda: [package])
    files.look(settled=False)
    opened = open_package(package)
    work = open_workload(stream.source, stream.arrivals, stream.tasks, opened, plan.seed)
    plan = replace(plan, arrivals=work.arrivals, rate_hz=work.rate_hz)
    prepared = PreparedDevice(opened, plan)
    tally = Tally(name, plan.seed, prepared.times, plan.slowdown)
    log, told = TaskLog(stream.log), open_answers(stream.answers, note)
    watched = WatchedDevice(stream.metrics, plan.otel, note)

    def tell(version: PreparedDevice) -> OnTask:
        answers, add = Answers(version.package), tally.of(version.times)

        def count(task: Task) -> None:
            add(task)
            answer = answers.of(task)
            told.write(answer.line())
            watched.ended(task, answer, version.package.manifest.name)
            if progress and stream.tasks:
                progress(f"{name} on {opened.manifest.name}", tally.tasks / stream.tasks)

        return count

    async def run() -> None:
        async with AgentLine(prepared, lambda version: version.agent(note)) as line:
            beside = []
            if learning is not None:
                beside.append(asyncio.create_task(learning.follow(line.agent)))
            if stream.watch:
                beside.append(asyncio.create_task(_follow_file(files, plan, line, note)))
            try:
                with watched.watching(line):
                    await work.run(line, plan.deadline_ms, log, tell)
            finally:
                tally.failure = line.agent.failure
                if stream.profile is not None:
                    write_bytes(stream.profile, line.agent.learnt_profile().to_json().encode())
                for task in beside:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    try:
        if learning is not None and stream.log is not None:
            learning.start(stream.log, prepared.times)
        run_loop(run())
    finally:
        log.close()
        told.close()
        watched.close()
        if learning is not None:
            learning.close()
    return tally


async def _follow_file(files: WatchedFiles, plan: DevicePlan, line: AgentLine, note: Callable[[str], None]) -> None:
    """Switch to each new version of the watched package; one that cannot be used is told of, and left alone."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for path in files.look()[0]:
            try:
                version = await asyncio.to_thread(PreparedDevice, path, plan)
                if version.package.digest != line.digest:
                    await line.switch(version)
                    note(f"device: {version.package.manifest.name} {version.package.digest[:12]} from now on")
            except Exception as error:  # of whatever kind: the version before serves
                note(f"device: goes on with the version before: {error}")
