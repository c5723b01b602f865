"""The study's work in pieces that any process can do: each job returns results, its only effect.

Simulations and offline bounds are here, trainings in :mod:`hasten.study.training`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hasten.core.decision import Scheduler
from hasten.core.results import Result
from hasten.core.scenario import Realization, Scenario, scenario_from
from hasten.offline import solve_offline
from hasten.offline.bounded import solve_bounded
from hasten.offline.effort import Effort
from hasten.offline.time_limit import TimeLimit
from hasten.schedulers import make_scheduler
from hasten.schedulers.load_threshold import TRAINING_SEEDS, tune_load_threshold
from hasten.sim import simulate_realizations
from hasten.study.input_files import inputs_of, require_unchanged
from hasten.study.result_cache import result_key

Plain = dict[str, Any]
"""What JSON can hold."""

TUNED_THRESHOLD = "load-threshold:tuned"
TUNED_PAIR = "fixed:tuned"
LEARNED = "learned"
PRICED = "priced"
OPTIMUM = "mdp"
CLASSICAL = (
    "greedy",
    "rolling-horizon",
    "edgent:slack",
    TUNED_THRESHOLD,
    TUNED_PAIR,
    "edgent",
    "neurosurgeon",
    "dads",
    "linucb",
    "device-only:deepest",
    "edge-only:deepest",
    "min-latency",
    "random:feasible",
)
"""Schedulers that any conditions can have. Tuned ones are tuned for the conditions, on runs of their own seeds."""
BOUND_LIMIT_S = 0.6
"""Seconds for the offline plan and bound of one realization that the exact search does not finish."""


class Job(Protocol):
    """Work that can be sent to another process."""

    @property
    def cost_s(self) -> float:
        """About how long it takes; the longest are begun first."""

    def run(self) -> Plain:
        """Do it: results by their keys."""


@dataclass(frozen=True)
class Simulate:
    """Schedulers on the same realizations of a scenario."""

    scenario: Plain
    schedulers: tuple[str, ...]
    seeds: tuple[int, ...]
    policy: bytes = b""
    """The policy file of ``learned``."""
    inputs: dict[str, str] = field(init=False)
    """Digests of the scenario's files, as of the plan."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", inputs_of(self.scenario))

    @property
    def cost_s(self) -> float:
        """Finding prices takes longest."""
        return (4.0 if PRICED in self.schedulers else 0.0) + 0.1 * len(self.seeds)

    def run(self) -> Plain:
        """One cell for each scheduler and seed."""
        scenario = scenario_from(self.scenario, "study")
        realizations = [scenario.realize(seed) for seed in self.seeds]
        found: Plain = {}
        for name in self.schedulers:
            results = simulate_realizations(scenario, _scheduler(name, scenario, self.policy), realizations)
            for seed, result in zip(self.seeds, results, strict=True):
                found[run_key(self.scenario, name, seed, self.policy)] = _row(result)
        require_unchanged(self.scenario, self.inputs)
        return found


@dataclass(frozen=True)
class Bound:
    """The offline plan and upper bound of some realizations of a scenario."""

    scenario: Plain
    seeds: tuple[int, ...]
    inputs: dict[str, str] = field(init=False)
    """Digests of the scenario's files, as of the plan."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", inputs_of(self.scenario))

    @property
    def cost_s(self) -> float:
        """Of one job, at most."""
        return BOUND_LIMIT_S * len(self.seeds)

    def run(self) -> Plain:
        """One cell for each seed."""
        _compile_solvers()
        scenario = scenario_from(self.scenario, "study")
        found: Plain = {}
        for seed in self.seeds:
            plan = solve_offline(scenario, seed, BOUND_LIMIT_S)
            found[bound_key(self.scenario, seed)] = plan.summary()
        require_unchanged(self.scenario, self.inputs)
        return found


def run_key(scenario: Plain, scheduler: str, seed: int, policy: bytes = b"") -> str:
    """The key of a simulated run."""
    who = f"{scheduler}:{sha256(policy).hexdigest()}" if scheduler == LEARNED else scheduler
    return result_key("run", scenario=scenario, inputs=inputs_of(scenario), scheduler=who, seed=seed)


def bound_key(scenario: Plain, seed: int) -> str:
    """The key of an offline plan."""
    return result_key("bound", scenario=scenario, inputs=inputs_of(scenario), seed=seed, limit_s=BOUND_LIMIT_S)


def _scheduler(name: str, scenario: Scenario, policy: bytes) -> Scheduler:
    if name == TUNED_THRESHOLD:
        return tune_load_threshold(scenario)
    if name == TUNED_PAIR:
        return _best_fixed_pair(scenario)
    if name == LEARNED:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.onnx"
            path.write_bytes(policy)
            return make_scheduler(f"policy:{path}")
    return make_scheduler(name)


def _best_fixed_pair(scenario: Scenario) -> Scheduler:
    """The one (exit, partition) for all tasks that gains most on training runs."""
    realizations: Sequence[Realization] = [scenario.realize(seed) for seed in TRAINING_SEEDS]
    options = scenario.options
    count = int(options.count[0])
    pairs = zip(options.exit[0, :count].tolist(), options.partition[0, :count].tolist(), strict=True)
    fixed = [make_scheduler(f"fixed:{e},{p}") for e, p in pairs]
    gains = [np.mean([r.mean_gain for r in simulate_realizations(scenario, one, realizations)]) for one in fixed]
    return fixed[int(np.argmax(gains))]


def _row(result: Result) -> Plain:
    """A run in numbers that fit a table."""
    summary = result.summary()
    tasks = max(result.tasks, 1)
    latency = summary["latency_ms"]
    return {
        "made_as": result.scheduler,
        "tasks": result.tasks,
        "gain": summary["gain"],
        "on_time_accuracy": summary["on_time_accuracy"],
        "on_time_rate": summary["on_time_rate"],
        "accuracy_when_on_time": summary["accuracy_when_on_time"],
        "dropped_share": summary["dropped"] / tasks,
        "late_share": summary["late"] / tasks,
        "latency_mean_ms": latency["mean"],
        "latency_p95_ms": latency["p95"],
        "latency_p99_ms": latency["p99"],
        "uplink_bytes_per_task": summary["uplink_bytes"] / tasks,
        "notes": sum(summary.get("notes", {}).values()),
    }


@cache
def _compile_solvers() -> None:
    """Compile what the offline solver calls before its time is limited."""
    for order in ("grant", "ready"):
        data = {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": 2,
                    "profile": "alexnet-pi",
                    "deadline_ms": 80,
                    "arrivals": {"kind": "poisson", "rate_hz": 15},
                }
            ],
            "uplink": {"order": order, "rate": {"kind": "constant", "mbps": 10}},
            "tasks_per_stream": 3,
        }
        scenario = scenario_from(data, "study")
        solve_offline(scenario)
        solve_bounded(scenario, scenario.realize(0), TimeLimit(), effort=Effort(rounds=2))
