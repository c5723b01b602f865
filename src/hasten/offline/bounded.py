"""Plan and bound where the exact search does not fit: many streams, ready order, several workers, long horizons.

Dual prices of uplink and edge time (``offline.bound.decomposition``) prove a bound on every schedule; a beam search
under their guidance finds a plan (``offline.search.grant_beam``, ``offline.search.service_order_beam``,
``offline.search.ready_beam``), and local search improves it (``offline.search.local_search``). In ready order the bound
is then tightened (``offline.bound.service_order``). No answer falls short of what a simple rule decides online
(``offline.search.incumbent``). Long runs are cut into chunks of tasks: their bounds add up to a bound on the whole,
since starting each chunk with an empty system can only help, and their plans, one after the other, are a plan that the
simulator executes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.bound.decomposition import DualPrices, find_dual_prices
from hasten.offline.bound.grid import make_grid
from hasten.offline.bound.service_order import tightened
from hasten.offline.effort import WIDTHS, Effort, beam_width, local_search_work
from hasten.offline.instance import GAIN_STEPS, Instance, grant_like, instance_of
from hasten.offline.plan import PROVEN_GAP, Found
from hasten.offline.search.epochs import DecisionEpochs, decision_epochs
from hasten.offline.search.grant_beam import grant_beam
from hasten.offline.search.heuristic import Heuristic, discounted, heuristic_of
from hasten.offline.search.incumbent import incumbent
from hasten.offline.search.local_search import improve
from hasten.offline.search.ready_beam import ready_beam
from hasten.offline.search.recombination import recombined
from hasten.offline.search.service_order_beam import service_order_beam
from hasten.offline.time_limit import TimeLimit
from hasten.sim import Replayer

IntArray = NDArray[np.int64]


CELLS_PER_DEADLINE = (240, 1200)
PRICES_PER_DEADLINE = 400
MULTIPLIERS_PER_DEADLINE = 30
SERVICE_BLOCKS_PER_DEADLINE = 28
COARSENESS = 3
"""Cells of the coarse grid, on which most prices are found, are so many times as long."""
MOST_CELLS = 4000
"""No stream's deadline is cut into more cells than this."""
MOST_PRICES = 2.0e7
"""No more cells than this over all links."""
DISCOUNTS = (0.95, 1.0, 1.05)
"""In ready order there is one beam for each, and the best parts of their plans make one."""
BEAMS_AT_ONCE = 2
TASKS_PER_CHUNK = 25_000
PRICE_SHARE = 0.6
"""Share of a time limit that goes into prices; the rest is the plan's."""
BEAM_SHARE = 0.4
"""Share of the time left that the wide beam may be expected to take; the rest is the local search's."""
HOT, WARM = 0.08, 0.01
"""First temperature of the local search, as a share of the largest worth: for a poor plan, and for a good one."""
READY_SEARCH = 0.5
"""Share of the local search that is done in ready order, where following a task costs more."""
NARROW = 64
"""Fewer labels than this give a poor plan in ready order."""


