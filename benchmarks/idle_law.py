"""Does an idle system take as long as the timing law says? Measured latency of every (exit, partition) against it.

The network is profiled on this machine as `hasten profile` does, what a task costs besides included, from other runs
than those that are judged. Then one device, the edge node and the emulated link run as real processes; tasks come so
seldom that each finds the system idle, and every task of a round takes the same option. The prediction is
core.timing.predict_latency of the profile's numbers with empty queues, at the link's rate and the round trip that the
agent's pings measured; nothing is fitted to the runs that are judged. The law holds for an option when its prediction
lies within the measured spread, from the 5th to the 95th percentile of its tasks' latencies. The count for the narrower
quartiles is printed, too.

Usage: python benchmarks/idle_law.py [--tasks N] [--mbps R] [--rtt MS] [--device X] [--edge X] [FILE.hasten]
Without a file a residual network with random weights is built first. Factors above 1 play slower machines.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from segments import built_here

from hasten.core.scenario import Scenario, scenario_from
from hasten.core.timing import predict_latency
from hasten.fidelity.overhead import with_overhead
from hasten.fidelity.profiling import measure
from hasten.runtime.local.results import read_log
from hasten.runtime.local.run import run_scenario
from hasten.split.package import open_package, with_profile

GAP_HZ = 8.0
SPREAD = (5, 25, 50, 75, 95)


def idle_scenario(package: Path, arguments: argparse.Namespace) -> Scenario:
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "device",
                    "profile": str(package),
                    "deadline_ms": 10_000,
                    "slowdown": arguments.device,
                    "arrivals": {"kind": "periodic", "rate_hz": GAP_HZ, "jitter": 0.2},
                }
            ],
            "uplink": {
                "order": "ready",
                "rtt_ms": arguments.rtt,
                "rate": {"kind": "constant", "mbps": arguments.mbps},
            },
            "edge": {"slowdown": arguments.edge},
            "tasks_per_stream": arguments.tasks,
        }
    )


def pinged_ms(folder: Path, name: str) -> float:
    """The round trip as the agent knew it from pings when it decided this round's tasks."""
    records = read_log(folder / f"{name.replace(':', '_')}-0-device.jsonl")
    return float(np.median([record["seen"]["rtt_ms"] for record in records]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measured against predicted latency in an idle system.")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--tasks", type=int, default=24, help="tasks per option")
    parser.add_argument("--mbps", type=float, default=20.0)
    parser.add_argument("--rtt", type=float, default=10.0)
    parser.add_argument("--device", type=float, default=1.0, help="slow-down of the device")
    parser.add_argument("--edge", type=float, default=1.0, help="slow-down of the edge")
    parser.add_argument("--repeats", type=int, default=20, help="calls per segment while profiling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = open_package(arguments.file) if arguments.file else built_here(Path(folder))
        gap_ms = 1000.0 / GAP_HZ / 4.0
        profile = with_overhead(measure(built, "device", repeats=arguments.repeats, gap_ms=gap_ms).profile, built)
        package = with_profile(built, profile, Path(folder) / "profiled.hasten")
        scenario = idle_scenario(package.path, arguments)
        table = scenario.options
        names = [f"fixed:{e},{p}" for e, p in zip(table.exit[0], table.partition[0], strict=True)]
        outcome = run_scenario(scenario, names, out_dir=Path(folder)).complete()
        rtt_ms = np.array([pinged_ms(Path(folder), name) for name in names])
    predicted_ms = predict_latency(
        profile.task_ms,
        0.0,
        0.0,
        table.device_ms[0],
        table.payload_bits[0],
        table.edge_ms[0],
        1000.0 * arguments.mbps,
        rtt_ms + profile.offload_ms,
    )
    print(profile.source)
    print(f"besides: {profile.task_ms:.2f} ms per task, {profile.offload_ms:.2f} ms more when it is offloaded")
    print(f"round trip: {arguments.rtt:g} ms emulated, {rtt_ms.min():.2f} to {rtt_ms.max():.2f} ms by pings")
    print(outcome.facts)
    shown = "".join(f"{share:>8} %" for share in SPREAD)
    print(f"{'option':>8} {'predicted':>9} measured ms:{shown} {'ratio':>6} {'within':>6}")
    within, quartiles, ratios = 0, 0, []
    for name, law_ms, result in zip(names, predicted_ms, outcome.results, strict=True):
        taken_ms = np.percentile(result.latency_ms[np.isfinite(result.latency_ms)], SPREAD)
        holds = bool(taken_ms[0] <= law_ms <= taken_ms[-1])
        within, quartiles = within + holds, quartiles + bool(taken_ms[1] <= law_ms <= taken_ms[-2])
        ratios.append(taken_ms[2] / law_ms)
        measured = "".join(f"{value:>10.2f}" for value in taken_ms)
        option = name.removeprefix("fixed:")
        print(f"{option:>8} {law_ms:>9.2f}             {measured} {ratios[-1]:>6.3f} {'yes' if holds else 'no':>6}")
    print(f"measured / predicted: median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"within the measured spread: {within} of {len(names)} (within its quartiles: {quartiles})")


if __name__ == "__main__":
    main()
