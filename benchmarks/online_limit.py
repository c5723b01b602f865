"""How much of the offline bound several streams could reach at most without knowing the future.

    hasten study all --out out/study
    python benchmarks/online_limit.py [out/study/runs.csv]

No online policy gives a stream more, on average over runs, than the online optimum would if uplink and edge were the
stream's alone. So that optimum (`mdp`), on the study's very tasks, as a share of the several streams' offline bound
limits what any online policy can reach, by far not tightly: streams do share. Averaged over each sweep of generated
arrivals and the seeds that have bounds, with 95 % intervals over these seeds; beside it what `learned` gets. What `mdp`
leaves for want of knowing when a run ends, or of a finer grid, is not added: a task or two in a run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
from study_facts import OURS, Gains, Place, study_runs

from hasten.core.scenario import scenario_from
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations
from hasten.study.design import SWEEPS, Conditions, Point, points_of
from hasten.study.statistics import FloatArray, interval

ORDERS = ("grant", "ready")
Shares = tuple[FloatArray, FloatArray]
"""Of the offline bound, (S,) for the seeds that have one: what any online policy can reach at most, and what
`learned` does.
"""


@cache
def alone(conditions: Conditions, seed: int) -> float:
    """Mean gain of all tasks of a run when each stream is by itself, under the online optimum."""
    together = scenario_from(conditions.scenario(), "limit").realize(seed)
    data = replace(conditions, streams=1).scenario() | {"tasks_per_stream": conditions.tasks_per_stream}
    streams = []
    for stream in range(conditions.streams):
        own = together.stream == stream
        streams.append(
            replace(
                together,
                arrival_ms=together.arrival_ms[own],
                stream=np.zeros(int(own.sum()), dtype=np.int64),
                rate_factor=together.rate_factor[own],
            )
        )
    results = simulate_realizations(scenario_from(data, "limit"), make_scheduler("mdp"), streams)
    return sum(result.mean_gain * run.tasks for result, run in zip(results, streams, strict=True)) / together.tasks


def shares(point: Point, gains: Gains) -> Shares:
    """At one point."""
    bound = np.array(list(gains["bound"].values()))
    either = replace(point.conditions, order="grant")  # a stream alone is served alike in either order
    limit = np.array([alone(either, seed) for seed in gains["bound"]])
    return of_bound(limit, bound), of_bound(np.array([gains[OURS][seed] for seed in gains["bound"]]), bound)


def of_bound(gain: FloatArray, bound: FloatArray) -> FloatArray:
    """(S,): the ratio of the means, with each seed's deviation from it: what both have in common drops out."""
    ratio = gain.mean() / bound.mean()
    return np.asarray(ratio + (gain - ratio * bound) / bound.mean())


def main() -> None:
    runs = study_runs()
    print("| profile | sweep | streams | grant order: at most | learned | ready order: at most | learned |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for sweep in SWEEPS.values():
        found: dict[tuple[str, str], dict[str, list[Shares]]] = defaultdict(lambda: defaultdict(list))
        for point in points_of(sweep, ("generated",)):
            given = point.conditions
            if given.streams > 1:
                gains = runs[Place(given.profile, "generated", sweep.name, given.order, given.streams, float(point.x))]
                streams = "2-8" if sweep.name == "streams" else str(given.streams)
                found[given.profile, streams][given.order].append(shares(point, gains))
        for (profile, streams), panels in found.items():
            cells = []
            for order in ORDERS:
                for by_seed in np.mean(panels[order], axis=0):
                    share = interval(by_seed)
                    cells.append(f"{share.mean:.1%} ± {50 * (share.high - share.low):.1f}")
            print(f"| {profile} | {sweep.name} | {streams} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
