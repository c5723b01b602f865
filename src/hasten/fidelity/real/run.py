"""Runs of the study in three worlds: the same tasks simulated, in virtual time and in real processes.

What is done is kept (:mod:`hasten.study.result_cache`), the profiled network and the policies too, so that a study that
was interrupted goes on with the same ones. ``priced`` is not among the schedulers: it finds its prices anew for every
rate that a device comes to believe, which takes longer than a run.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hasten.api import simulate_batch
from hasten.core.results import Failure, Result
from hasten.core.scenario import Scenario
from hasten.fidelity.conform import predict
from hasten.fidelity.real.points import PlayedConditions, PlayedPanel, domain
from hasten.study.result_cache import ResultCache, result_key
from hasten.study.training import LEARNER_VERSION

ProgressCall = Callable[[str, float], None]
World = Literal["simulated", "virtual", "real"]
WORLDS: tuple[World, ...] = ("simulated", "virtual", "real")
GREEDY, POINT, LEARNED, FIXED = "greedy", "greedy:point", "learned", "best fixed"
SCHEDULERS = (GREEDY, POINT, LEARNED, FIXED)
FIXED_SEEDS = range(5)
"""The best fixed pair is found by simulating every pair on these."""
Row = dict[str, Any]


@dataclass(frozen=True)
class RealPlan:
    """How much is done."""

    panels: tuple[PlayedPanel, ...]
    real_seeds: int
    other_seeds: int
    """Of the simulator and of virtual time, where a run costs next to nothing."""
    seconds: float
    training: dict[str, Any] = field(default_factory=dict)
    """Settings of the learner that are not its defaults."""

    def seeds(self, world: World) -> range:
        """Realizations of every point."""
        return range(self.real_seeds if world == "real" else self.other_seeds)

    @property
    def conditions(self) -> list[PlayedConditions]:
        """Every place in the grid once; what panels share is run once."""
        return list(dict.fromkeys(place for panel in self.panels for place in panel.points.values()))


@dataclass
class Done:
    """What has been run: a row for each conditions, scheduler, seed and world."""

    plan: RealPlan
    rows: dict[tuple[PlayedConditions, str, World], dict[int, Row]] = field(default_factory=dict)
    fixed: dict[PlayedConditions, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[tuple[World, PlayedConditions, Failure]] = field(default_factory=list)
    interrupted: bool = False

    def gains(self, place: PlayedConditions, scheduler: str, world: World) -> dict[int, float]:
        """On-time accuracy by seed."""
        found = self.rows.get((place, scheduler, world), {})
        return {seed: float(row["on_time_accuracy"]) for seed, row in found.items()}


def run_study(plan: RealPlan, out: Path, progress: ProgressCall) -> Done:
    """Run what is not there yet, the cheap worlds first; a Ctrl-C ends it with what is done."""
    done = Done(plan)
    try:
        with ResultCache(out / "real-cells.sqlite") as cells:
            network = _Network(out, progress)
            done.facts["profile"] = network.profile.source
            policies = _policies(plan, network, out, cells, progress)
            for world in WORLDS:
                for number, place in enumerate(plan.conditions):
                    told = f"{world}: {place.devices} devices, {place.source} links"
                    progress(told, number / len(plan.conditions))
                    scenario = network.scenario(place, plan.seconds)
                    if place not in done.fixed:
                        done.fixed[place] = _best_fixed(scenario)
                    names = _names(policies[place.devices > 1], done.fixed[place])
                    _Runs(done, cells, place, scenario, world, names).run()
    except KeyboardInterrupt:
        done.interrupted = True
    return done


class _Network:
    """The demo's network with a profile of this machine, measured once and kept in the study's folder."""

    def __init__(self, out: Path, progress: ProgressCall) -> None:
        from hasten.split.package import open_package

        self.path = out / "network.hasten"
        package = open_package(self.path) if self.path.is_file() else _profiled(self.path, progress)
        self.profile = package.profile
        self.digest = hashlib.sha256(self.path.read_bytes()).hexdigest()

    def scenario(self, place: PlayedConditions, seconds: float) -> Scenario:
        return place.scenario(self.path, self.profile, seconds)


def _profiled(path: Path, progress: ProgressCall) -> Any:
    from hasten.fidelity.overhead import with_overhead
    from hasten.fidelity.profiling import measure
    from hasten.networks.default import build_default
    from hasten.split.package import with_profile

    built = build_default(progress=progress)
    progress("profiling on this machine", 0.0)
    measured = measure(built, "device", gap_ms=0.0).profile
    return with_profile(built, with_overhead(measured, built, progress=progress), path)


def _policies(
    plan: RealPlan, network: _Network, out: Path, cells: ResultCache, progress: ProgressCall
) -> dict[bool, Path]:
    """The policy for several devices (True) and for one (False), as far as they are needed."""
    found = {}
    for several in sorted({place.devices > 1 for place in plan.conditions}):
        counts = sorted({place.devices for place in plan.conditions if (place.devices > 1) == several})
        middle = PlayedConditions(counts[len(counts) // 2], "generated")
        facts = {"network": network.digest, "domain": domain(counts), "devices": counts, "settings": plan.training}
        key = result_key("real training", learner=LEARNER_VERSION, **facts)
        path = out / "policies" / f"{'several' if several else 'one'}-{key[:8]}.onnx"
        if not path.is_file():
            _train(network.scenario(middle, plan.seconds), counts, plan.training, path, progress)
        found[several] = path
    return found


def _train(
    scenario: Scenario, devices: Sequence[int], settings: dict[str, Any], path: Path, progress: ProgressCall
) -> None:
    from hasten.learn.api import train
    from hasten.learn.domain import Domain

    what = f"training for {min(devices)} to {max(devices)} devices"
    progress(what, 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    trained = train(scenario, domain=Domain(**domain(devices)), seed=0, **settings)
    trained.save(path)


def _best_fixed(scenario: Scenario) -> str:
    """The fixed (exit, partition) of largest mean on-time accuracy in simulation."""
    table = scenario.options
    names = [f"fixed:{e},{p}" for e, p in zip(table.exit[0], table.partition[0], strict=True)]
    gain = [np.mean([r.on_time_accuracy for r in simulate_batch(scenario, name, FIXED_SEEDS)]) for name in names]
    return names[int(np.argmax(gain))]


def _names(policy: Path, fixed: str) -> dict[str, str]:
    """What the study calls its schedulers, and what ``make_scheduler`` does."""
    return {GREEDY: GREEDY, POINT: POINT, LEARNED: f"policy:{policy}", FIXED: fixed}


@dataclass
class _Runs:
    """All schedulers and seeds of one place in one world."""

    done: Done
    cells: ResultCache
    place: PlayedConditions
    scenario: Scenario
    world: World
    names: dict[str, str]

    def run(self) -> None:
        keys = {
            (label, seed): self._key(name, seed)
            for label, name in self.names.items()
            for seed in self.done.plan.seeds(self.world)
        }
        known = self.cells.find(keys.values())
        missing = [(label, seed) for (label, seed), key in keys.items() if key not in known]
        try:
            for label, seed, row in self._played(missing):
                self.cells.keep({keys[label, seed]: row})
                known[keys[label, seed]] = row
        finally:
            for (label, seed), key in keys.items():
                if key in known:
                    self.done.rows.setdefault((self.place, label, self.world), {})[seed] = known[key]

    def _key(self, name: str, seed: int) -> str:
        file = Path(name.removeprefix("policy:"))
        scheduler = hashlib.sha256(file.read_bytes()).hexdigest() if name.startswith("policy:") else name
        data = self.scenario.model_dump(mode="json", by_alias=True)
        for stream in data["streams"]:
            stream["profile"] = self.scenario.devices[0].profile.to_json()
        return result_key("real", scenario=data, scheduler=scheduler, seed=seed, world=self.world)

    def _played(self, missing: Sequence[tuple[str, int]]) -> Iterable[tuple[str, int, Row]]:
        """Rows as they come; a real run at a time, so that an interrupted study keeps what it has."""
        if self.world != "real":
            labels = list(dict.fromkeys(label for label, _ in missing))
            batches = [(labels, sorted({seed for _, seed in missing}))] if missing else []
        else:
            batches = [
                ([label for label, at in missing if at == seed], [seed]) for seed in sorted({s for _, s in missing})
            ]
        for labels, seeds in batches:
            label_of = {self.names[label]: label for label in labels}
            for result in self._results(list(label_of), seeds):
                yield label_of[result.scheduler], result.seed, _row(result)

    def _results(self, names: Sequence[str], seeds: Sequence[int]) -> Sequence[Result]:
        from hasten.runtime.local.run import run_scenario
        from hasten.runtime.virtual.cluster import run_virtual_scenario

        if self.world == "simulated":
            return predict(self.scenario, names, seeds, lambda what, share: None)
        run = run_virtual_scenario if self.world == "virtual" else run_scenario
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(self.scenario, names, seeds, out_dir=Path(folder))
        if outcome.interrupted:
            raise KeyboardInterrupt
        self.done.facts |= {self.world: outcome.facts}
        self.done.failures += [(self.world, self.place, failure) for failure in outcome.failures]
        return outcome.results


def _row(result: Result) -> Row:
    summary = result.summary()
    kept = ("on_time_accuracy", "on_time_rate", "dropped", "late", "tasks")
    return {name: summary[name] for name in kept} | {
        f"latency_{name}_ms": summary["latency_ms"][name] for name in ("p50", "p95")
    }
