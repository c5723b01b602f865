"""What stopping early by confidence brings: simulated on-time accuracy with and without, on the same tasks and links.

The demo's digits network, built for a loss of 0.005, in the demo's scenario without noise, at several arrival rates.
First what the package was measured to do on held-out data when the last exit is scheduled; then the simulation: means
over seeds, the difference in points with its standard error over seeds, and the bytes sent with stops as a share of
those without. Times are those of the quick profile from building; the factors of the demo's scenario bring every
machine to the same load.

    python benchmarks/early_stop.py [--seeds N] [--full] [--data digits|cifar10] [--expected]

With ``--expected`` another table: what greedy would gain if it reckoned with where tasks may stop (``ExpectedStops``
below, which hasten does not have) instead of with the whole way.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace

import numpy as np

from hasten.core.calibration import expected_share, kinds
from hasten.core.decision import Context, Decision, View, predicted_latency, useful_limit_ms
from hasten.core.expected_gain import expected_gain
from hasten.core.gain import task_gain
from hasten.core.options import DROP
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
EXPECTED_SECONDS = 20.0
UNREACHED_MS = 1e12
"""Of an option that never ends, so that no share of it counts for another."""


class ExpectedStops:
    """Greedy by the expected gain over the exits at which a task may stop, each at its own predicted time."""

    name = "expected stops"

    def __init__(self, ready: bool) -> None:
        """In ``ready`` order what is late if it goes all the way is cancelled, wherever it would stop."""
        self._ready = ready

    def reset(self, context: Context) -> None:
        """The undominated options, and their tables for each exit at which tasks may stop."""
        self._context, self._limit_ms = context, useful_limit_ms(context)
        self._table, self._column = context.options.undominated()
        stops = self._table.stops
        assert stops is not None  # the scenario has them
        self._share = np.diff(stops.until, axis=2, prepend=0.0)
        names = "device_ms", "payload_bits", "edge_ms", "worth"
        self._at = [
            replace(self._table, stops=None, **{name: getattr(stops, name)[..., k].copy() for name in names})
            for k in range(stops.until.shape[2])
        ]

    def decide(self, view: View) -> Decision:
        """The option of the largest expected gain, then of the least expected latency; DROP without any."""
        context, stream = self._context, view.stream
        late_gain = context.gain_terms.late_gain
        deadline_ms, limit_ms = context.deadline_ms[stream][:, None], self._limit_ms[stream][:, None]
        whole_ms = predicted_latency(context, view, self._table)
        expected, mean_ms = np.zeros(whole_ms.shape), np.zeros(whole_ms.shape)
        for table, share in zip(self._at, np.moveaxis(self._share[stream], 2, 0), strict=True):
            latency_ms = np.minimum(predicted_latency(context, view, table), UNREACHED_MS)
            useful = (whole_ms if self._ready else latency_ms) <= limit_ms
            slack = np.where(useful, (limit_ms - latency_ms) / deadline_ms, 0.0)
            kept = 1.0 if context.exact else expected_share(view, slack, kinds(self._table)[stream])
            gain = task_gain(table.worth[stream], np.minimum(latency_ms, limit_ms), deadline_ms, *context.gain_terms)
            expected += share * np.where(useful, expected_gain(gain, late_gain, kept), late_gain)
            mean_ms += share * latency_ms
        expected = np.where(np.isfinite(self._table.device_ms[stream]), expected.round(12), -np.inf)
        equals = expected == expected.max(axis=1, keepdims=True)
        best = np.where(equals, -mean_ms, -np.inf).argmax(axis=1)
        found = expected[np.arange(len(best)), best] > late_gain
        return Decision(np.where(found, self._column[stream, best], DROP))


def show_expected(package: str, profile: Profile, seeds: int) -> None:
    """How mean gains differ, in points, on the same tasks and links."""
    print(
        f"\n{'order':>6} {'view':>7} {'gain':<17} {'arrivals':>8} {'greedy':>8} {'expected':>8} {'points':>8} {'+-':>5}"
    )
    for order, view in (("grant", {"age_ms": 0}), ("ready", {"age_ms": 0}), ("ready", {"kind": "device"})):
        for gain in ({"kind": "on_time_accuracy"}, {"kind": "tradeoff", "lambda": 0.3, "rho": 0.1}):
            for factor in RATES[1:]:
                data = demo_scenario(package, profile, EXPECTED_SECONDS) | {"noise": "none", "gain": gain, "view": view}
                data["uplink"]["order"] = order
                data["streams"][0]["arrivals"]["rate_hz"] *= factor
                scenario = scenario_from(data | {"confidence": {"max_accuracy_loss": LOSS}})
                drawn = [scenario.realize(seed) for seed in range(seeds)]
                before, after = (
                    np.array([it.mean_gain for it in simulate_realizations(scenario, scheduler, drawn)])
                    for scheduler in (make_scheduler("greedy"), ExpectedStops(order == "ready"))
                )
                points = 100.0 * (after - before)
                error = points.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
                print(
                    f"{order:>6} {view.get('kind', 'fresh'):>7} {gain['kind']:<17} {factor:>7}x {before.mean():8.4f} "
                    f"{after.mean():8.4f} {points.mean():+8.2f} {error:5.2f}",
                    flush=True,
                )


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
    parser.add_argument("--expected", action="store_true", help="greedy with expected stops against greedy")
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
    if options.expected:
        show_expected(str(package.path), profile, options.seeds)
        return
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
