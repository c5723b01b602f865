"""The exact offline search: against CP-SAT on the same instances, on 100,000 tasks, and its growth with their number.

    python benchmarks/exact.py [--quick] [--limit SECONDS] [--out DIR]

1. hasten and OR-Tools CP-SAT (2 workers) solve the same instances in one run: one stream, 13 options, whole
   milliseconds, a task every 40 ms on average, 150 ms deadline, exits and cuts as in the AlexNet profile. Sizes grow
   until CP-SAT proves none of a size's instances within the limit; the ratio is of median times where both proved. The
   last line is the ratio at the largest size that CP-SAT proves.
2. A single stream of 100,000 tasks, the two built-in study profiles, solved to proven optimality.
3. Time per task from 1,000 to 200,000 tasks at a fixed load; with --out also as exact-linear.csv and .png.
4. Several streams on a shared uplink that grows with them: how far the exact search reaches.

hasten's times include everything from the realization to the plan; compilation (once per installation, then cached on
disk) is printed by itself.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path

import numpy as np
from cp_sat_peer import solve_with_cp_sat

from hasten.core.gain import GainTerms
from hasten.core.options import OptionTable, StreamCosts, option_table
from hasten.core.profile import Profile
from hasten.core.rates import rate_trace
from hasten.core.scenario import Scenario, scenario_from
from hasten.offline import solve_offline
from hasten.offline.exact.search import exact_search
from hasten.offline.instance import Instance, costs_of, instance_of, rates_of, tasks_of

BITS_PER_MS = 8_000.0
PLAIN = GainTerms(0.0, 0.0, 0.0)
"""On-time accuracy alone."""
SEEDS = 3
ALEXNET = {"profile": "alexnet-pi", "deadline_ms": 80, "arrivals": {"kind": "poisson", "rate_hz": 15}}
EFFICIENTNET = {
    "profile": "efficientnet-b0",
    "deadline_ms": 150,
    "slowdown": 1 / 3,
    "arrivals": {"kind": "poisson", "rate_hz": 6},
}


def study(stream: dict[str, object], tasks: int, streams: int = 1) -> Scenario:
    """The default study at 1..M streams: 10 Mbit/s for up to three of them, growing with more."""
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [{"name": "cam", "count": streams} | stream],
            "uplink": {"rate": {"kind": "constant", "mbps": 10 * max(streams, 3) / 3}},
            "edge": {"slowdown": 4 if stream["profile"] == "alexnet-pi" else 1},
            "tasks_per_stream": tasks,
        }
    )


def whole_options() -> OptionTable:
    """AlexNet-like costs in whole milliseconds and whole transfer times, all of its options."""
    cut_ms = [47, 32, 65, 43, 9]
    device_ms, edge_ms = [15, 16, 8, 12, 9], [3, 2, 1, 1, 1]
    blocks = [
        {"name": f"b{i}", "device_ms": d, "edge_ms": e, "output_bytes": int(c * BITS_PER_MS / 8)}
        for i, (d, e, c) in enumerate(zip(device_ms, edge_ms, cut_ms, strict=True))
    ]
    heads = [(1, 0.519, 1), (3, 0.719, 1), (5, 0.792, 44)]
    exits = [
        {"name": f"e{b}", "after_block": b, "accuracy": a, "device_ms": d, "edge_ms": 1 if d == 1 else 5}
        for b, a, d in heads
    ]
    document = {"schema": "hasten.profile/1", "name": "whole", "source": "rounded", "blocks": blocks, "exits": exits}
    profile = Profile.model_validate(document | {"input_bytes": int(150 * BITS_PER_MS / 8)})
    return option_table([StreamCosts(profile)])


def whole_instance(table: OptionTable, tasks: int, seed: int) -> tuple[Instance, np.ndarray]:
    """One stream with exponential gaps of 40 ms on average, in whole milliseconds."""
    rng = np.random.default_rng([tasks, seed])
    arrival_ms = np.cumsum(np.rint(rng.exponential(40.0, tasks)))
    stream = np.zeros(tasks, dtype=np.int64)
    costs = costs_of(table.undominated()[0], np.array([150.0]), PLAIN, 0.0, 1, shared_uplink=True)
    rates = rates_of((rate_trace(np.zeros(1), np.array([BITS_PER_MS])),), costs)
    return Instance(costs, rates, tasks_of(arrival_ms, stream, costs, rates)), arrival_ms


def against_cp_sat(limit_s: float, sizes: list[int]) -> None:
    table = whole_options()
    print(f"\n1. Exact search and CP-SAT on the same instances, {SEEDS} of each size, limit {limit_s:.0f} s each")
    print(f"{'tasks':>6} {'CP-SAT proved':>14} {'CP-SAT median':>14} {'hasten median':>14} {'ratio':>10}  equal")
    largest = ""
    for tasks in sizes:
        ours, theirs, equal = [], [], True
        for seed in range(SEEDS):
            instance, arrival_ms = whole_instance(table, tasks, seed)
            began = time.perf_counter()
            mine = exact_search(instance)
            ours.append(time.perf_counter() - began)
            up = [np.ones(int(arrival_ms[-1]) + 400, dtype=bool)]
            stream = np.zeros(tasks, dtype=np.int64)
            peer = solve_with_cp_sat(table, np.array([150.0]), arrival_ms, stream, up, BITS_PER_MS, limit_s)
            theirs.append(peer.seconds if peer.proven else math.inf)
            equal &= mine.complete and (not peer.proven or abs(peer.gain - mine.gain) < 1e-6)
            equal &= mine.gain <= peer.bound + 1e-6
        proved = [(p, o) for p, o in zip(theirs, ours, strict=True) if p < math.inf]
        if not proved:
            print(f"{tasks:>6} {'0 of ' + str(SEEDS):>14} {'> limit':>14} {statistics.median(ours) * 1e3:>11.3f} ms")
            break
        peer_s, own_s = statistics.median(p for p, _ in proved), statistics.median(o for _, o in proved)
        share = f"{len(proved)} of {SEEDS}"
        largest = f"largest size that CP-SAT proves: {tasks} tasks ({share}), hasten {peer_s / own_s:,.0f} times faster"
        print(
            f"{tasks:>6} {share:>14} {peer_s:>12.3f} s {own_s * 1e3:>11.3f} ms {peer_s / own_s:>9,.0f}x  "
            f"{'yes' if equal else 'NO'}",
            flush=True,
        )
    print(largest, flush=True)


def long_streams(tasks: int) -> None:
    print(f"\n2. One stream of {tasks:,} tasks")
    for stream in (ALEXNET, EFFICIENTNET):
        plan = solve_offline(study(stream, tasks))
        print(
            f"{stream['profile']:<16} {plan.seconds:6.2f} s  optimal: {plan.optimal}  gain {plan.gain:.6f}  "
            f"most labels {plan.details['peak_labels']}",
            flush=True,
        )


def growth(sizes: list[int], out: Path | None) -> None:
    print("\n3. Microseconds per task at a fixed load (linear cost: a constant column)")
    print(f"{'tasks':>8} {'alexnet-pi':>12} {'efficientnet-b0':>16}")
    rows = []
    for tasks in sizes:
        seconds = [min(solve_offline(study(s, tasks)).seconds for _ in range(3)) for s in (ALEXNET, EFFICIENTNET)]
        rows.append((tasks, *seconds))
        print(f"{tasks:>8} {seconds[0] / tasks * 1e6:>12.1f} {seconds[1] / tasks * 1e6:>16.1f}", flush=True)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        lines = ["tasks,alexnet_pi_s,efficientnet_b0_s", *(f"{n},{a:.6f},{e:.6f}" for n, a, e in rows)]
        (out / "exact-linear.csv").write_text("\n".join(lines) + "\n")
        plot(rows, out / "exact-linear.png")


def plot(rows: list[tuple[int, float, float]], path: Path) -> None:
    """Time over number of tasks, with a line through the origin and the largest size."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [row[0] for row in rows]
    figure, axes = plt.subplots(figsize=(6, 4))
    for column, name in ((1, "alexnet-pi"), (2, "efficientnet-b0")):
        seconds = [row[column] for row in rows]
        (line,) = axes.plot(tasks, seconds, "o", label=name)
        axes.plot([0, tasks[-1]], [0, seconds[-1]], "--", color=line.get_color(), linewidth=0.8)
    axes.set_xlabel("tasks of one stream")
    axes.set_ylabel("time to the proven optimum (s)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def many_streams(streams: list[int], tasks_per_stream: int) -> None:
    print(f"\n4. Several streams of {tasks_per_stream} tasks, shared uplink, exact search alone")
    for count in streams:
        for stream in (ALEXNET, EFFICIENTNET):
            scenario = study(stream, tasks_per_stream, count)
            instance, _ = instance_of(scenario, scenario.realize(0))
            began = time.perf_counter()
            search = exact_search(instance)
            told = "optimal" if search.complete else f"given up ({search.stopped})"
            print(
                f"{count} x {stream['profile']:<16} {time.perf_counter() - began:8.2f} s  {told}, "
                f"most labels {search.peak:,}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and short limits, for a look")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for CP-SAT on each instance")
    parser.add_argument("--out", type=Path, help="folder for the data and the plot of part 3")
    arguments = parser.parse_args()
    began = time.perf_counter()
    solve_offline(study(ALEXNET, 20))
    print(f"compilation or loading of compiled code: {time.perf_counter() - began:.1f} s")
    if arguments.quick:
        against_cp_sat(min(arguments.limit, 5.0), [5, 10])
        long_streams(10_000)
        growth([1_000, 10_000], arguments.out)
        many_streams([2, 3], 100)
    else:
        against_cp_sat(arguments.limit, [5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100])
        long_streams(100_000)
        growth([1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000], arguments.out)
        many_streams([2, 3, 4, 5], 500)


if __name__ == "__main__":
    main()
