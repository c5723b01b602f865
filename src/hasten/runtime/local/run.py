"""``hasten run``: a scenario in real processes on this machine, the link between them emulated.

One process is the edge node, one the link, one for each device; of several edges each has an edge node and a link.
They stay for the whole run. For every seed and
scheduler the same realization is replayed: the same arrivals, frames and link rates from a common time 0. What a
simulated view would make stale or wrong (``view``) is here as stale and wrong as it is; ``order`` is always ``ready``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hasten.core.errors import HastenError
from hasten.core.results import Failure, Result
from hasten.core.scenario import Scenario
from hasten.runtime.local.changes import Changes
from hasten.runtime.local.cluster import LocalCluster, stream_packages
from hasten.runtime.local.processes import ChildError
from hasten.runtime.sockets import backend_facts
from hasten.runtime.streams import check_machines, check_schedulers, machine_facts

Progress = Callable[[str, float], None]


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
    return RunOutcome(results, backend_facts() | machine_facts(scenario), failures, interrupted)


def check_runnable(scenario: Scenario, schedulers: Sequence[str], package: Path | None = None) -> None:
    """Refuse with an :class:`InputError` what :func:`run_scenario` could not run, before anything starts."""
    check_schedulers(scenario, schedulers)
    stream_packages(scenario, package)
    check_machines(scenario)
