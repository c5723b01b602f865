"""A whole scenario in virtual time: every stream's agent, the links and the edges, in one process on one clock.

The objects are those of the runtime. Played are the machines: service times are those of the streams' profiles, so
that neither packages nor torch are needed, and the clock. As in a real run devices decide by what they see, the order
is ``ready``, and a task costs ``task_ms`` and ``offload_ms`` besides (means of the streams' profiles, as one machine
plays them all): the alarm of a task's arrival goes off ``task_ms`` late, and a task's frame and its answer take half of
``offload_ms`` each besides.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.edge_order import QUEUES
from hasten.core.errors import HastenError
from hasten.core.results import Failure, Result
from hasten.core.scenario import Realization, Scenario
from hasten.core.scenario_parts import NamedEdge
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Task
from hasten.runtime.local.cluster import LEAD_MS
from hasten.runtime.local.link import SerialLink
from hasten.runtime.local.results import StreamLog, collect
from hasten.runtime.local.rounds import log_path
from hasten.runtime.local.run import Progress, RunOutcome
from hasten.runtime.local.watching import LONGER_THAN_PLANNED_S
from hasten.runtime.streams import check_machines, check_schedulers, machine_facts, offload_ms, stream_settings, task_ms
from hasten.runtime.virtual.edge import VirtualEdge
from hasten.runtime.virtual.loop import VirtualClock, run_virtual
from hasten.runtime.virtual.machine import VirtualCompute, shared_machine
from hasten.runtime.virtual.network import VirtualLink
from hasten.runtime.virtual.play import connector
from hasten.runtime.virtual.stand_in import HEAD_BYTES, StandIn, frame_of, number_in, stand_in_package
from hasten.schedulers import make_scheduler

TOLD_TASKS = 500
"""Progress is told every so many tasks."""


def run_virtual_scenario(
    scenario: Scenario,
    schedulers: Sequence[str],
    seeds: Sequence[int] = (0,),
    out_dir: Path | None = None,
    progress: Progress | None = None,
) -> RunOutcome:
    """Run a scenario for every seed and scheduler in virtual time; a round that fails is named and the others go on.

    All but the decisions' own duration is the same whenever it is run. ``facts`` hold ``kind`` (virtual), ``devices``,
    ``workers`` and ``faster``: how much less time it took than passed in it.

    Args:
        scenario: the profile of a stream may be any: a name, a file, a package.
        schedulers: names, as for ``hasten simulate``.
        seeds: realizations.
        out_dir: the log of every task goes here, if anywhere: ``SCHEDULER-SEED-STREAM.jsonl``.
        progress: told what is being done and the fraction done.

    Raises:
        InputError: an unknown scheduler, or machines that cannot be played (a slow-down below 1).
    """
    check_virtual(scenario, schedulers)
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda text, fraction: None)
    rounds = [(seed, name) for seed in seeds for name in schedulers]
    results: list[Result] = []
    failures: list[Failure] = []
    interrupted = False
    began_s, played_s = time.perf_counter(), 0.0
    for number, (seed, name) in enumerate(rounds):

        def tell(share: float, name: str = name, number: int = number) -> None:
            report(f"running {name} in virtual time", (number + share) / len(rounds))

        try:
            result, passed_s = run_virtual(_round(scenario, name, scenario.realize(seed), out_dir, tell))
            results.append(result)
            played_s += passed_s
        except (HastenError, OSError, TimeoutError) as error:
            failures.append(Failure(name, seed, str(error) or "not done in time"))
        except KeyboardInterrupt:
            interrupted = True
            failures += [Failure(name, seed, "interrupted") for seed, name in rounds[number:]]
            break
    else:
        report("done", 1.0)
    faster = played_s / max(time.perf_counter() - began_s, 1e-9)
    facts = {"kind": "virtual"} | machine_facts(scenario) | {"faster": round(float(faster), 1)}
    return RunOutcome(results, facts, failures, interrupted)


def check_virtual(scenario: Scenario, schedulers: Sequence[str]) -> None:
    """Refuse with an :class:`InputError` what :func:`run_virtual_scenario` could not play, before anything starts."""
    check_schedulers(scenario, schedulers)
    check_machines(scenario)


@dataclass(frozen=True)
class _Station:
    """One stream: its agent, its tasks and their log."""

    agent: DeviceAgent
    tasks: list[Arrival]
    log: TaskLog = field(default_factory=lambda: TaskLog(None, keep=True))

    def ended(self, task: Task) -> None:
        """The last record is this task's; what the log rounds, this run knows exactly."""
        if math.isfinite(task.latency_ms):
            self.log.records[-1]["latency_ms"] = task.latency_ms

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of every task, in order of arrival."""
        return sorted(self.log.records, key=lambda record: int(record["task"]))


async def _round(
    scenario: Scenario, name: str, realization: Realization, out_dir: Path | None, tell: Callable[[float], None]
) -> tuple[Result, float]:
    """Every task of one realization under one scheduler, and how many virtual seconds that took."""
    clock = VirtualClock(asyncio.get_running_loop())
    packages = {stream.profile: stand_in_package(stream.profile) for stream in scenario.devices}
    edges = [_edge(n, way, realization, list(packages.values()), clock) for n, way in enumerate(scenario.every_edge)]
    lines = [SerialLink(trace) for trace in realization.rates]
    stations = []
    for m, stream in enumerate(scenario.devices):
        links = []
        for way, edge, line in zip(scenario.every_edge, edges, scenario.links[:, m].tolist(), strict=True):
            links.append(VirtualLink(clock, edge, lines[line], way.uplink.rtt_ms))
            links[-1].where = way.name
        stations.append(_station(scenario, name, realization, m, packages[stream.profile], links, clock))
    done = 0

    def count(station: _Station, task: Task) -> None:
        nonlocal done
        station.ended(task)
        done += 1
        if done % TOLD_TASKS == 0:
            tell(done / realization.tasks)

    await _run(stations, lines, clock, count)
    names = [way.name for way in scenario.every_edge]
    result = collect(name, realization.seed, _logs(scenario, realization, stations), scenario.gain, names)
    if out_dir is not None:
        for stream, station in zip(scenario.devices, stations, strict=True):
            text = "".join(json.dumps(record) + "\n" for record in station.records)
            log_path(out_dir, name, realization.seed, stream.name).write_text(text, encoding="utf-8")
    return result, clock.now_ms() / 1000.0


def _edge(
    number: int, way: NamedEdge, realization: Realization, packages: list[Any], clock: VirtualClock
) -> VirtualEdge:
    """An edge whose tasks take as long and are as easy as the realization has it."""
    edge = VirtualEdge(clock, packages, way.edge.workers, way.edge.slowdown, QUEUES[way.edge.queue], way.edge.batch)
    noise, ease = realization.noise, realization.ease
    if noise is not None:
        edge.factor = lambda payload: float(noise.edge_factor[number_in(payload), number])
    if ease is not None:
        edge.ease = lambda payload: float(ease[number_in(payload)])
    return edge


def _station(
    scenario: Scenario,
    name: str,
    realization: Realization,
    m: int,
    package: Any,
    links: Sequence[VirtualLink],
    clock: VirtualClock,
) -> _Station:
    """Stream ``m``'s agent and tasks. A frame holds the task's number in the realization, which tells its noise."""
    own = np.flatnonzero(realization.stream == m)
    noise = realization.noise
    for link in links:
        link.offload_ms = offload_ms(scenario)
        if noise is not None:
            link.answer_late_ms = lambda submit: float(noise.offload_extra_ms[number_in(submit[HEAD_BYTES:])])
    compute = VirtualCompute(clock, noise=None if noise is None else noise.part(own))
    agent = DeviceAgent(
        package,
        StandIn(scenario.devices[m].profile, realization.ease),
        make_scheduler(name),
        stream_settings(scenario, realization.seed, m),
        [connector(package, scenario.devices[m].name, link, clock) for link in links],
        scenario.devices[m].profile,
        machine=shared_machine(clock, compute, task_ms(scenario), m),
    )
    return _Station(agent, [Arrival(float(realization.arrival_ms[i]), 0, [frame_of(i)], None) for i in own.tolist()])


def _logs(scenario: Scenario, realization: Realization, stations: Sequence[_Station]) -> list[StreamLog]:
    return [
        StreamLog(
            stream.profile,
            stream.deadline_ms,
            realization.arrival_ms[realization.stream == m],
            station.records,
            stream.slowdown,
        )
        for m, (stream, station) in enumerate(zip(scenario.devices, stations, strict=True))
    ]


async def _run(
    stations: Sequence[_Station],
    lines: Sequence[SerialLink],
    clock: VirtualClock,
    count: Callable[[_Station, Task], None],
) -> None:
    """Connect one after the other, so that probes do not meet; then run all from one time 0 on."""
    last_ms = max((station.tasks[-1].at_ms for station in stations if station.tasks), default=0.0)
    try:
        for station in stations:
            await station.agent.prepare()
        start_ms = clock.now_ms() + LEAD_MS
        for line in lines:
            line.start(start_ms)
        async with asyncio.timeout(last_ms / 1000.0 + LONGER_THAN_PLANNED_S):
            await asyncio.gather(*(it.agent.run(it.tasks, start_ms, it.log, partial(count, it)) for it in stations))
    finally:
        for station in stations:
            await station.agent.close()
    for station in stations:
        if station.agent.failure:
            raise HastenError(station.agent.failure)
