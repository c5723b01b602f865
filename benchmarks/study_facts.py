"""What the docs say of the learned scheduler beside results.md, from every run of the study.

    HASTEN_DATA=... hasten study all --out out/study
    python benchmarks/study_facts.py [out/study/runs.csv]

Points where `learned` gains at least as much as the rolling-horizon dynamic program, less a thousandth; how it compares
with `priced` where several streams share known conditions, by 95 % intervals on paired differences; its least share of
the online optimum in each sweep; the ranges of its share of the offline bound and of its improvement over Greedy over
all sweeps of several streams.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hasten.study.statistics import interval

OURS, NEARLY = "learned", 0.999
PROFILES, SOURCES = ("efficientnet-b0", "alexnet-pi"), ("generated", "recorded")


class Place(NamedTuple):
    """A point of the study."""

    profile: str
    source: str
    sweep: str
    order: str
    streams: int
    x: float

    @property
    def panel(self) -> tuple[str, str, int]:
        """What points of one sweep share."""
        return self.sweep, self.order, 0 if self.sweep == "streams" else self.streams


Gains = dict[str, dict[int, float]]
"""By scheduler (or "bound") and seed."""


def study_runs() -> dict[Place, Gains]:
    """All runs of the file that the command line names."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "out/study/runs.csv")
    if not path.exists():
        print(f"{path} does not exist: hasten study all --out {path.parent} makes it")
        sys.exit(0)
    found: dict[Place, Gains] = defaultdict(lambda: defaultdict(dict))
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            names = [row[name] for name in ("profile", "source", "sweep", "order")]
            place = Place(*names, int(row["streams"]), float(row["x"]))
            found[place][row["scheduler"]][int(row["seed"])] = float(row["gain"])
            if row["upper_bound"]:
                found[place]["bound"][int(row["seed"])] = float(row["upper_bound"])
    return found


def mean(gains: dict[int, float]) -> float:
    return float(np.mean(list(gains.values())))


def main() -> None:
    points = study_runs()
    matched = sum(mean(g[OURS]) >= NEARLY * mean(g["rolling-horizon"]) for g in points.values())
    print(f"at least rolling-horizon, less a thousandth: {matched} of {len(points)} points")

    several = [g for place, g in points.items() if place.streams > 1 and "priced" in g]
    found = [interval(np.array([g[OURS][seed] - gain for seed, gain in g["priced"].items()])) for g in several]
    ratio = np.mean([mean(g[OURS]) / mean(g["priced"]) for g in several])
    better, worse = sum(i.low > 0 for i in found), sum(i.high < 0 for i in found)
    print(f"beside priced, {len(several)} points of several streams: better {better}, worse {worse}, ratio {ratio:.4f}")

    least: dict[tuple[str, str], float] = {}
    for place, g in points.items():
        if mean(g.get("mdp", {0: 0.0})) > 0:
            where = place.profile, place.sweep
            least[where] = min(least.get(where, np.inf), mean(g[OURS]) / mean(g["mdp"]))
    for (profile, sweep), share in least.items():
        print(f"least share of mdp: {profile:17}{sweep:14}{share:.2%}")

    for profile in PROFILES:
        for source in SOURCES:
            panels = defaultdict(list)
            for place, g in points.items():
                if (place.profile, place.source) == (profile, source) and place.streams > 1:
                    share = mean({seed: g[OURS][seed] / bound for seed, bound in g["bound"].items()})
                    panels[place.panel].append((share, mean(g[OURS]) / mean(g["greedy"]) - 1.0))
            shares, more = np.array([np.mean(values, axis=0) for values in panels.values()]).T
            print(
                f"several streams, {profile}, {source}: of the bound {shares.min():.1%} to {shares.max():.1%}, "
                f"95 % at {sum(shares >= 0.95)} of {len(shares)}; over Greedy {more.min():+.1%} to {more.max():+.1%}"
            )


if __name__ == "__main__":
    main()
