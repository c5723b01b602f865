"""A scheduler of your own: the most accurate option that is predicted to leave a share of the deadline unused.

`python examples/own_scheduler.py` compares it with Greedy. As part of a package it is found by name, as in
`hasten simulate SCENARIO.yaml --schedulers greedy,cautious:0.2`, once that package's pyproject.toml says

    [project.entry-points."hasten.schedulers"]
    cautious = "own_scheduler:Cautious"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hasten as hs


class Cautious:
    """Made with what follows the colon of its name: the share of the deadline to leave unused."""

    def __init__(self, argument: str = "") -> None:
        self.name = f"cautious:{argument}"
        self.spare = float(argument or 0.1)

    def reset(self, context: hs.Context) -> None:
        """A run begins: keep what is fixed in it."""
        self.context = context

    def decide(self, view: hs.View) -> hs.Decision:
        """An option, a column of ``context.options``, for each of B decisions; or DROP."""
        latency_ms = hs.predicted_latency(self.context, view)  # (B, J)
        limit_ms = (1.0 - self.spare) * self.context.deadline_ms[view.stream]
        worth = np.where(latency_ms <= limit_ms[:, None], self.context.options.worth[view.stream], -np.inf)
        return hs.Decision(np.where(worth.max(axis=1) > -np.inf, worth.argmax(axis=1), hs.DROP))


if __name__ == "__main__":
    scenario = hs.load_scenario(Path(__file__).with_name("three-cameras.yaml"))
    for scheduler in ("greedy", Cautious("0.2")):
        result = hs.simulate(scenario, scheduler, seed=0)
        print(f"{result.scheduler:14}{result.on_time_accuracy:.3f} on-time accuracy")
