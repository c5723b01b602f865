"""``hasten device``: one agent with its own stream of tasks, against an edge node somewhere or none at all."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.profile import read_profile
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.learning import Learning, LearnPlan
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.sources import arrival_times, open_source, parse_arrivals
from hasten.runtime.device.tally import Tally
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Task
from hasten.runtime.device.uplink import Uplink, client_tls
from hasten.runtime.fit import require_fit
from hasten.runtime.notes import say_on_stderr
from hasten.runtime.pace import now_ms
from hasten.runtime.sockets import read_token, run_loop
from hasten.runtime.wire.handshake import Hello
from hasten.schedulers import make_scheduler
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor
from hasten.split.package import open_package

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
) -> Tally:
    """Run one device agent until its tasks are done or it is interrupted.

    Args:
        package: what it runs.
        edge: ``HOST:PORT`` of the edge node; if it cannot be reached, tasks are finished on the device.
        scheduler: name, as for ``hasten simulate``.
        deadline_ms: of every task, from its arrival.
        source: ``samples``, ``synthetic``, or a folder or file of arrays.
        arrivals: see :func:`hasten.runtime.device.sources.parse_arrivals`.
        tasks: how many; None goes on until this process is asked to end.
        slowdown: this device plays a machine so many times slower.
        profile: measured times that replace the package's own.
        log: one JSON line per task goes here.
        seed: of arrivals and of which frame each task shows.
        token_file: holds the edge's token.
        tls_ca: turns TLS on and names whom to trust.
        progress: told what is being done and which fraction of the tasks has its outcome.
        on_note: told when the edge comes and goes; by default standard error is.
        memory_mb: limit for what the segments need that are kept ready; what the scheduler may use comes first.
        learn: go on training the scheduler's policy on what happens, beside; see ``runtime.device.learning``.

    Raises:
        InputError: something given cannot be used. An edge that is not there is no error.
    """
    note = on_note or say_on_stderr
    learning = Learning(scheduler, learn, note) if learn is not None else None
    if learning is not None and log is None:
        log = learning.folder / "tasks.jsonl"
    opened = open_package(package)
    process = parse_arrivals(arrivals)
    frames = open_source(source, opened, seed)
    times = read_profile(profile) if profile else opened.profile
    require_fit(times, opened)
    settings = AgentSettings(deadline_ms, process.mean_rate_hz(None), slowdown, seed=seed, arrivals=process)
    host, port = parse_address(edge)
    hello = Hello(bytes.fromhex(opened.digest), read_token(token_file).encode(), opened.manifest.name)
    tls = client_tls(tls_ca) if tls_ca else None
    written = TaskLog(log)
    tally = Tally(scheduler, seed, times, slowdown)
    chosen = make_scheduler(scheduler)
    executor = Executor(opened, memory_bytes=memory_mb << 20, role="device")

    def count(task: Task) -> None:
        tally.add(task)
        if progress and tasks:
            progress(f"{scheduler} on {opened.manifest.name}", tally.tasks / tasks)

    async def run() -> None:
        agent = DeviceAgent(
            opened,
            executor,
            chosen,
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
            stream = frames.stream(arrival_times(process, seed, tasks), seed)
            await agent.run(stream, now_ms() + LEAD_MS, written, count)
        finally:
            tally.failure = agent.failure
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
    return tally


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT``; anything else, and a host that cannot exist, is an :class:`InputError`."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not bare or not 0 < number < 65536:
        raise InputError("device", "edge", text, "HOST:PORT")
    if not _possible_host(bare):
        raise InputError("device", "edge", text, "HOST:PORT of a host that can exist")
    return bare, number


def _possible_host(host: str) -> bool:
    """Whether there may be a host of this name."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    try:
        labels = host.removesuffix(".").encode("idna").decode().split(".")
    except UnicodeError:  # an empty label, or one that is too long
        return False
    name = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
    number = labels[-1].isdigit()  # no top-level domain is one: this would be an address, and is none
    return len(host) <= 253 and not number and all(name.fullmatch(label) for label in labels)
