"""What real runs lose when another program keeps one core busy, against the same tasks in virtual time.

The network, as profiled on this machine, and the policy are those that ``make demo`` leaves in ``out/demo``; the
conditions are the middle ones of ``hasten study real``: three devices, generated links. A run takes a dozen seconds;
those with and without the other program alternate. Written to ``FOLDER/busy_core.json``.

Usage: python benchmarks/busy_core.py [--seeds 5] [--demo out/demo] [--to FOLDER]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hasten.core.scenario import Scenario
from hasten.fidelity.real.command import SECONDS
from hasten.fidelity.real.points import PlayedConditions
from hasten.runtime.local.run import run_scenario
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.split.package import open_package
from hasten.study.statistics import interval


def spin() -> None:
    while True:
        pass


@contextmanager
def one_core_busy() -> Iterator[None]:
    other = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    other.start()
    try:
        yield
    finally:
        other.terminate()
        other.join()


def played(scenario: Scenario, names: list[str], seed: int, virtual: bool) -> list[float]:
    """On-time accuracy of each scheduler."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_virtual_scenario if virtual else run_scenario
        found = {result.scheduler: result for result in run(scenario, names, [seed], out_dir=Path(folder)).results}
    return [found[name].on_time_accuracy for name in names]


def points(ours: list[float], theirs: list[float]) -> str:
    found = interval(100.0 * (np.array(ours) - np.array(theirs)))
    return f"{found.mean:+.1f} ± {0.5 * (found.high - found.low):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--demo", type=Path, default=Path("out/demo"))
    parser.add_argument("--to", type=Path, default=Path("out/benchmarks"))
    args = parser.parse_args()
    package, policy = args.demo / "digits.hasten", args.demo / "policy.onnx"
    scenario = PlayedConditions(3, "generated").scenario(package, open_package(package).profile, SECONDS)
    names = ["greedy", "greedy:point", f"policy:{policy}"]
    worlds: dict[str, list[list[float]]] = {"virtual": [], "quiet": [], "busy": []}
    for seed in range(args.seeds):
        worlds["virtual"].append(played(scenario, names, seed, virtual=True))
        worlds["quiet"].append(played(scenario, names, seed, virtual=False))
        with one_core_busy():
            worlds["busy"].append(played(scenario, names, seed, virtual=False))
    rows = []
    for k, name in enumerate(names):
        virtual, quiet, busy = ([run[k] for run in worlds[world]] for world in ("virtual", "quiet", "busy"))
        means = [f"{np.mean(found):.3f}" for found in (virtual, quiet, busy)]
        shown = "learned" if name.startswith("policy:") else name
        rows.append([shown, *means, points(quiet, virtual), points(busy, virtual)])
    head = ["scheduler", "virtual", "real", "real, one core busy", "real - virtual", "busy - virtual"]
    for row in [head, *rows]:
        print("| " + " | ".join(row) + " |")
    args.to.mkdir(parents=True, exist_ok=True)
    (args.to / "busy_core.json").write_text(
        json.dumps({"head": head, "rows": rows, "seeds": args.seeds}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
