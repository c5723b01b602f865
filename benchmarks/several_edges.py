"""What a choice among edges brings to devices that move between two, on the same tasks and links.

``examples/two-edges.yaml``, simulated: greedy that chooses (exit, partition, edge) at every task, greedy with each edge
alone, greedy that stays with an edge until its link is lost, and takes the best one then, and a trained policy where
one is given. Means over seeds; the differences to the choice at every task in points, with their standard errors over
seeds; and what no scheduler exceeds.

    python benchmarks/several_edges.py [--seeds N] [--bounds N] [--policy FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import hasten as hs
from hasten.core.decision import Context, Decision, EdgeChoosing, View
from hasten.core.expected_gain import ExpectedGain
from hasten.core.options import DROP

EXAMPLE = Path(__file__).parent.parent / "examples" / "two-edges.yaml"
SECONDS = 20.0
"""Time limit of each bound."""


class Sticky(EdgeChoosing):
    """Greedy among local options and those at one edge, which a device leaves when its link is lost."""

    name = "greedy, another edge only when one is lost"

    def reset(self, context: Context) -> None:
        """Every device begins with the edge of the best link."""
        table = context.options
        self._rules = []
        for edge in range(int(table.edge.max()) + 1):
            usable = (table.device_ms < np.inf) & ((table.payload_bits == 0) | (table.edge == edge))
            part, column = table.columns([np.flatnonzero(row).tolist() for row in usable])
            self._rules.append(ExpectedGain(context, part, column))
        self._edge = np.full((context.batch, len(context.deadline_ms)), DROP)

    def decide(self, view: View) -> Decision:
        """What greedy decides with the device's edge alone."""
        rates = np.stack([view.rate_bits_per_ms, *(edge.rate_bits_per_ms for edge in view.further_edges)])
        now = self._edge[view.row, view.stream]
        lost = (now == DROP) | (rates[np.maximum(now, 0), np.arange(len(now))] <= 0.0)
        now = np.where(lost, rates.argmax(axis=0), now)
        self._edge[view.row, view.stream] = now
        decided = np.stack([rule.decide(view).option for rule in self._rules])
        return Decision(decided[now, np.arange(len(now))])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--bounds", type=int, default=10, help="seeds of which a bound is found")
    parser.add_argument("--policy", help="what `hasten train` made of the example")
    options = parser.parse_args()
    scenario, seeds = hs.load_scenario(EXAMPLE), range(options.seeds)
    data = scenario.model_dump(by_alias=True)
    runs = {"greedy among both edges": hs.simulate_batch(scenario, "greedy", seeds)}
    runs[Sticky.name] = hs.simulate_batch(scenario, Sticky(), seeds)
    for entry in data["edges"]:
        alone = hs.scenario_from(data | {"edges": [entry]}, EXAMPLE)
        runs[f"greedy, {entry['name']} alone"] = hs.simulate_batch(alone, "greedy", seeds)
    if options.policy:
        runs["a trained policy among both edges"] = hs.simulate_batch(scenario, f"policy:{options.policy}", seeds)
    runs["device-only:deepest"] = hs.simulate_batch(scenario, "device-only:deepest", seeds)
    best = np.array([run.on_time_accuracy for run in runs["greedy among both edges"]])
    print(f"{scenario.name}, {options.seeds} seeds of {runs['greedy among both edges'][0].tasks} tasks")
    print(f"{'':45}{'on-time accuracy':>18}{'points behind':>16}{'on time':>10}  sent to")
    for name, of in runs.items():
        mean = np.array([run.on_time_accuracy for run in of])
        behind = 100.0 * (best - mean)
        error = behind.std(ddof=1) / np.sqrt(len(behind)) if len(behind) > 1 else 0.0
        shares = {edge: np.mean([run.edge_share[edge] for run in of]) for edge in of[0].edge_share}
        told = ", ".join(f"{edge} {share:.0%}" for edge, share in shares.items())
        on_time = np.mean([run.on_time.mean() for run in of])
        print(f"{name:45}{mean.mean():18.4f}{behind.mean():10.2f} ± {error:.2f}{on_time:10.1%}  {told}")
    plans = [hs.solve_offline(scenario, seed, time_limit_s=SECONDS) for seed in seeds[: options.bounds]]
    if plans:
        gain, bound = (np.mean([getattr(plan, what) for plan in plans]) for what in ("gain", "upper_bound"))
        print(f"{f'known arrivals: plan, {len(plans)} seeds':45}{gain:18.4f}")
        print(f"{f'no scheduler more than, {len(plans)} seeds':45}{bound:18.4f}")


if __name__ == "__main__":
    main()
