"""What stopping early by confidence brings: simulated on-time accuracy with and without, on the same tasks and links.

The demo's digits network, built for a loss of 0.005, in the demo's scenario without noise, at several arrival rates.
First what the package was measured to do on held-out data when the last exit is scheduled; then the simulation: means
over seeds, the difference in points with its standard error over seeds, and the bytes sent with stops as a share of
those without. Times are those of the quick profile from building; the factors of the demo's scenario bring every
machine to the same load.

    python benchmarks/early_stop.py [--seeds N] [--full] [--data digits|cifar10]
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

from hasten.core.profile import Profile
from hasten.core.results import Result
from hasten.core.scenario import scenario_from
from hasten.demo import demo_scenario
from hasten.networks.default import build_default
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations

LOSS = 0.005
RATES = (0.5, 1.0, 2.0)
"""Times the demo's arrival rate."""
SCHEDULERS = ("greedy", "edgent", "edge-only:deepest", "device-only:deepest")
SECONDS = 60.0


def played(package: str, profile: Profile, name: str, factor: float, seeds: int) -> tuple[list[Result], list[Result]]:
    """Runs without early stops and with them."""
    data = demo_scenario(package, profile, SECONDS) | {"noise": "none"}
    data["streams"][0]["arrivals"]["rate_hz"] *= factor
    runs = []
    for more in ({}, {"confidence": {"max_accuracy_loss": LOSS}}):
        scenario = scenario_from(data | more)
        drawn = [scenario.realize(seed) for seed in range(seeds)]
        runs.append(simulate_realizations(scenario, make_scheduler(name), drawn))
    return runs[0], runs[1]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="measure the network on all of its held-out pictures")
    parser.add_argument("--data", choices=["digits", "cifar10"], default="digits")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    package = build_default(options.data, quick=not options.full, max_accuracy_loss=LOSS)
    profile, stops = package.profile, package.manifest.confidence
    assert stops is not None  # built so
    last = stops.outcomes[-1][-1]
    plain = package.manifest.exits[-1].accuracy
    print(f"{package.manifest.name}, {package.manifest.samples.evaluated} held-out pictures, last exit on the device:")
    print(f"  accuracy {plain:.4f}, with stops {last.accuracy:.4f} (stated loss {LOSS:g} on validation data)")
    shown = ["-" if it is None else f"{it:.3f}" for it in stops.thresholds]
    print(f"  thresholds    {'  '.join(f'{it:>5}' for it in shown)}")
    print(f"  share stopped {'  '.join(f'{it:5.3f}' for it in last.shares)}")
    print(f"\n{'arrivals':>8}  {'scheduler':<20} {'without':>8} {'with':>8} {'points':>8} {'+-':>5} {'bytes':>6}")
    for factor in RATES:
        for name in SCHEDULERS:
            without, with_stops = played(str(package.path), profile, name, factor, options.seeds)
            before, after = (np.array([it.on_time_accuracy for it in runs]) for runs in (without, with_stops))
            gained = 100.0 * (after - before)
            error = gained.std(ddof=1) / np.sqrt(options.seeds) if options.seeds > 1 else float("nan")
            sent = [sum(it.uplink_bytes for it in runs) for runs in (with_stops, without)]
            share = f"{sent[0] / sent[1]:6.2f}" if sent[1] else "     -"
            print(
                f"{factor:>7}x  {name:<20} {before.mean():8.4f} {after.mean():8.4f} {gained.mean():+8.2f} "
                f"{error:5.2f} {share}",
                flush=True,
            )


if __name__ == "__main__":
    main()
