"""``hasten study``: plan the cache, do those that are missing, and write tables and pages about all of them.

Trainings, classical schedulers and bounds run first, all at once; then the runs of the trained policies. Every result
is kept as soon as it is there, so that an interrupted study continues where it was.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hasten.core.errors import HastenError, InputError, one_of
from hasten.core.output import write_bytes
from hasten.study.analysis import PanelCurves, curves_of
from hasten.study.design import SWEEPS, Conditions, Point, Source, points_of, recordings_present
from hasten.study.pool import ProgressCall, finished
from hasten.study.result_cache import ResultCache
from hasten.study.tables import write_tables
from hasten.study.training import (
    PolicySpec,
    TrainingJob,
    Variant,
    ablation_trainings,
    learner_installed,
    policy_for,
    policy_training,
)
from hasten.study.work import (
    BOUND_LIMIT_S,
    CLASSICAL,
    LEARNED,
    OPTIMUM,
    PRICED,
    Bound,
    Job,
    Plain,
    Simulate,
    bound_key,
    run_key,
)

ABLATION = "ablation"
ALL = "all"
NAMES = (*SWEEPS, ABLATION, ALL)
BOUND_SEEDS = 5
"""So many of the seeds get an offline bound; it is what takes longest, and varies little."""
PRICED_SWEEPS = ("arrival-rate", "bandwidth", "streams")
"""Finding prices takes seconds for every point, so the other sweeps do without."""
QUICK_SEEDS = 2
QUICK_SCHEDULERS = ("greedy", "rolling-horizon", "neurosurgeon")


@dataclass(frozen=True)
class Plan:
    """What is to be studied."""

    sweeps: tuple[str, ...]
    ablation: bool
    seeds: int
    sources: tuple[Source, ...]
    quick: bool = False

    @property
    def points(self) -> list[Point]:
        """Every point of every sweep."""
        return [point for name in self.sweeps for point in points_of(SWEEPS[name], self.sources, self.quick)]

    @property
    def bound_seeds(self) -> range:
        """The seeds that get an offline bound."""
        return range(min(self.seeds, BOUND_SEEDS))


@dataclass(frozen=True)
class Study:
    """A finished study: everything that its tables and pages are written from."""

    plan: Plan
    curves: Sequence[PanelCurves]
    policies: Mapping[PolicySpec, Plain] = field(default_factory=dict)
    """Each policy's result: learning curve and warnings."""
    ablation: Mapping[tuple[Variant, int], Plain] = field(default_factory=dict)
    """Each training's result by variant and seed."""
    remarks: Sequence[str] = ()
    """What was left out, and why."""


def plan_of(name: str, seeds: int, quick: bool) -> Plan:
    """The plan behind a name on the command line.

    Raises:
        InputError: an unknown name.
    """
    if name not in NAMES:
        raise InputError("study", "name", name, one_of(name, [*NAMES, "real"]))
    sources: tuple[Source, ...] = ("generated", "recorded") if recordings_present() else ("generated",)
    sweeps = tuple(SWEEPS) if name == ALL else (name,) if name in SWEEPS else ()
    return Plan(sweeps, name in (ABLATION, ALL), min(seeds, QUICK_SEEDS) if quick else seeds, sources, quick)


def run_study(
    plan: Plan, out: Path, ray_address: str | None = None, progress: ProgressCall = lambda what, done: None
) -> Study:
    """Do what is missing of a plan and write ``runs.csv``, ``runs.parquet`` and trained policies into ``out``.

    Raises:
        HastenError: the ablation needs the learner, and that is not installed.
    """
    learner = learner_installed()
    if plan.ablation and not plan.sweeps and not learner:
        raise HastenError("the ablation trains policies, which needs more: pip install 'hasten[learn]'")
    remarks = _remarks(plan, learner)
    points = plan.points
    trainings = {spec: policy_training(spec, plan.quick) for spec in _policies(points)} if learner else {}
    ablation = ablation_trainings(plan.seeds, plan.quick) if plan.ablation and learner else {}
    with ResultCache(out / "cells.sqlite") as cache:
        first = [
            *_missing_trainings([*trainings.values(), *ablation.values()], cache),
            *_classical(plan, points, cache),
        ]
        _do(first, cache, ray_address, progress)
        policies = {spec: cache.find([job.key])[job.key] for spec, job in trainings.items()}
        files = {spec: base64.b64decode(cell["policy"]) for spec, cell in policies.items()}
        _do(list(_learned(plan, points, files, cache)), cache, ray_address, progress)
        rows = list(_rows(plan, points, files, cache))
        trained = cache.find(job.key for job in ablation.values())
    for spec, policy in files.items():
        path = out / "policies" / f"{spec.title}.onnx"
        write_bytes(path, policy)
    curves = {who: trained[job.key] for who, job in ablation.items()}
    write_tables(out, rows, curves)
    return Study(plan, curves_of(points, rows), policies, curves, remarks)


def _remarks(plan: Plan, learner: bool) -> list[str]:
    remarks = []
    if "recorded" not in plan.sources and plan.sweeps:
        remarks.append(
            "Recorded link traces and arrivals were left out: set HASTEN_DATA to the folder that holds them."
        )
    if not learner:
        remarks.append("The learned scheduler was left out: it is not installed (pip install 'hasten[learn]').")
    return remarks


