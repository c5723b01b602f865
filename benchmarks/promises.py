"""Greedy against greedy:point: what weighing promises brings, what it costs where it is quiet, how well they are kept.

All points of the study's generated sweeps, under four worlds: the study's own (a fresh view), one that is stale with a
rate off by 20 %, what real devices see (``view: device``), and that with service times drawn from the profiles' spread.
Grant order with a fresh view is exact, where both are one rule. Of tasks promised about 90 % (87 to 93) the last
columns tell how many were kept, the first tenth of each run left out, in every third of the points by greedy's on-time
accuracy. The mean tells more than single points, at which 8 seeds differ by chance.

    python benchmarks/promises.py [--seeds N] [--every N]
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.results import Result
from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations
from hasten.study.design import ORDERS, SWEEPS, Conditions, points_of

WORLDS: dict[str, dict[str, Any]] = {
    "fresh": {},
    "stale": {"view": {"age_ms": 15, "rate_error": 0.2}},
    "device": {"view": {"kind": "device"}},
    "device, noise": {"view": {"kind": "device"}, "noise": "profile"},
}
WARM_SHARE = 0.1
ABOUT_90 = 0.87, 0.93
TASKS = 300
"""Of each stream: half of it is learning in the study's own short runs of 8 streams."""


def all_conditions(order: str) -> list[Conditions]:
    """The study's generated points in this order of service, each once."""
    points = [point for sweep in SWEEPS.values() for point in points_of(sweep, ["generated"])]
    return list(dict.fromkeys(point.conditions for point in points if point.conditions.order == order))


def played(conditions: Conditions, world: dict[str, Any], seeds: int) -> tuple[list[Result], list[Result]]:
    """Runs of greedy and of greedy:point on the same tasks."""
    scenario = scenario_from({**conditions.scenario(), **world, "tasks_per_stream": TASKS})
    runs = [scenario.realize(seed) for seed in range(seeds)]
    weighed, point = (simulate_realizations(scenario, make_scheduler(n), runs) for n in ("greedy", "greedy:point"))
    return weighed, point


def kept(results: list[Result]) -> NDArray[np.bool_]:
    """Whether each promise of about 90 % was kept."""
    found = [np.zeros(0, dtype=np.bool_)]
    for result in results:
        if result.promised is not None:
            warm = np.arange(result.tasks) >= WARM_SHARE * result.tasks
            found.append(result.on_time[warm & (result.promised >= ABOUT_90[0]) & (result.promised <= ABOUT_90[1])])
    return np.concatenate(found)


def row(order: str, name: str, seeds: int, every: int) -> str:
    """One line of the table."""
    differences, accuracy, promises = [], [], []
    for conditions in all_conditions(order)[::every]:
        weighed, point = played(conditions, WORLDS[name], seeds)
        means = [float(np.mean([result.on_time_accuracy for result in runs])) for runs in (weighed, point)]
        differences.append(100.0 * (means[0] - means[1]))
        accuracy.append(means[0])
        promises.append(kept(weighed))
    thirds = np.array_split(np.argsort(accuracy)[::-1], 3)
    shares = [np.concatenate([promises[i] for i in third]) for third in thirds]
    told = " ".join(f"{100 * share.mean():5.1f}%" if len(share) > 200 else "     -" for share in shares)
    d = np.array(differences)
    return (
        f"{order:7}{name:15}{len(d):>7}{d.mean():>+9.2f}{d.min():>+9.2f}{d.max():>+9.2f}{(d < -0.2).sum():>9}   {told}"
    )


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # that spreads are stated ones
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    given = parser.parse_args()
    print("on-time accuracy of greedy less that of greedy:point, in points; kept of tasks promised 87 to 93 %, by load")
    print(f"{'order':7}{'view':15}{'points':>7}{'mean':>9}{'worst':>9}{'best':>9}{'< -0.2':>9}   light middle  heavy")
    for order in ORDERS:
        for name in WORLDS:
            print(row(order, name, given.seeds, given.every), flush=True)


if __name__ == "__main__":
    main()
