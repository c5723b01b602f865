"""``hasten device``: one agent with its own stream of tasks, against an edge node somewhere or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hasten.core.output import write_bytes
from hasten.runtime.device.answer_sinks import open_answers
from hasten.runtime.device.answers import Answers
from hasten.runtime.device.learning import Learning, LearnPlan
from hasten.runtime.device.prepared import DevicePlan, PreparedDevice
from hasten.runtime.device.tally import Tally
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Task
from hasten.runtime.device.watched import WatchedDevice
from hasten.runtime.device.workload import open_workload
from hasten.runtime.notes import say_on_stderr
from hasten.runtime.sockets import run_loop
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
    """

    source: str = "samples"
    arrivals: str | None = None
    tasks: int | None = None
    log: Path | None = None
    answers: str | None = None
    profile: Path | None = None
    metrics: str | None = None


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
    opened = open_package(package)
    work = open_workload(stream.source, stream.arrivals, stream.tasks, opened, plan.seed)
    prepared = PreparedDevice(opened, replace(plan, arrivals=work.arrivals, rate_hz=work.rate_hz))
    tally, answers = Tally(name, plan.seed, prepared.times, plan.slowdown), Answers(opened)
    log, told = TaskLog(stream.log), open_answers(stream.answers, note)
    watched = WatchedDevice(stream.metrics, note)

    def count(task: Task) -> None:
        tally.add(task)
        answer = answers.of(task)
        told.write(answer.line())
        watched.ended(answer, task.wire_bytes)
        if progress and stream.tasks:
            progress(f"{name} on {opened.manifest.name}", tally.tasks / stream.tasks)

    async def run() -> None:
        async with prepared.agent(note) as agent:
            following = asyncio.create_task(learning.follow(agent)) if learning is not None else None
            try:
                with watched.watching(agent):
                    await work.run(agent, plan.deadline_ms, log, count)
            finally:
                tally.failure = agent.failure
                if following is not None:
                    following.cancel()
                if stream.profile is not None:
                    write_bytes(stream.profile, agent.learnt_profile().to_json().encode())

    try:
        if learning is not None and stream.log is not None:
            learning.start(stream.log, prepared.times)
        run_loop(run())
    finally:
        log.close()
        told.close()
        if learning is not None:
            learning.close()
    return tally
