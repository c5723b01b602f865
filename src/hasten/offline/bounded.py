"""Plan and bound where the exact search does not fit: many streams, ready order, several workers, long horizons.

Prices of uplink and edge time (``offline.decomposition``) prove a bound on every schedule; a beam search under their
guidance (``offline.bounded_beam``) finds a plan. Long runs are cut into chunks of tasks: their bounds add up to a
bound on the whole, since starting each chunk with an empty system can only help, and their plans, one after the
other, are a plan that the simulator executes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.scenario import Realization, Scenario
from hasten.offline.bounded_beam import beam_plan
from hasten.offline.bounds import Relaxation, make_grid
from hasten.offline.decomposition import find_prices
from hasten.offline.plan import TimeLimit, all_dropped
from hasten.sim import Replayer

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How much work to spend on a chunk; the defaults take well under a minute for 10,000 tasks."""

    rounds: int = 120
    """Rounds of price improvement."""
    block_cells: int = 8
    """Cells of one price."""
    grid_work: float = 8.0e2
    """Cells per deadline for up to 2,000 tasks; fewer, by the square root, for more."""
    grant_labels: float = 3.0e6
    """Labels times tasks of the beam in grant order; with a time limit it is as wide as there is time for instead."""
    ready_labels: float = 8.0e5
    """The same in ready order, where a label costs more."""


WIDTHS = (16, 2000)
"""Fewest and most labels of the beam."""
CELLS_PER_DEADLINE = (200, 800)
MOST_CELLS = 4000
"""No stream's deadline is cut into more cells than this."""
MOST_PRICES = 2.0e7
"""No more cells than this over all links."""
TASKS_PER_CHUNK = 25_000
PRICE_SHARE = 0.6
"""Share of a time limit that goes into prices; the rest is the plan's."""
BEAM_SHARE = 0.8
"""Share of the time left that the wide beam may be expected to take."""


def solve_bounded(
    scenario: Scenario,
    realization: Realization,
    limit: TimeLimit,
    option: IntArray | None = None,
    upper_bound: float = np.inf,
    effort: Effort | None = None,
) -> tuple[IntArray, float, float, str]:
    """Find a plan and an upper bound for a realization of any topology and order.

    Args:
        scenario: what to plan for.
        realization: its arrivals and rates.
        limit: when to stop; the best plan and bound so far are returned, as also on Ctrl-C.
        option: a plan (N,) that is known already, if any.
        upper_bound: a bound on the mean gain that is known already.
        effort: how much work to spend where the limit leaves time.

    Returns:
        The plan (N,), its mean gain as the simulator executes it, an upper bound on any plan's mean gain, and the
        method's name.
    """
    tasks = realization.tasks
    best = all_dropped(tasks) if option is None else option
    if tasks == 0:
        return best, 0.0, 0.0, "prices"
    replayer = Replayer(scenario, realization)
    best_gain = replayer.total_gain(best)
    chunks = -(-tasks // TASKS_PER_CHUNK)
    edges = np.linspace(0, tasks, chunks + 1).astype(int)
    plan, bound = best.copy(), 0.0
    for i in range(chunks):
        part = slice(edges[i], edges[i + 1])
        plan[part], part_bound = _solve_chunk(
            scenario, _part_of(realization, part), limit.share(1.0 / (chunks - i)), effort or Effort(), best[part]
        )
        bound += part_bound
    gain = replayer.total_gain(plan)
    if gain > best_gain:
        best, best_gain = plan, gain
    return best, best_gain / tasks, min(upper_bound, bound / tasks), "prices"


def cell_of(scenario: Scenario, realization: Realization, cells_per_deadline: float) -> float:
    """A cell that cuts the shortest deadline into about as many cells as asked, within memory."""
    shortest_ms, longest_ms = scenario.deadlines_ms.min(), scenario.deadlines_ms.max()
    span_ms = float(np.ptp(realization.arrival_ms)) + longest_ms
    return float(
        max(shortest_ms / cells_per_deadline, longest_ms / MOST_CELLS, span_ms * len(realization.rates) / MOST_PRICES)
    )


def _part_of(realization: Realization, part: slice) -> Realization:
    """Some consecutive tasks of a realization, at their own times."""
    return replace(
        realization,
        arrival_ms=realization.arrival_ms[part],
        stream=realization.stream[part],
        rate_factor=realization.rate_factor[part],
    )


def _solve_chunk(
    scenario: Scenario, realization: Realization, limit: TimeLimit, effort: Effort, known: IntArray
) -> tuple[IntArray, float]:
    """A plan for the tasks of a chunk and a bound on their total gain."""
    tasks = realization.tasks
    fineness = np.clip(effort.grid_work * np.sqrt(2000.0 / tasks), *CELLS_PER_DEADLINE)
    relaxation = Relaxation(make_grid(scenario, realization, cell_of(scenario, realization, float(fineness))))
    block_ms = effort.block_cells * relaxation.grid.cell_ms
    prices = find_prices(relaxation, effort.rounds, block_ms, limit.share(PRICE_SHARE))
    if limit.expired:
        return known, prices.bound
    labels = effort.ready_labels if scenario.uplink.order == "ready" else effort.grant_labels
    width = int(np.clip(labels / tasks, *WIDTHS))
    values = prices.values(relaxation)
    plan = None
    if np.isfinite(limit.left_s):  # a narrow beam first: it finds out how wide a beam there is time for
        start_s = limit.spent_s
        plan = beam_plan(scenario, realization, prices, relaxation.grid, values, WIDTHS[0], limit)
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = int(min(WIDTHS[1], BEAM_SHARE * limit.left_s / seconds_per_label))
        if width <= WIDTHS[0]:
            return plan.option, min(prices.bound, plan.bound)
    wide = beam_plan(scenario, realization, prices, relaxation.grid, values, width, limit)
    option = wide.option if plan is None or not limit.expired else plan.option
    return option, min(prices.bound, wide.bound)
