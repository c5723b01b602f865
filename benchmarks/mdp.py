"""The online optimum beside its own simulation, every other scheduler, and the offline optimum.

    python benchmarks/mdp.py [--seeds N] [--tasks N] [--offline N]

One stream, loads from idle to overload. Prints for each scenario the mean gain per task that value iteration
computes (and how much the last refinement of its grid changed it), what the same policy earns in simulation, the
gain of every other scheduler on the same tasks, and the offline optimum of the first runs, which knows the arrivals
(beside it ``mdp*``, on just those runs; a question mark says that not all of them were proven optimal).
Two things must hold, and the last line says whether they do: value and simulation agree within four standard errors,
and no online scheduler is better than ``mdp`` by more than three standard errors of the paired difference.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np

from hasten.api import simulate_batch
from hasten.core.options import DROP
from hasten.core.scenario import Scenario, scenario_from
from hasten.offline import solve_offline
from hasten.schedulers import make_scheduler
from hasten.schedulers.load_threshold import tune_load_threshold
from hasten.schedulers.mdp import OnlineOptimum
from hasten.schedulers.mdp_values import solve

WARM_UP = 50
"""Tasks left out of averages: a run starts with empty queues, the long run does not."""
GRID_ERROR = 1e-3
"""Allowed beyond sampling noise between computed and simulated gain."""
OTHERS = {
    "greedy": "greedy",
    "rolling-horizon": "rolling",
    "edgent:slack": "edgent:s",
    "edgent": "edgent",
    "dads": "dads",
    "neurosurgeon": "neuros.",
    "linucb": "linucb",
    "min-latency": "min-lat.",
    "random:feasible": "random:f",
}
"""Names of schedulers and of their columns."""


def scenario(name: str, profile: dict[str, Any], arrivals: dict[str, Any], mbps: float, tasks: int) -> Scenario:
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [{"name": name, **profile, "arrivals": arrivals}],
            "uplink": {"rate": {"kind": "constant", "mbps": mbps}},
            "edge": {"slowdown": 4 if name == "alexnet" else 1},
            "tasks_per_stream": tasks,
        }
    )


def cases(tasks: int) -> list[tuple[str, Scenario]]:
    alexnet = {"profile": "alexnet-pi", "deadline_ms": 80}
    phone = {"profile": "efficientnet-b0", "deadline_ms": 150, "slowdown": 1 / 3}
    bursty = {"kind": "mmpp", "rates_hz": [5, 40], "dwell_ms": [500, 500]}
    found = []
    for mbps in (3.33, 10, 40):
        for rate_hz in (5, 15, 40):
            arrivals = {"kind": "poisson", "rate_hz": rate_hz}
            label = f"alexnet-pi {rate_hz}/s {mbps:g} Mbps"
            found.append((label, scenario("alexnet", alexnet, arrivals, mbps, tasks)))
    found.append(("alexnet-pi 5|40/s 10 Mbps", scenario("alexnet", alexnet, bursty, 10, tasks)))
    for rate_hz in (2, 6, 10):
        arrivals = {"kind": "poisson", "rate_hz": rate_hz}
        label = f"efficientnet-b0 {rate_hz}/s 10 Mbps"
        found.append((label, scenario("phone", phone, arrivals, 10, tasks)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=128, help="runs per scenario and scheduler")
    parser.add_argument("--tasks", type=int, default=500, help="tasks per run")
    parser.add_argument("--offline", type=int, default=8, help="runs that are also solved offline")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    names = ["offline", "mdp*", *OTHERS.values(), "load-thr."]
    print(f"{'scenario':<28}{'value':>8}{'grid':>9}{'sim':>8}{'+-':>8}{'solve s':>9}{'us':>6}  ", end="")
    print("".join(f"{name:>10}" for name in names))
    good = True
    for label, s in cases(arguments.tasks):
        good &= one_case(label, s, seeds, arguments.offline)
    print("value = simulation and no online scheduler above mdp:", "yes" if good else "NO")
    if not good:
        sys.exit(1)


def one_case(label: str, s: Scenario, seeds: range, offline: int) -> bool:
    """Print one row; returns whether it is as it must be."""
    mdp = OnlineOptimum()
    solve.cache_clear()
    started = time.perf_counter()
    mdp.reset(s.context(np.zeros(1, dtype=np.int64)))
    solve_s = time.perf_counter() - started
    runs = simulate_batch(s, mdp, seeds)
    optimum = np.array([run.gain[WARM_UP:].mean() for run in runs])
    decision_us = float(np.median(runs[0].decision_us))
    error = float(optimum.std(ddof=1) / np.sqrt(len(seeds)))
    good = abs(optimum.mean() - mdp.values.mean_gain) <= 4 * error + GRID_ERROR
    plans = [solve_offline(s, seed) for seed in list(seeds)[:offline]]
    known = np.mean([gain_after_warm_up(s, seed, plan.option) for seed, plan in zip(seeds, plans, strict=False)])
    proven = all(plan.optimal for plan in plans)
    gains = []
    for scheduler in [*map(make_scheduler, OTHERS), tune_load_threshold(s)]:
        other = np.array([run.gain[WARM_UP:].mean() for run in simulate_batch(s, scheduler, seeds)])
        better = other - optimum
        good &= better.mean() <= 3 * better.std(ddof=1) / np.sqrt(len(seeds)) + 1e-9
        gains.append(other.mean())
    value, refined = mdp.values.mean_gain, mdp.values.mean_gain - mdp.values.coarse_gain
    print(
        f"{label:<28}{value:>8.4f}{refined:>9.5f}{optimum.mean():>8.4f}{1.96 * error:>8.4f}{solve_s:>9.2f}"
        f"{decision_us:>6.1f}  {known:>9.4f}{' ' if proven else '?'}{optimum[:offline].mean():>10.4f}"
        + "".join(f"{gain:>10.4f}" for gain in gains),
        flush=True,
    )
    return bool(good)


def gain_after_warm_up(s: Scenario, seed: int, option: np.ndarray) -> float:
    """Mean gain of a plan's tasks after the warm-up, as the values of its exits."""
    worth = np.where(option == DROP, 0.0, s.options.worth[0, np.maximum(option, 0)])
    return float(worth[WARM_UP:].mean())


if __name__ == "__main__":
    main()