def _policies(points: Iterable[Point]) -> list[PolicySpec]:
    return list(dict.fromkeys(policy_for(point.conditions) for point in points))


def _schedulers(point: Point, quick: bool) -> tuple[str, ...]:
    """The classical schedulers that fit a point's conditions."""
    conditions = point.conditions
    names: tuple[str, ...] = CLASSICAL
    if quick:
        return QUICK_SCHEDULERS
    if conditions.source == "generated":  # a constant rate: one solution, or one set of prices, for the whole run
        if conditions.streams == 1:
            return (*names, OPTIMUM)
        if point.panel.sweep in PRICED_SWEEPS:
            return (*names, PRICED)
    return names


def _missing_trainings(jobs: Sequence[TrainingJob], cache: ResultCache) -> list[Job]:
    found = cache.find(job.key for job in jobs)
    return [job for job in jobs if job.key not in found]


def _classical(plan: Plan, points: Sequence[Point], cache: ResultCache) -> Iterator[Job]:
    """Simulations and bounds that are missing; conditions that several sweeps share are done once."""
    wanted: dict[Conditions, dict[str, None]] = {}
    for point in points:
        wanted.setdefault(point.conditions, {}).update(dict.fromkeys(_schedulers(point, plan.quick)))
    for conditions, names in wanted.items():
        scenario = conditions.scenario()
        yield from _simulations(scenario, tuple(names), plan.seeds, b"", cache)
        missing = [bound_key(scenario, seed) for seed in plan.bound_seeds]
        found = cache.find(missing)
        seeds = tuple(seed for seed, key in zip(plan.bound_seeds, missing, strict=True) if key not in found)
        if seeds:
            yield Bound(scenario, seeds)


def _learned(
    plan: Plan, points: Sequence[Point], policies: Mapping[PolicySpec, bytes], cache: ResultCache
) -> Iterator[Simulate]:
    """Simulations of trained policies that are missing."""
    distinct = dict.fromkeys(point.conditions for point in points)
    for conditions in distinct if policies else ():
        policy = policies[policy_for(conditions)]
        yield from _simulations(conditions.scenario(), (LEARNED,), plan.seeds, policy, cache)


def _simulations(
    scenario: Plain, schedulers: Sequence[str], seeds: int, policy: bytes, cache: ResultCache
) -> Iterator[Simulate]:
    """One job for all schedulers that lack the same seeds."""
    keys = {(name, seed): run_key(scenario, name, seed, policy) for name in schedulers for seed in range(seeds)}
    found = cache.find(keys.values())
    together: dict[tuple[int, ...], list[str]] = {}
    for name in schedulers:
        lacking = tuple(seed for seed in range(seeds) if keys[name, seed] not in found)
        if lacking:
            together.setdefault(lacking, []).append(name)
    for lacking, names in together.items():
        yield Simulate(scenario, tuple(names), lacking, policy)


def _do(jobs: Sequence[Job], cache: ResultCache, ray_address: str | None, progress: ProgressCall) -> None:
    """Do jobs and keep each one's results at once."""
    minutes = sum(job.cost_s for job in jobs) / 60
    what = f"{len(jobs)} pieces of work, about {minutes:.0f} minutes of one core"
    if jobs:
        progress(what, 0.0)
        for done, found in enumerate(finished(jobs, ray_address), start=1):
            cache.keep(found)
            progress(what, done / len(jobs))


def _rows(
    plan: Plan, points: Sequence[Point], policies: Mapping[PolicySpec, bytes], cache: ResultCache
) -> Iterator[Plain]:
    """One row for each point, scheduler and seed, and for each offline plan."""
    for point in points:
        scenario = point.conditions.scenario()
        head = {"panel": point.panel, "sweep": point.panel.sweep, "x": point.x} | asdict(point.conditions)
        policy = policies.get(policy_for(point.conditions), b"")
        names = _schedulers(point, plan.quick) + ((LEARNED,) if policy else ())
        keys = {
            (name, seed): run_key(scenario, name, seed, policy if name == LEARNED else b"")
            for name in names
            for seed in range(plan.seeds)
        }
        found = cache.find(keys.values())
        for (name, seed), key in keys.items():
            yield head | {"scheduler": name, "seed": seed} | found[key]
        bounds = {seed: bound_key(scenario, seed) for seed in plan.bound_seeds}
        plans = cache.find(bounds.values())
        for seed, key in bounds.items():
            plan_cell = plans[key]
            yield head | {
                "scheduler": "offline",
                "seed": seed,
                "made_as": plan_cell["method"],
                "tasks": plan_cell["tasks"],
                "gain": plan_cell["gain"],
                "on_time_accuracy": plan_cell["gain"],
                "upper_bound": plan_cell["upper_bound"],
                "optimal": plan_cell["optimal"],
                "solved_in_s": plan_cell["seconds"],
            }


BOUND_NOTE = f"exact where that takes under {BOUND_LIMIT_S:g} s, else a plan and a bound by prices after that time"
