"""Plan and bound where the exact search does not fit: many streams, ready order, several workers, long horizons.

Prices of uplink and edge time (``offline.decomposition``) prove a bound on every schedule; a beam search under their
guidance finds a plan (``offline.guided_beam``, ``offline.ready_beam``). In ready order, where a partial plan is hard to
judge, local search improves it (``offline.local_search``). Long runs are cut into chunks of tasks: their bounds add up
to a bound on the whole, since starting each chunk with an empty system can only help, and their plans, one after the
other, are a plan that the simulator executes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.offline.bounds import Relaxation
from hasten.offline.decomposition import find_prices
from hasten.offline.grid import make_grid
from hasten.offline.guide import Guide, guide_of
from hasten.offline.guided_beam import guided_beam
from hasten.offline.instance import GAIN_STEPS, Instance, instance_of
from hasten.offline.local_search import improve
from hasten.offline.plan import TimeLimit, all_dropped
from hasten.offline.ready_beam import ready_beam
from hasten.sim import Replayer

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How much work to spend on a chunk; the defaults take less than a minute of one core."""

    rounds: int = 240
    """Most rounds of price improvement."""
    grant_price_work: float = 4.5e6
    """Rounds times tasks in grant order: the number of rounds for many tasks."""
    ready_price_work: float = 3.0e6
    """The same in ready order, where the local search needs the time."""
    grid_work: float = 200.0
    """Cells per deadline for up to 4,000 tasks; fewer, by the square root, for more."""
    grant_labels: float = 2.4e6
    """Labels times tasks of the beam in grant order; with a time limit it is as wide as there is time for instead."""
    ready_labels: float = 6.4e4
    """The same in ready order, where a label costs more."""
    search_work: float = 6.0e10
    """Tasks that the local search follows in ready order, times the square root of their number: caches are small."""
    search_work_per_task: int = 400_000
    """It follows no more than this for each task."""


WIDTHS = (16, 1000)
"""Fewest and most labels of the beam."""
CELLS_PER_DEADLINE = (80, 400)
PRICES_PER_DEADLINE = 150
TOLLS_PER_DEADLINE = 30
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
    fineness = np.clip(effort.grid_work * np.sqrt(4000.0 / tasks), *CELLS_PER_DEADLINE)
    cell_ms = cell_of(scenario, realization, float(fineness))
    relaxation = Relaxation(make_grid(scenario, realization, cell_ms))
    deadline_ms = float(scenario.deadlines_ms.min())
    shared, several = scenario.uplink.topology == "shared", len(scenario.devices) > 1
    ready = scenario.uplink.order == "ready" and several
    toll_ms = deadline_ms / TOLLS_PER_DEADLINE if shared and several and not ready else None
    price_work = effort.ready_price_work if ready else effort.grant_price_work
    rounds = max(1, min(effort.rounds, int(price_work / tasks)))
    prices = find_prices(relaxation, rounds, deadline_ms / PRICES_PER_DEADLINE, limit.share(PRICE_SHARE), toll_ms)
    if limit.expired:
        return known, prices.bound
    guide = guide_of(prices, relaxation.grid, prices.values(relaxation))
    instance, column = instance_of(scenario, realization)
    if ready:
        chosen, bound = _ready_plan(instance, guide, effort, shared, limit), prices.bound
    else:
        chosen, gain = _grant_plan(instance, guide, effort, limit)
        rounding = tasks / GAIN_STEPS
        bound = min(prices.bound, gain + relaxation.grid.base_gain + rounding)
    return np.where(chosen == DROP, DROP, column[realization.stream, np.maximum(chosen, 0)]), bound


def _grant_plan(instance: Instance, guide: Guide, effort: Effort, limit: TimeLimit) -> tuple[IntArray, float]:
    """A plan (N,) for grant order, and the gain above dropping everything that no plan exceeds."""
    tasks = len(instance.tasks.arrival_ms)
    width = int(np.clip(effort.grant_labels / tasks, *WIDTHS))
    if np.isfinite(limit.left_s):  # a narrow beam first: it finds out how wide a beam there is time for
        start_s = limit.spent_s
        plan = guided_beam(instance, guide, WIDTHS[0], limit)
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = min(width, int(BEAM_SHARE * limit.left_s / seconds_per_label))
        if width <= WIDTHS[0]:
            return plan
    return guided_beam(instance, guide, width, limit)


def _ready_plan(instance: Instance, guide: Guide, effort: Effort, shared: bool, limit: TimeLimit) -> IntArray:
    """A plan (N,) for ready order."""
    tasks = len(instance.tasks.arrival_ms)
    option = ready_beam(instance, guide, int(np.clip(effort.ready_labels / tasks, *WIDTHS)), limit)
    work = int(min(effort.search_work / np.sqrt(tasks), effort.search_work_per_task * tasks))
    return improve(instance, option, guide.usable, True, work, limit) if shared else option
