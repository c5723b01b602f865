"""Does a loaded system do what the simulator says? The same tasks simulated and in real processes, by load.

The network of the demo is profiled on this machine as `hasten profile` does. Three devices, each with its own uplink of
constant rate, share one edge worker; their arrivals are Poisson, as many as give the busiest resource of the named
fixed pair the named load (Greedy meets the same arrivals). `hasten.fidelity.conform` simulates and runs them. Errors
are real less simulated: on-time accuracy in points, latencies in per cent. Budgets up to 80 % load: one point, 5 % of
the median latency, 10 % of the 95th percentile.

Usage: python benchmarks/conformance.py [--seconds S] [--loads 0.4,0.6,0.8] [--seeds N]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from hasten.core.scenario import Scenario, scenario_from
from hasten.fidelity.conform import compare
from hasten.fidelity.overhead import with_overhead
from hasten.fidelity.profiling import measure
from hasten.networks.default import build_default
from hasten.split.package import with_profile

DEVICES = 3
DEVICE_MS, EDGE_MS = 100.0, 10.0
"""What the whole network takes on a device and on the edge, slowed down accordingly."""
MBPS, RTT_MS, DEADLINE_MS = 1.0, 6.0, 150.0
BUDGETS = (1.0, 5.0, 10.0)


def quiet(text: str, fraction: float) -> None:
    """Nothing: what is printed is the table."""


def scenario_of(package: Path, slowdowns: tuple[float, float], rate_hz: float, seconds: float) -> Scenario:
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "camera",
                    "count": DEVICES,
                    "profile": str(package),
                    "deadline_ms": DEADLINE_MS,
                    "slowdown": slowdowns[0],
                    "arrivals": {"kind": "poisson", "rate_hz": rate_hz},
                }
            ],
            "uplink": {
                "topology": "dedicated",
                "order": "ready",
                "rtt_ms": RTT_MS,
                "rate": {"kind": "constant", "mbps": MBPS},
            },
            "edge": {"slowdown": slowdowns[1]},
            "horizon_ms": 1000.0 * seconds,
        }
    )


def busiest_ms(scenario: Scenario, option: int) -> float:
    """What a task of each stream takes of the busiest resource if it takes this option."""
    table = scenario.options
    send_ms = table.payload_bits[0, option] / (1000.0 * MBPS)
    return float(max(table.device_ms[0, option], send_ms, DEVICES * table.edge_ms[0, option]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated against real runs, by load.")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--loads", default="0.4,0.6,0.8")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = build_default("digits", None, True, 0, quiet)
        profile = with_overhead(measure(built, "device", gap_ms=0.0).profile, built)
        package = with_profile(built, profile, Path(folder) / "digits.hasten")
        last = len(profile.exits)
        device_ms = sum(block.device_ms for block in profile.blocks) + profile.exits[-1].device_ms
        edge_ms = sum(block.edge_ms for block in profile.blocks) + profile.exits[-1].edge_ms
        slowdowns = max(DEVICE_MS / device_ms, 1.0), max(EDGE_MS / edge_ms, 1.0)
        table = scenario_of(package.path, slowdowns, 1.0, 1.0).options
        pair = int(np.flatnonzero((table.exit[0] == last) & (table.partition[0] == 1))[0])
        names = [f"fixed:{last},1", "greedy"]
        alone_ms = busiest_ms(scenario_of(package.path, slowdowns, 1.0, 1.0), pair)
        print(profile.source)
        print(f"besides: {profile.task_ms:.2f} ms per task, {profile.offload_ms:.2f} ms more when it is offloaded")
        heads = ("tasks", "simulated", "real", "points", "p50 %", "p95 %", "same decisions")
        print(f"{'load':>5} {'scheduler':12} {'seed':>4} " + " ".join(f"{head:>9}" for head in heads) + "  within")
        for load in [float(text) for text in arguments.loads.split(",")]:
            scenario = scenario_of(package.path, slowdowns, 1000.0 * load / alone_ms, arguments.seconds)
            for entry in compare(scenario, names, range(arguments.seeds), None, quiet).document["results"]:
                simulated, real = entry["simulated"], entry["real"]
                accuracy = [side["on_time_accuracy"] for side in (simulated, real)]
                latency = [
                    100.0 * (real["latency_ms"][name] / simulated["latency_ms"][name] - 1.0) for name in ("p50", "p95")
                ]
                errors = (100.0 * (accuracy[1] - accuracy[0]), *latency)
                within = all(abs(error) <= budget for error, budget in zip(errors, BUDGETS, strict=True))
                print(
                    f"{load:5.0%} {entry['scheduler']:12} {entry['seed']:4d} {entry['tasks']:9d} {accuracy[0]:9.3f}"
                    f" {accuracy[1]:9.3f} "
                    + " ".join(f"{error:+9.2f}" for error in errors)
                    + f" {entry['same_decision_share']:9.1%}       {'yes' if within else 'no'}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