def solve_bounded(
    scenario: Scenario,
    realization: Realization,
    limit: TimeLimit,
    option: IntArray | None = None,
    upper_bound: float = np.inf,
    effort: Effort | None = None,
) -> Found:
    """Find a plan and an upper bound for a realization of any topology and order.

    Args:
        scenario: what to plan for.
        realization: its arrivals and rates.
        limit: when to stop; the best plan and bound so far are returned, as also when it is cancelled.
        option: a plan (N,) that is known already, else the simple rule's.
        upper_bound: a bound on the mean gain that is known already.
        effort: how much work to spend where the limit leaves time.

    Returns:
        The plan (N,), its mean gain as the simulator executes it, an upper bound on any plan's mean gain, and the
        method's name.
    """
    tasks = realization.tasks
    best = incumbent(scenario, realization) if option is None else option
    if tasks == 0:
        return Found(best, 0.0, 0.0, "prices")
    replayer = Replayer(scenario, realization)
    best_gain = replayer.total_gain(best)
    chunks = -(-tasks // TASKS_PER_CHUNK)
    edges = np.linspace(0, tasks, chunks + 1).astype(int)
    plan, bound = best.copy(), 0.0
    for i in range(chunks):
        part = slice(edges[i], edges[i + 1])
        plan[part], part_bound = _solve_chunk(
            scenario, realization.part(part), limit.share(1.0 / (chunks - i)), effort or Effort(), best[part]
        )
        bound += part_bound
    gain = replayer.total_gain(plan)
    if gain > best_gain:
        best, best_gain = plan, gain
    return Found(best, best_gain / tasks, min(upper_bound, bound / tasks), "prices")


def cell_of(scenario: Scenario, realization: Realization, cells_per_deadline: float) -> float:
    """A cell that cuts the shortest deadline into about as many cells as asked, within memory."""
    shortest_ms, longest_ms = scenario.deadlines_ms.min(), scenario.deadlines_ms.max()
    span_ms = float(np.ptp(realization.arrival_ms)) + longest_ms
    return float(
        max(shortest_ms / cells_per_deadline, longest_ms / MOST_CELLS, span_ms * len(realization.rates) / MOST_PRICES)
    )


def _solve_chunk(
    scenario: Scenario, realization: Realization, limit: TimeLimit, effort: Effort, known: IntArray
) -> tuple[IntArray, float]:
    """A plan for the tasks of a chunk that gains no less than ``known``, and a bound on their total gain.

    Where ``known`` gains as much as all tasks would if each were alone, there is nothing to search for.
    """
    tasks = realization.tasks
    instance, column = instance_of(scenario, realization)
    start = _columns_among(column[instance.tasks.case], known)
    replayer = Replayer(scenario, realization)

    def in_full(chosen: IntArray) -> IntArray:
        return np.where(chosen == DROP, DROP, column[instance.tasks.case, np.maximum(chosen, 0)])

    rounding = tasks / GAIN_STEPS
    base_gain = scenario.gain.terms().late_gain * tasks
    bound = base_gain + float(instance.tasks.remaining[0]) + rounding
    enough = replayer.total_gain(known) + 0.5 * tasks * PROVEN_GAP
    if limit.expired or bound <= enough:
        return known, bound
    fine, coarse = relaxations(scenario, realization, effort)
    began_s = limit.spent_s
    prices = dual_prices(scenario, fine, coarse, limit, effort, enough)
    prices_took_s = limit.spent_s - began_s
    bound = min(bound, prices.bound)
    if limit.expired or bound <= enough:
        return known, bound
    chosen, most = planned(
        scenario, instance, coarse, prices, effort, limit, start, lambda plan: replayer.total_gain(in_full(plan))
    )
    bound = min(bound, base_gain + most + rounding)
    option = max(known, in_full(chosen), key=replayer.total_gain)
    gain = replayer.total_gain(option)
    if bound > gain + tasks * PROVEN_GAP and limit.left_s > prices_took_s:  # else multipliers would be of no use
        bound = min(bound, tightened_bound(scenario, realization, fine, prices, limit, effort))
    return option, bound


def _columns_among(columns: IntArray, option: IntArray) -> IntArray:
    """Where each task's ``option`` (N,) is among its ``columns`` (N, J); DROP where it is not."""
    found = columns == option[:, None]
    return np.where((option != DROP) & found.any(axis=1), found.argmax(axis=1), DROP)


def relaxations(
    scenario: Scenario, realization: Realization, effort: Effort, dominated: bool = False
) -> tuple[Relaxation, Relaxation]:
    """The relaxation on the grid that proves the bound, and on the coarse one on which most prices are found."""
    fineness = np.clip(effort.grid_work * (4000.0 / realization.tasks) ** 0.75, *CELLS_PER_DEADLINE)
    cell_ms = cell_of(scenario, realization, float(fineness))
    fine = Relaxation(make_grid(scenario, realization, cell_ms, COARSENESS, dominated))
    return fine, Relaxation(make_grid(scenario, realization, COARSENESS * cell_ms, 1, dominated))


def dual_prices(
    scenario: Scenario,
    fine: Relaxation,
    coarse: Relaxation,
    limit: TimeLimit,
    effort: Effort,
    enough: float = -np.inf,
) -> DualPrices:
    """Prices of the coarse grid to plan by, with the bound on the total gain that they prove, at best ``enough``."""
    tasks = len(fine.grid.order)
    deadline_ms = float(scenario.deadlines_ms.min())
    grant = grant_like(scenario)
    multipliers = grant and scenario.uplink.topology == "shared" and len(scenario.devices) > 1
    multiplier_ms = deadline_ms / MULTIPLIERS_PER_DEADLINE if multipliers else None
    rounds = max(1, min(effort.rounds, int((effort.grant_price_work if grant else effort.ready_price_work) / tasks)))
    if effort.rounds_of_service_order(scenario, fine) > 0 and np.isinf(limit.left_s):
        rounds = min(rounds, effort.rounds_before_service_order)
    block_ms, part = deadline_ms / PRICES_PER_DEADLINE, limit.share(PRICE_SHARE)
    return find_dual_prices(fine, rounds, block_ms, part, multiplier_ms, coarse, enough)


def tightened_bound(
    scenario: Scenario, realization: Realization, fine: Relaxation, prices: DualPrices, limit: TimeLimit, effort: Effort
) -> float:
    """The bound on the total gain, with multipliers of the service order where they apply."""
    rounds = effort.rounds_of_service_order(scenario, fine)
    if rounds == 0:
        return prices.bound
    finest, coarse = relaxations(scenario, realization, effort, dominated=True)
    deadline_ms = float(scenario.deadlines_ms.min())
    block_ms, service_block_ms = deadline_ms / PRICES_PER_DEADLINE, deadline_ms / SERVICE_BLOCKS_PER_DEADLINE
    return tightened(prices, finest, coarse, rounds, block_ms, service_block_ms, limit)


def planned(
    scenario: Scenario,
    instance: Instance,
    coarse: Relaxation,
    prices: DualPrices,
    effort: Effort,
    limit: TimeLimit,
    start: IntArray,
    gain: Callable[[IntArray], float],
) -> tuple[IntArray, float]:
    """A plan (N,) at the prices, and the gain above dropping everything that no plan exceeds, if that is known.

    ``gain`` says what a plan gains, ``start`` (N,) is a plan to fall back on.
    """
    heuristic = heuristic_of(prices, coarse.grid, prices.values(coarse))
    if grant_like(scenario):
        return _grant_plan(instance, heuristic, effort, limit)
    if instance.costs.links == 1:
        epochs = decision_epochs(instance, heuristic, coarse, prices)
        return _ready_plan(instance, heuristic, epochs, effort, limit, gain), np.inf
    return ready_beam(instance, heuristic, beam_width(effort.ready_labels, len(start)), limit, start), np.inf


def _grant_plan(instance: Instance, heuristic: Heuristic, effort: Effort, limit: TimeLimit) -> tuple[IntArray, float]:
    """A plan (N,) for grant order, and the gain above dropping everything that no plan exceeds."""
    tasks = len(instance.tasks.arrival_ms)
    width = beam_width(effort.grant_labels, tasks)
    plan, most = None, np.inf
    if np.isfinite(limit.left_s):  # a narrow beam first: it finds out how wide a beam there is time for
        start_s = limit.spent_s
        plan, most = grant_beam(instance, heuristic, WIDTHS[0], limit)
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = min(width, int(BEAM_SHARE * limit.left_s / seconds_per_label))
    if plan is None or (width > WIDTHS[0] and np.isinf(most)):
        plan, most = grant_beam(instance, heuristic, width, limit)
    if instance.costs.links == 1 and np.isinf(most):
        plan = improve(
            instance, plan, heuristic.usable, False, HOT, local_search_work(effort.search_work, tasks), limit
        )
    return plan, most


def _ready_plan(
    instance: Instance,
    heuristic: Heuristic,
    epochs: DecisionEpochs,
    effort: Effort,
    limit: TimeLimit,
    gain: Callable[[IntArray], float],
) -> IntArray:
    """A plan (N,) for ready order on a shared uplink; ``gain`` says what a plan gains."""
    tasks, streams = len(instance.tasks.arrival_ms), instance.costs.streams
    width, plans = beam_width(effort.ready_labels / len(DISCOUNTS), tasks), []
    if np.isfinite(limit.left_s):  # as in grant order
        start_s = limit.spent_s
        plans.append(service_order_beam(instance, heuristic, epochs, WIDTHS[0], limit))
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = min(width, int(BEAM_SHARE / len(DISCOUNTS) * limit.left_s / seconds_per_label))
    if not plans or width > WIDTHS[0]:
        with ThreadPoolExecutor(BEAMS_AT_ONCE) as pool:
            beams = [
                pool.submit(service_order_beam, instance, discounted(heuristic, by), epochs, width, limit)
                for by in DISCOUNTS
            ]
            plans += [beam.result() for beam in beams]
    plan = recombined(plans, streams, gain, limit)
    hot = HOT if width < NARROW else WARM
    return improve(
        instance, plan, heuristic.usable, True, hot, local_search_work(READY_SEARCH * effort.search_work, tasks), limit
    )
