"""``hasten conform``: simulate and run the same tasks, and say how well the simulator predicts the run.

The run is one in real processes, or one in virtual time: the same agents and edge, nothing executed, no host. Simulated
against virtual time shows what devices cannot see, virtual time against real processes what the host adds.

Both sides take the same profiles (in real processes those inside the scenario's packages). A run differs from a
scenario as it is simulated in what no real system can choose: ``order`` is ``ready``, and what a task costs beyond its
segments (``task_ms``, ``offload_ms`` of the profiles) is paid. The prediction here has both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hasten.core.errors import HastenError
from hasten.core.results import Failure, Result
from hasten.core.scenario import Realization, Scenario, scenario_from
from hasten.fidelity.prediction_errors import conformance
from hasten.runtime.local.run import check_runnable, run_scenario
from hasten.runtime.streams import offload_ms, task_ms
from hasten.runtime.virtual.cluster import check_virtual, run_virtual_scenario
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations

ProgressCall = Callable[[str, float], None]

LEAST_DEADLINE_MS = 1e-6
"""What is left of a deadline that the profile's ``task_ms`` uses up: positive, but no task meets it."""


class Conformed(NamedTuple):
    """What :func:`compare` found."""

    document: dict[str, Any]
    """``hasten.fidelity.conform/1``"""
    pairs: list[tuple[Result, Result]]
    """Simulated and run, for each entry of the document's results."""


def compare(
    scenario: Scenario,
    schedulers: Sequence[str],
    seeds: Sequence[int],
    out_dir: Path | None,
    progress: ProgressCall,
    virtual: bool = False,
) -> Conformed:
    """Simulate and run a scenario for every seed and scheduler.

    Args:
        scenario: for real processes each stream's profile is a ``.hasten`` package.
        schedulers: names, as for ``hasten simulate``.
        seeds: realizations.
        out_dir: the log of every task that is run goes here.
        progress: told what is being done and the fraction done.
        virtual: run in virtual time; that side is called ``virtual`` then, otherwise ``real``.

    A scheduler that fails on either side takes nothing from the others: ``failures`` names it, the side and the
    reason, and ``unpaired`` holds the summary of the other side, if there is one.

    Raises:
        InputError: an unknown scheduler, or a scenario that this machine cannot run.
    """
    side = "virtual" if virtual else "real"
    check, run_all = (check_virtual, run_virtual_scenario) if virtual else (check_runnable, run_scenario)
    check(scenario, schedulers)
    simulated, failed = _simulated(scenario, schedulers, seeds, progress)
    ran = run_all(scenario, schedulers, seeds, out_dir=out_dir, progress=progress)
    sides = {"simulated": _by_run(simulated), side: _by_run(ran.results)}
    paired = [run for run in sides[side] if run in sides["simulated"]]
    document = {
        "schema": "hasten.fidelity.conform/1",
        "scenario": scenario.name,
        "runtime": {"kind": "processes"} | ran.facts,
        "simulated_with": {
            "order": "ready",
            "task_ms": task_ms(scenario),
            "offload_ms": offload_ms(scenario),
            "noise": scenario.noise,
        },
        "results": [conformance(sides["simulated"][run], sides[side][run], side) for run in paired],
        "unpaired": [
            {"side": name} | result.summary()
            for name, results in sides.items()
            for run, result in results.items()
            if run not in paired
        ],
        "failures": [
            {"side": name} | failure._asdict()
            for name, failures in (("simulated", failed), (side, ran.failures))
            for failure in failures
        ],
    }
    return Conformed(document, [(sides["simulated"][run], sides[side][run]) for run in paired])


def _by_run(results: Sequence[Result]) -> dict[tuple[str, int], Result]:
    return {(result.scheduler, result.seed): result for result in results}


def _simulated(
    scenario: Scenario, schedulers: Sequence[str], seeds: Sequence[int], progress: ProgressCall
) -> tuple[list[Result], list[Failure]]:
    """The predictions of every scheduler that gives some, and what went wrong with the others."""
    results: list[Result] = []
    failures: list[Failure] = []
    for i, name in enumerate(schedulers):
        progress(f"simulating {name}", i / len(schedulers))
        try:
            results += predict(scenario, [name], seeds, lambda what, done: None)
        except Exception as error:
            reason = str(error) if isinstance(error, HastenError) else f"{type(error).__name__}: {error}"
            failures += [Failure(name, seed, reason) for seed in seeds]
    return results, failures


def predict(
    scenario: Scenario, schedulers: Sequence[str], seeds: Sequence[int], progress: ProgressCall
) -> list[Result]:
    """What :func:`run_scenario` and :func:`run_virtual_scenario` should find, in their order: by seed, then scheduler.

    A task reaches its device ``task_ms`` after its arrival; gains are as if it arrived then.
    """
    played, awake_ms = as_played(scenario), task_ms(scenario)
    realizations = [scenario.realize(seed) for seed in seeds]
    delayed = [replace(drawn, arrival_ms=drawn.arrival_ms + awake_ms) for drawn in realizations]
    batches = []
    for i, name in enumerate(schedulers):
        progress(f"simulating {name}", i / len(schedulers))
        batches.append(simulate_realizations(played, make_scheduler(name), delayed))
    return [
        _as_run(batch[row], name, scenario, drawn)
        for row, drawn in enumerate(realizations)
        for name, batch in zip(schedulers, batches, strict=True)
    ]


def as_played(scenario: Scenario) -> Scenario:
    """The scenario as real processes play it, for tasks that arrive ``task_ms`` later than they do."""
    data = scenario.model_dump(by_alias=True)
    for stream in data["streams"]:
        stream["deadline_ms"] = max(stream["deadline_ms"] - task_ms(scenario), LEAST_DEADLINE_MS)
    for way in data.get("edges") or [data]:
        way["uplink"]["order"] = "ready"
        way["uplink"]["rtt_ms"] += offload_ms(scenario)
    return scenario_from(data, scenario.name if scenario.folder is None else scenario.folder / scenario.name)


def _as_run(result: Result, name: str, scenario: Scenario, drawn: Realization) -> Result:
    """A simulated result told as that of a run: times from the true arrivals, exits only of tasks with an answer."""
    answered = result.answered_exit  # where tasks may stop early
    if answered is None:
        answered = np.where(np.isfinite(result.finish_ms), result.decisions[:, 0], 0)
    return replace(
        result,
        scheduler=name,
        arrival_ms=drawn.arrival_ms,
        deadline_ms=scenario.deadlines_ms[drawn.stream],
        answered_exit=answered,
    )
