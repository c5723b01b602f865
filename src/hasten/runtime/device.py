"""``hasten device``: one agent with its own stream of tasks, against an edge node somewhere or none at all."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.gain import OnTimeAccuracy
from hasten.core.profile import Profile, read_profile
from hasten.core.results import Result
from hasten.runtime.agent import DeviceAgent
from hasten.runtime.collect import StreamLog, collect
from hasten.runtime.deciding import AgentSettings
from hasten.runtime.fit import require_fit
from hasten.runtime.learning import Learning, LearnPlan
from hasten.runtime.pace import now_ms
from hasten.runtime.sockets import read_token, run_loop
from hasten.runtime.sources import open_source, parse_arrivals
from hasten.runtime.tasklog import TaskLog
from hasten.runtime.tasks import Task
from hasten.runtime.uplink import Uplink, client_tls
from hasten.runtime.wire import Hello
from hasten.schedulers import make_scheduler
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor
from hasten.split.package import open_package

MOST_TASKS = 1_000_000
"""Without a number of tasks, the stream ends after so many, or when interrupted."""
LEAD_MS = 50.0


def run_device(
    package: Path,
    edge: str,
    scheduler: str = "greedy",
    deadline_ms: float = 100.0,
    source: str = "samples",
    arrivals: str = "periodic:10",
    tasks: int | None = None,
    slowdown: float = 1.0,
    profile: Path | None = None,
    log: Path | None = None,
    seed: int = 0,
    token_file: Path | None = None,
    tls_ca: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    learn: LearnPlan | None = None,
    memory_mb: int = DEFAULT_MEMORY_BYTES >> 20,
) -> Result:
    """Run one device agent until its tasks are done or it is interrupted.

    Args:
        package: what it runs.
        edge: ``HOST:PORT`` of the edge node; if it cannot be reached, tasks are finished on the device.
        scheduler: name, as for ``hasten simulate``.
        deadline_ms: of every task, from its arrival.
        source: ``samples``, ``synthetic``, or a folder or file of arrays.
        arrivals: see :func:`hasten.runtime.sources.parse_arrivals`.
        tasks: how many.
        slowdown: this device plays a machine so many times slower.
        profile: measured times that replace the package's own.
        log: one JSON line per task goes here.
        seed: of arrivals and of which frame each task shows.
        token_file: holds the edge's token.
        tls_ca: turns TLS on and names whom to trust.
        progress: told what is being done and which fraction of the tasks has its outcome.
        on_note: told when the edge comes and goes; by default standard error is.
        memory_mb: limit for what the segments need that are kept ready; what the scheduler may use comes first.
        learn: go on training the scheduler's policy on what happens, in a process beside; see ``runtime.learning``.

    Raises:
        InputError: something given cannot be used. An edge that is not there is no error.
    """
    note = on_note or _say
    learning = Learning(scheduler, learn, note) if learn is not None else None
    if learning is not None and log is None:
        log = learning.folder / "tasks.jsonl"
    opened = open_package(package)
    process = parse_arrivals(arrivals)
    times_ms = process.times(np.random.default_rng([seed, 0, 0]), tasks or MOST_TASKS, np.inf, 0.0, None)
    stream = open_source(source, opened, seed).arrivals(times_ms, seed)
    times = read_profile(profile) if profile else opened.profile
    require_fit(times, opened)
    settings = AgentSettings(deadline_ms, process.mean_rate_hz(None), slowdown, seed=seed, arrivals=process)
    host, port = parse_address(edge)
    hello = Hello(bytes.fromhex(opened.digest), read_token(token_file).encode(), opened.manifest.name)
    tls = client_tls(tls_ca) if tls_ca else None
    written = TaskLog(log, keep=True)
    decider = make_scheduler(scheduler)
    executor = Executor(opened, memory_bytes=memory_mb << 20, role="device")
    done = 0

    def count(task: Task) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(f"{scheduler} on {opened.manifest.name}", done / len(stream))

    async def run() -> None:
        agent = DeviceAgent(
            opened,
            executor,
            decider,
            settings,
            lambda user: Uplink(host, port, hello, tls, user),
            times,
            note,
        )
        executor.warm(agent.usable())
        if shortfall := executor.shortfall():
            note(shortfall)
        following = asyncio.create_task(learning.follow(agent)) if learning is not None else None
        try:
            await agent.prepare()
            await agent.run(stream, now_ms() + LEAD_MS, written, count)
        finally:
            if following is not None:
                following.cancel()
            await agent.close()

    try:
        if learning is not None and log is not None:
            learning.start(log, times)
        run_loop(run())
    finally:
        written.close()
        if learning is not None:
            learning.close()
    return _result(scheduler, seed, times, settings, times_ms, written)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT``; anything else is an :class:`InputError`."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        number = int(port)
        if ":" in bare:
            ipaddress.ip_address(bare)
    except ValueError:
        number = 0
    if not bare or not 0 < number < 65536:
        raise InputError("device", "edge", text, "HOST:PORT")
    return bare, number


def _result(
    scheduler: str,
    seed: int,
    profile: Profile,
    settings: AgentSettings,
    times_ms: NDArray[np.float64],
    written: TaskLog,
) -> Result:
    records = sorted(written.records, key=lambda record: record["task"])
    done = np.array([record["task"] for record in records], dtype=np.int64)
    log = StreamLog(profile, settings.deadline_ms, times_ms[done], records)
    return collect(scheduler, seed, [log], OnTimeAccuracy())
