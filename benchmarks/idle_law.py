"""Does an idle system take as long as the timing law says? Measured latency of every (exit, partition) against it.

The network is profiled on this machine as `hasten profile` does. Then one device, the edge node and the emulated link
run as real processes; tasks come so seldom that each finds the system idle, and every task of a round takes the same
option. The prediction is core.timing.predict_latency of the profile's numbers with empty queues: no constant is fitted.
The law holds for an option when its prediction lies within the measured quartiles, or within their distance of the
median: "within spread". What the law leaves out is taken from the logs and printed too: the timer's lateness, the
decision, encoding (which profiles leave out), hand-overs between threads, and the frames' overhead on the wire. With
these added ("+ fixed") the prediction should leave next to nothing.

Usage: python benchmarks/idle_law.py [--tasks N] [--mbps R] [--rtt MS] [--device X] [--edge X] [FILE.hasten]
Without a file a residual network with random weights is built first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from segments import built_here

from hasten.core.scenario import Scenario, scenario_from
from hasten.core.timing import predict_latency
from hasten.profiling import measure
from hasten.runtime.local_run import read_log, run_scenario
from hasten.split.package import open_package, with_profile

GAP_HZ = 8.0


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


def left_out_ms(folder: Path, name: str, arguments: argparse.Namespace) -> float:
    """Median over an option's tasks of what the law does not know: all of the latency but computing and its payload."""
    left_out = []
    for record in read_log(folder / f"{name.replace(':', '_')}-0-device.jsonl"):
        parts = record["parts"]
        if record["latency_ms"] is None:
            continue
        known_ms = parts.get("device", 0.0) + parts.get("edge", 0.0) + parts.get("decode", 0.0)
        if "edge" in parts:
            known_ms += 8.0 * record["bytes"] / (1000.0 * arguments.mbps) + arguments.rtt
        left_out.append(record["latency_ms"] - known_ms)
    return float(np.median(left_out))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measured against predicted latency in an idle system.")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--tasks", type=int, default=24, help="tasks per option")
    parser.add_argument("--mbps", type=float, default=20.0)
    parser.add_argument("--rtt", type=float, default=10.0)
    parser.add_argument("--device", type=float, default=4.0, help="slow-down of the device")
    parser.add_argument("--edge", type=float, default=2.0, help="slow-down of the edge")
    parser.add_argument("--repeats", type=int, default=20, help="calls per segment while profiling")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = open_package(arguments.file) if arguments.file else built_here(Path(folder))
        gap_ms = 1000.0 / GAP_HZ / 4.0
        profile = measure(built, "device", repeats=arguments.repeats, gap_ms=gap_ms).profile
        package = with_profile(built, profile, Path(folder) / "profiled.hasten")
        scenario = idle_scenario(package.path, arguments)
        table = scenario.options
        names = [f"fixed:{e},{p}" for e, p in zip(table.exit[0], table.partition[0], strict=True)]
        outcome = run_scenario(scenario, names, out_dir=Path(folder))
        fixed_ms = [left_out_ms(Path(folder), name, arguments) for name in names]
        predicted_ms = predict_latency(
            0.0,
            0.0,
            0.0,
            table.device_ms[0],
            table.payload_bits[0],
            table.edge_ms[0],
            1000.0 * arguments.mbps,
            arguments.rtt,
        )
    print(profile.source)
    print(outcome.facts)
    print(
        f"{'option':>8} {'predicted':>9} {'+ fixed':>8} {'measured ms: 25 %':>18} {'50 %':>8} {'75 %':>8} "
        f"{'within':>6} {'+ fixed':>8}"
    )
    within, within_fixed, excess = 0, 0, []
    for name, law_ms, more_ms, result in zip(names, predicted_ms, fixed_ms, outcome.results, strict=True):
        low, middle, high = np.quantile(result.latency_ms[np.isfinite(result.latency_ms)], [0.25, 0.5, 0.75])
        spread = max(high - low, middle - low, high - middle)
        holds, holds_fixed = abs(law_ms - middle) <= spread, abs(law_ms + more_ms - middle) <= spread
        within, within_fixed = within + holds, within_fixed + holds_fixed
        excess.append((middle - law_ms) / law_ms)
        print(
            f"{name.removeprefix('fixed:'):>8} {law_ms:>9.2f} {law_ms + more_ms:>8.2f} {low:>18.2f} {middle:>8.2f} "
            f"{high:>8.2f} {'yes' if holds else 'no':>6} {'yes' if holds_fixed else 'no':>8}"
        )
    print(f"what the law leaves out: median {np.median(fixed_ms):.2f} ms, largest {max(fixed_ms):.2f} ms")
    print(f"measured over predicted: median {np.median(excess):+.1%}, worst {max(excess):+.1%}")
    print(f"within spread: {within} of {len(names)}; with what the law leaves out: {within_fixed}")


if __name__ == "__main__":
    main()
