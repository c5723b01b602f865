"""The demo's learned policy beside greedy and greedy:point, on the demo's scenario: simulated and in virtual time.

On-time accuracy, means over seeds, and differences to both on the same seeds with 95 % t-intervals. Virtual time plays
the runtime's own agents and edge without a host. The demo's network is profiled on this machine before.

Usage: python benchmarks/demo_policy.py [--seeds N] [--docs DIR]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hasten.core.results import Result
from hasten.core.scenario import Scenario, scenario_from
from hasten.demo import DEVICES, SECONDS, SHIPPED_POLICY, demo_scenario, profiled_network
from hasten.fidelity.conform import predict
from hasten.report.document import Block, Heading, Paragraph, TableBlock, write_markdown
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.study.statistics import interval

LEARNED = f"policy:{SHIPPED_POLICY}"
SCHEDULERS = {"greedy:point": "greedy:point", "greedy": "greedy", "learned": LEARNED}


def accuracies(results: Sequence[Result]) -> dict[str, np.ndarray]:
    """On-time accuracy of each scheduler by seed, seeds ascending."""
    found = {label: [r for r in results if r.scheduler == name] for label, name in SCHEDULERS.items()}
    return {
        label: np.array([r.on_time_accuracy for r in sorted(runs, key=lambda run: run.seed)])
        for label, runs in found.items()
    }


def rows_of(world: str, found: dict[str, np.ndarray]) -> list[list[str]]:
    """A row for each scheduler; differences in points."""
    rows = []
    for label, own in found.items():
        row = [world, label, f"{own.mean():.4f}"]
        for other in ("greedy:point", "greedy"):
            if other == label:
                row.append("-")
                continue
            gained = interval(100.0 * (own - found[other]))
            row.append(f"{gained.mean:+.2f} ± {0.5 * (gained.high - gained.low):.2f}")
        rows.append(row)
    return rows


def compared(scenario: Scenario, seeds: range) -> list[list[str]]:
    """The table's rows."""
    names = list(SCHEDULERS.values())
    simulated = predict(scenario, names, seeds, lambda what, done: None)
    with tempfile.TemporaryDirectory() as folder:
        virtual = run_virtual_scenario(scenario, names, seeds, out_dir=Path(folder)).complete()
    return rows_of("simulated", accuracies(simulated)) + rows_of("virtual time", accuracies(virtual.results))


def page(rows: list[list[str]], seeds: int, profile: str) -> list[Block]:
    """What the docs say."""
    told = (
        f"Made by `python benchmarks/demo_policy.py --seeds {seeds} --docs docs`. On-time accuracy on the demo's "
        f"scenario ({DEVICES} devices, {SECONDS:g} s, device views, times drawn from the profile's spread), means over "
        f"{seeds} seeds; differences are in points, on the same seeds, with 95 % t-intervals. `learned` is the policy "
        f"that ships, by `scripts/train_demo_policy.py`. The profile: {profile}."
    )
    head = ["world", "scheduler", "on-time accuracy", "over greedy:point", "over greedy"]
    return [Heading(1, "The demo's learned policy"), Paragraph(told), TableBlock("", head, rows)]


def main() -> None:
    """Measure, print and, if asked, write the page."""
    parser = argparse.ArgumentParser(description="The demo's learned policy beside greedy.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = profiled_network("digits", False, Path(folder), lambda what, done: None)
        scenario = scenario_from(demo_scenario(str(package.path), package.profile, SECONDS), "demo")
        rows = compared(scenario, range(arguments.seeds))
    for row in rows:
        print("  ".join(f"{cell:>16}" for cell in row))
    if arguments.docs is not None:
        write_markdown(arguments.docs / "demo-policy.md", page(rows, arguments.seeds, package.profile.source))


if __name__ == "__main__":
    main()
