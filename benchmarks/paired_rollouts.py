"""What paired rollouts bring: policies for several streams trained with them, and as long with the timing law alone.

    python benchmarks/paired_rollouts.py [--updates N] [--seeds N] [--orders grant,ready]

Both study profiles, 2 to 8 streams, the ranges of the study; as many gradient steps for all, of which rollouts take
part in the second half, drawn uniformly (as by default) or by priority. Gains are those of the policies kept, on the
validation runs by which all were chosen; "least" is that of the load and number of streams where it is lowest, as a
share of Greedy's.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from hasten.core.scenario import scenario_from
from hasten.learn.api import train
from hasten.learn.domain import Domain
from hasten.study.training import PolicySpec

PROFILES = ("alexnet-pi", "efficientnet-b0")
VARIANTS: dict[str, dict[str, Any]] = {
    "no": {"rollouts_from": 1.0},
    "yes": {},
    "by priority": {"rollouts_replay": "prioritized"},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=24_000, help="gradient steps")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--orders", default="grant,ready")
    given = parser.parse_args()
    heads = ("order", "rollouts", "seed", "greedy", "gain", "over greedy", "least", "of a plan", "s")
    print(f"{'profile':17}" + "".join(f"{head:>12}" for head in heads))
    for profile in PROFILES:
        for order in given.orders.split(","):
            spec = PolicySpec(profile, True, order)
            ranges: dict[str, Any] = {name: tuple(values) for name, values in spec.domain.items()}
            for seed in range(given.seeds):
                for label, settings in VARIANTS.items():
                    started = time.perf_counter()
                    policy = train(
                        scenario_from(spec.scenario, "benchmark"),
                        domain=Domain(**ranges),
                        seed=seed,
                        updates=given.updates,
                        **settings,
                    )
                    score, spent_s = policy.training.best.score, time.perf_counter() - started
                    more = score.gain / score.greedy - 1.0
                    numbers = (
                        f"{score.greedy:12.4f}{score.gain:12.4f}{more:12.2%}{score.worst:12.3f}{score.share:12.2%}"
                    )
                    print(f"{profile:17}{order:>12}{label:>12}{seed:12d}{numbers}{spent_s:12.0f}", flush=True)


if __name__ == "__main__":
    main()
