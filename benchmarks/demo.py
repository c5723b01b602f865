"""What does choosing task by task gain in real processes? The demo's table, then its scenario over several seeds.

The second table repeats the demo's scenario with other arrivals, images and links (one seed each): greedy beside the
best fixed pair that the demo found and the deepest exit in time on the device alone. Means over the seeds with their
spread; the ratio is that of the means, and of the worst seed.

Usage: python benchmarks/demo.py [--seeds N] [--quick] [--out DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from hasten.cli.tables import make_console, progress_bar, result_table
from hasten.core.results import result_document
from hasten.core.scenario import load_scenario
from hasten.demo import run_demo
from hasten.runtime.local.run import run_scenario


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo, and its scenario over several seeds.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    arguments = parser.parse_args()
    console: Console = make_console()
    with progress_bar(console) as progress:
        outcome = run_demo(arguments.out, arguments.quick, "digits", progress)
        console.print(result_table(outcome.document, outcome.title, console.width))
        best_fixed = outcome.document["results"][-1]["scheduler"]
        scenario = load_scenario(arguments.out / "scenario.yaml")
        names = ["greedy", best_fixed, "device-only:deepest"]
        repeated = run_scenario(scenario, names, range(1, arguments.seeds + 1), progress=progress).complete()
    document = result_document(scenario.name, repeated.results, runtime=repeated.facts)
    console.print(result_table(document, f"the same scenario, seeds 1 to {arguments.seeds}", console.width))
    gained = {
        name: [entry["measured_on_time_accuracy"] for entry in document["results"] if entry["scheduler"] == name]
        for name in names
    }
    for name in names[1:]:
        ratios = [ours / theirs for ours, theirs in zip(gained["greedy"], gained[name], strict=True)]
        mean = sum(gained["greedy"]) / sum(gained[name])
        console.print(f"greedy / {name}: {mean:.3f}, worst seed {min(ratios):.3f}, best {max(ratios):.3f}")


if __name__ == "__main__":
    main()
