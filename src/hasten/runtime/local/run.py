"""``hasten run``: a scenario in real processes on this machine, the link between them emulated.

One process is the edge node, one the link, one for each device; they stay for the whole run. For every seed and
scheduler the same realization is replayed: the same arrivals, frames and link rates from a common time 0. What a
simulated view would make stale or wrong (``view``) is here as stale and wrong as it is; ``order`` is always ``ready``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.errors import HastenError, InputError
from hasten.core.files import locate
from hasten.core.rates import RateTrace
from hasten.core.results import Failure, Result
from hasten.core.scenario import Realization, Scenario
from hasten.runtime.local.changes import Changes
from hasten.runtime.local.processes import Child, ChildError, end_all
from hasten.runtime.local.results import StreamLog, collect
from hasten.runtime.local.rounds import RoundFiles, log_path, round_facts, round_name
from hasten.runtime.local.watching import EDGE_ENDED, Watch
from hasten.runtime.pace import now_ms
from hasten.runtime.same_network import require_fit
from hasten.runtime.sockets import backend_facts
from hasten.runtime.streams import check_machines, stream_settings
from hasten.schedulers import make_scheduler
from hasten.split.package import Package, open_package

Progress = Callable[[str, float], None]
LEAD_MS = 300.0
"""From the order to start until time 0."""
CHANGED_BY_HAND = "changed_by_hand"


@dataclass(frozen=True)
class RunOutcome:
    """Results in the order of seeds, then schedulers, what they rest on, and the rounds that have none."""

    results: list[Result]
    facts: dict[str, Any]
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False

    def complete(self) -> RunOutcome:
        """This, if every round has its result; else :class:`ChildError` names the first without.

        Raises:
            ChildError: a round failed.
            KeyboardInterrupt: the run was interrupted.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        for failure in self.failures:
            raise ChildError(f"{failure.scheduler}, seed {failure.seed}: {failure.reason}")
        return self


def run_scenario(
    scenario: Scenario,
    schedulers: Sequence[str],
    seeds: Sequence[int] = (0,),
    package: Path | None = None,
    out_dir: Path | None = None,
    progress: Progress | None = None,
    changes: Changes | None = None,
) -> RunOutcome:
    """Run a scenario for every seed and scheduler. A round that fails is named and the others go on.

    An edge that dies is no failure: devices finish alone, and the round's notes tell it (``edge_ended``). When
    interrupted, what has finished is returned, and the rest are failures.

    Args:
        scenario: each stream's profile is a ``.hasten`` package, unless ``package`` is given.
        schedulers: names, as for ``hasten simulate``.
        seeds: realizations.
        package: what all streams run; their profiles then only say how long that takes.
        out_dir: the log of every task goes here, ``SCHEDULER-SEED-STREAM.jsonl``.
        progress: told what is being done and the fraction done.
        changes: what somebody may change by hand meanwhile.

    Raises:
        InputError: a stream names no package, or the machine cannot play the scenario (a slow-down below 1).
        ChildError: the processes cannot be started.
    """
    check_runnable(scenario, schedulers, package)
    report = progress or (lambda text, fraction: None)
    rounds = [(seed, name) for seed in seeds for name in schedulers]
    results: list[Result] = []
    failures: list[Failure] = []
    interrupted = False
    with ExitStack() as stack:
        folder = out_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hasten-run-")))
        folder.mkdir(parents=True, exist_ok=True)
        report("starting processes", 0.0)
        cluster = stack.enter_context(LocalCluster(scenario, package, folder, changes))
        for number, (seed, name) in enumerate(rounds):

            def tell(share: float, name: str = name, number: int = number) -> None:
                report(f"running {name}", (number + share) / len(rounds))

            try:
                results.append(cluster.play(name, seed, tell))
            except (HastenError, OSError, ValueError) as error:  # ValueError: a log that breaks off
                failures.append(Failure(name, seed, str(error)))
                cluster.stop()  # whatever state they are in: the next round begins with new ones
            except KeyboardInterrupt:
                interrupted = True
                failures += [Failure(name, seed, "interrupted") for seed, name in rounds[number:]]
                break
        else:
            report("done", 1.0)
    facts = backend_facts() | {"devices": len(scenario.devices), "workers": scenario.edge.workers}
    return RunOutcome(results, facts, failures, interrupted)


