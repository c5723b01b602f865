"""How much work the bounded method may spend, and how it is shared out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hasten.core.scenario import Scenario
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.instance import grant_like

WIDTHS = (16, 1000)
"""Fewest and most labels of the beam."""
SEARCH_WORK_PER_TASK = 400_000
"""The local search follows no more than this for each task."""


@dataclass(frozen=True)
class Effort:
    """How much work to spend on a chunk; the defaults take less than a minute of two cores."""

    rounds: int = 540
    """Most rounds of price improvement."""
    grant_price_work: float = 5.0e6
    """Rounds times tasks in grant order: the number of rounds for many tasks."""
    ready_price_work: float = 4.5e6
    """The same in ready order, where the beams need the time."""
    service_order_work: float = 1.6e6
    """Rounds times tasks of the ordering multipliers in ready order."""
    service_order_rounds: tuple[int, int] = (200, 400)
    """Fewest and most rounds of these multipliers; where there is not even work for the fewest, there are none."""
    rounds_before_service_order: int = 150
    """Where there are such multipliers, no more rounds than this go before them, unless there is a time limit."""
    grid_work: float = 1200.0
    """Cells per deadline of the fine grid for up to 4,000 tasks; fewer, by the power of 3/4, for more."""
    grant_labels: float = 2.4e6
    """Labels times tasks of the beam in grant order; with a time limit it is as wide as there is time for instead."""
    ready_labels: float = 1.6e6
    """The same in ready order."""
    search_work: float = 1.6e8
    """Tasks that the local search follows."""

    def rounds_of_service_order(self, scenario: Scenario, relaxation: Relaxation) -> int:
        """Rounds of ordering multipliers in ready order; none without a common queue or enough work for them.

        An edge that serves by deadline, or in batches, has no such order: its bound is that of the prices, which assume
        none.
        """
        apply = not grant_like(scenario) and relaxation.grid.links == 1 and relaxation.keeps_prices
        apply = apply and scenario.edge.queue == "fifo" and scenario.edge.batch == 1
        fewest, most = self.service_order_rounds
        rounds = int(min(self.service_order_work / len(relaxation.grid.order), most))
        return rounds if apply and rounds >= fewest else 0


def beam_width(labels: float, tasks: int) -> int:
    """Labels of a beam."""
    return int(np.clip(labels / tasks, *WIDTHS))


def local_search_work(search_work: float, tasks: int) -> int:
    """Tasks that the local search follows."""
    return int(min(search_work, SEARCH_WORK_PER_TASK * tasks))
