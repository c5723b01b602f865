"""The price-coordinated scheduler beside greedy and the offline bound, and what a decision costs with many streams.

    python benchmarks/priced.py [--quick] [--streams 3,8,50] [--seeds N]

Scenarios as in ``certificate.py``. The distance to the bound has two parts that this table shows apart: what the
offline plan, which knows all arrivals, does not reach either (``plan``), and what an online decision loses for not
knowing them. Prices are found on runs of their own seeds. The last table times single decisions, as in a device agent.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from certificate import PROFILES, compile_kernels, study

from hasten.api import simulate_batch
from hasten.core.decision import View
from hasten.offline.bounded import solve_bounded
from hasten.offline.time_limit import TimeLimit
from hasten.schedulers import make_scheduler

DECISIONS = 3000
BOUND_LIMIT_S = 30.0


def compare(streams: int, tasks: int, seeds: int, limit_s: float) -> None:
    for profile in PROFILES:
        for order in ("grant", "ready"):
            scenario = study(profile, streams, order, tasks)
            bounds, plans = [], []
            for seed in range(seeds):
                _, plan, bound, _ = solve_bounded(scenario, scenario.realize(seed), TimeLimit(limit_s))
                bounds.append(bound)
                plans.append(plan)
            greedy, priced = (
                statistics.mean(r.mean_gain for r in simulate_batch(scenario, make_scheduler(name), range(seeds)))
                for name in ("greedy", "priced")
            )
            bound, plan = statistics.mean(bounds), statistics.mean(plans)
            print(
                f"{profile:16} {order:6} {streams:7d} {bound:7.4f} {plan / bound:7.1%} {greedy / bound:7.1%} "
                f"{priced / bound:7.1%} {priced / greedy - 1:+7.1%}",
                flush=True,
            )


def decision_us(streams: int) -> tuple[float, float]:
    """Median time of one decision of greedy and of priced with this many streams."""
    context = study("efficientnet-b0", streams, "grant", 1).context(np.zeros(1, dtype=np.int64))
    rng = np.random.default_rng(0)
    medians = []
    for name in ("greedy", "priced"):
        scheduler = make_scheduler(name)
        scheduler.reset(context)
        spent = []
        for _ in range(DECISIONS):
            view = View(
                row=np.zeros(1, dtype=np.int64),
                now_ms=np.zeros(1),
                stream=rng.integers(0, streams, 1),
                device_wait_ms=rng.uniform(0, 80, 1),
                uplink_wait_ms=rng.uniform(0, 80, 1),
                edge_wait_ms=np.sort(rng.uniform(0, 80, (1, context.workers)), axis=1),
                rate_bits_per_ms=np.full(1, context.uplink_bits_per_ms or 1.0),
                others_wait_ms=np.zeros((1, streams)),
            )
            started = time.perf_counter()
            scheduler.decide(view)
            spent.append((time.perf_counter() - started) * 1e6)
        medians.append(statistics.median(spent))
    return medians[0], medians[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few tasks, one seed, no more than 8 streams")
    parser.add_argument("--streams", default="3,8,50")
    parser.add_argument("--tasks", type=int, default=200, help="tasks per stream")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    counts = [3, 8] if given.quick else [int(n) for n in given.streams.split(",")]
    tasks, seeds, limit_s = (60, 1, 10.0) if given.quick else (given.tasks, given.seeds, BOUND_LIMIT_S)
    compile_kernels()
    print("gain as a share of the offline upper bound")
    print(
        f"{'profile':16} {'order':6} {'streams':>7} {'bound':>7} {'plan':>7} {'greedy':>7} {'priced':>7} {'+greedy':>8}"
    )
    for streams in counts:
        compare(streams, tasks, seeds, limit_s)
    print("\nmicroseconds for a single decision (median)")
    print(f"{'streams':>7} {'greedy':>7} {'priced':>7}")
    for streams in counts:
        greedy_us, priced_us = decision_us(streams)
        print(f"{streams:7d} {greedy_us:7.1f} {priced_us:7.1f}")


if __name__ == "__main__":
    main()