class LocalCluster:
    """The processes of a run, as a context manager. After ``stop`` the next round starts them anew.

    Attributes:
        edge: the edge node's process.
        relay: the link's process.
        devices: one process per device.
    """

    edge: Child
    relay: Child
    devices: list[Child]

    def __init__(self, scenario: Scenario, package: Path | None, folder: Path, changes: Changes | None = None) -> None:
        self._changes = changes or Changes()
        self._scenario, self._folder = scenario, folder
        self._paths = stream_packages(scenario, package)
        self._profiles = [self._profile_file(m, override=package is not None) for m in range(len(scenario.devices))]
        self._children: list[Child] = []

    def __enter__(self) -> LocalCluster:
        """Start and warm up everything."""
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self.stop()

    def stop(self) -> None:
        """End every process."""
        children, self._children = self._children, []
        end_all(children)

    def _begin(self) -> None:
        self.edge = self._child("edge", "edge")
        self.relay = self._child("relay", "link")
        confidence = self._scenario.confidence
        loss = None if confidence is None else confidence.max_accuracy_loss
        self.devices = [self._child("device", stream.name) for stream in self._scenario.devices]
        for device, path, profile in zip(self.devices, self._paths, self._profiles, strict=True):
            device.tell("start", package=str(path), profile=profile, max_accuracy_loss=loss)
        self._edge_port = self._start_edge(0)
        order = {"host": "127.0.0.1", "port": self._edge_port, "rtt_ms": self._scenario.uplink.rtt_ms}
        self._ports = self.relay.ask("start", devices=len(self.devices), **order)["ports"]
        for device in self.devices:
            device.wait()

    def play(self, scheduler: str, seed: int, tell: Callable[[float], None]) -> Result:
        """Run one round: every task of one realization under one scheduler."""
        if not self._children:
            self._begin()
        if not self.edge.alive:
            self.restart_edge()
        realization = self._scenario.realize(seed)
        self.relay.ask("load", traces=[_trace_message(trace) for trace in realization.rates])
        arrivals = [realization.arrival_ms[realization.stream == m] for m in range(len(self.devices))]
        logs = [log_path(self._folder, scheduler, seed, stream.name) for stream in self._scenario.devices]
        for m, device in enumerate(self.devices):  # one after the other, so that their probes do not meet
            device.ask("prepare", **self._order(scheduler, realization, m), log=str(logs[m]))
        at_ms = now_ms() + LEAD_MS
        self.relay.ask("begin", at_ms=at_ms)
        for device in self.devices:
            device.tell("run", at_ms=at_ms)
        files = RoundFiles(self._folder, round_name(scheduler, seed))
        files.begin(round_facts(self._scenario, scheduler, realization, self._folder, time.time() + LEAD_MS / 1000.0))
        watch = Watch(self, realization, files, self._changes)
        watch.wait(tell)
        records = [read_log(path) for path in logs]
        if watch.changed:  # tasks may have come at other times
            arrivals = [np.array([record["arrival_ms"] for record in stream]) for stream in records]
        streams = [
            StreamLog(stream.profile, stream.deadline_ms, times_ms, told, stream.slowdown)
            for stream, times_ms, told in zip(self._scenario.devices, arrivals, records, strict=True)
        ]
        result = collect(scheduler, seed, streams, self._scenario.gain)
        notes = {} if self.edge.alive else {EDGE_ENDED: 1}
        if watch.changed:
            notes[CHANGED_BY_HAND] = watch.changed
        return replace(result, notes=result.notes | notes)

    def restart_edge(self) -> None:
        """Start the edge again where it was."""
        self.edge = self._child("edge", "edge")
        self._start_edge(self._edge_port)

    def _order(self, scheduler: str, realization: Realization, m: int) -> dict[str, Any]:
        """What a device is told of a round."""
        stream = self._scenario.devices[m]
        settings = vars(stream_settings(self._scenario, realization.seed, m))
        arrivals = stream.spec.arrivals.model_dump(mode="json", by_alias=True)
        return {
            "scheduler": scheduler,
            "settings": settings | {"arrivals": arrivals},
            "arrival_ms": realization.arrival_ms[realization.stream == m].tolist(),
            "name": stream.name,
            "port": self._ports[m],
        }

    def _child(self, role: str, name: str) -> Child:
        child = Child(role, name)
        self._children.append(child)
        return child

    def _start_edge(self, port: int) -> int:
        """Have the edge serve each package once."""
        served = dict(zip(self._paths, self._profiles, strict=True))
        edge = self._scenario.edge
        order = {"packages": [str(path) for path in served], "profiles": list(served.values()), "port": port}
        answer = self.edge.ask("start", workers=edge.workers, slowdown=edge.slowdown, queue=edge.queue, **order)
        return int(answer["port"])

    def _profile_file(self, m: int, override: bool) -> str | None:
        """A file with the stream's profile for the processes, where it is not its package's own."""
        if not override:
            return None
        path = self._folder / f"profile-{m}.json"
        path.write_text(self._scenario.devices[m].profile.to_json(), encoding="utf-8")
        return str(path)


def stream_packages(scenario: Scenario, package: Path | None = None) -> list[Path]:
    """The package of each stream; :class:`InputError` for a stream that names none, or one of another network."""
    opened: dict[Path, Package] = {}
    paths = []
    for i, stream in enumerate(scenario.devices):
        name = stream.spec.profile
        if package is None and not name.endswith(".hasten"):
            raise InputError(scenario.name, f"streams ({stream.name}).profile", name, "a .hasten package, to be run")
        path = package or locate(name, scenario.folder)
        if path not in opened:
            opened[path] = open_package(path)
        require_fit(scenario.devices[i].profile, opened[path])
        paths.append(path)
    return paths


def read_log(path: Path) -> list[dict[str, Any]]:
    """A stream's records in order of arrival."""
    with path.open(encoding="utf-8") as file:
        return sorted((json.loads(line) for line in file), key=lambda record: int(record["task"]))


def check_runnable(scenario: Scenario, schedulers: Sequence[str], package: Path | None = None) -> None:
    """Refuse with an :class:`InputError` what :func:`run_scenario` could not run, before anything starts."""
    for name in schedulers:
        make_scheduler(name)
    scenario.need_one_edge("a run in real processes")
    stream_packages(scenario, package)
    check_machines(scenario)


def _trace_message(trace: RateTrace) -> dict[str, Any]:
    return {
        "from_ms": trace.from_ms.tolist(),
        "bits_per_ms": trace.bits_per_ms.tolist(),
        "period_ms": trace.period_ms if np.isfinite(trace.period_ms) else None,
    }
