"""How much of the offline bound several streams could reach at most without knowing the future.

    hasten study all --out out/study
    python benchmarks/online_limit.py [out/study/runs.csv]

No online policy gives a stream more than the online optimum would if uplink and edge were the stream's alone. So that
optimum (`mdp`, on runs as long as those of the study) as a share of the several streams' offline bound limits what any
online policy can reach, by far not tightly: streams do share. Beside it what `dqn` reaches, averaged over each sweep of
generated arrivals.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from study_facts import OURS, Gains, Place, read

from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations
from hasten.study.design import SWEEPS, Conditions, Point, points_of

SEEDS = 60
ORDERS = ("grant", "ready")


@cache
def alone(conditions: Conditions) -> float:
    """Mean gain of one of the streams under the online optimum, without the others."""
    data = replace(conditions, streams=1).scenario() | {"tasks_per_stream": conditions.tasks_per_stream}
    scenario = scenario_from(data, "limit")
    realizations = [scenario.realize(seed) for seed in range(SEEDS)]
    results = simulate_realizations(scenario, make_scheduler("mdp"), realizations)
    return float(np.mean([result.mean_gain for result in results]))


def shares(point: Point, gains: Gains) -> tuple[float, float]:
    """Of the offline bound: what any online policy can reach at most, and what dqn does."""
    bound = float(np.mean(list(gains["bound"].values())))
    limit = alone(replace(point.conditions, order="grant"))  # a stream alone is served alike in either order
    return min(limit / bound, 1.0), float(np.mean([gains[OURS][seed] for seed in gains["bound"]])) / bound


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "out/study/runs.csv")
    if not path.exists():
        print(f"{path} does not exist: hasten study all --out {path.parent} makes it")
        return
    runs = read(path)
    print("| profile | sweep | streams | grant order: at most | dqn | ready order: at most | dqn |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for sweep in SWEEPS.values():
        found: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        for point in points_of(sweep, ("generated",)):
            given = point.conditions
            if given.streams > 1:
                gains = runs[Place(given.profile, "generated", sweep.name, given.order, given.streams, float(point.x))]
                streams = "2-8" if sweep.name == "streams" else str(given.streams)
                found[given.profile, streams][given.order].append(shares(point, gains))
        for (profile, streams), panels in found.items():
            cells = [f"{share:.1%}" for order in ORDERS for share in np.mean(panels[order], axis=0)]
            print(f"| {profile} | {sweep.name} | {streams} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
