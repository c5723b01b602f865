"""Plan and bound where the exact search does not fit: many streams, ready order, several workers, long horizons.

Prices of uplink and edge time (``offline.bound.decomposition``) prove a bound on every schedule; a beam search under
their guidance finds a plan (``offline.search.guided_beam``, ``offline.search.turn_beam``,
``offline.search.ready_beam``), and local search improves it (``offline.search.local_search``). In ready order the bound
is then tightened (``offline.bound.turns``). No answer falls short of what a simple rule decides online
(``offline.search.incumbent``). Long runs are cut into chunks of tasks: their bounds add up to a bound on the whole,
since starting each chunk with an empty system can only help, and their plans, one after the other, are a plan that the
simulator executes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.bound.decomposition import Prices, find_prices
from hasten.offline.bound.grid import make_grid
from hasten.offline.bound.turns import tightened
from hasten.offline.instance import GAIN_STEPS, Instance, grant_like, instance_of, part_of
from hasten.offline.limits import TimeLimit
from hasten.offline.plan import PROVEN_GAP
from hasten.offline.search.guide import Guide, discounted, guide_of
from hasten.offline.search.guided_beam import guided_beam
from hasten.offline.search.incumbent import incumbent
from hasten.offline.search.local_search import improve
from hasten.offline.search.ready_beam import ready_beam
from hasten.offline.search.splice import spliced
from hasten.offline.search.turn_beam import Moments, moments_of, turn_beam
from hasten.sim import Replayer

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How much work to spend on a chunk; the defaults take less than a minute of two cores."""

    rounds: int = 540
    """Most rounds of price improvement."""
    grant_price_work: float = 5.0e6
    """Rounds times tasks in grant order: the number of rounds for many tasks."""
    ready_price_work: float = 4.5e6
    """The same in ready order, where the beams need the time."""
    turn_work: float = 1.6e6
    """Rounds times tasks of the tolls for overtaking in ready order."""
    turn_rounds: tuple[int, int] = (200, 400)
    """Fewest and most rounds of these tolls; where there is not even work for the fewest, there are none."""
    rounds_before_turns: int = 150
    """Where there are tolls for overtaking, no more rounds than this go before them, unless there is a time limit."""
    grid_work: float = 1200.0
    """Cells per deadline of the fine grid for up to 4,000 tasks; fewer, by the power of 3/4, for more."""
    grant_labels: float = 2.4e6
    """Labels times tasks of the beam in grant order; with a time limit it is as wide as there is time for instead."""
    ready_labels: float = 1.6e6
    """The same in ready order."""
    search_work: float = 1.6e8
    """Tasks that the local search follows."""

    def rounds_of_turns(self, scenario: Scenario, relaxation: Relaxation) -> int:
        """Rounds of tolls for overtaking; none where there is no common queue, or not enough work for them."""
        apply = not grant_like(scenario) and relaxation.grid.links == 1 and relaxation.stays_kept
        fewest, most = self.turn_rounds
        rounds = int(min(self.turn_work / len(relaxation.grid.order), most))
        return rounds if apply and rounds >= fewest else 0


WIDTHS = (16, 1000)
"""Fewest and most labels of the beam."""
CELLS_PER_DEADLINE = (240, 1200)
PRICES_PER_DEADLINE = 400
TOLLS_PER_DEADLINE = 30
TURNS_PER_DEADLINE = 28
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
SEARCH_WORK_PER_TASK = 400_000
"""The local search follows no more than this for each task."""


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
        return best, 0.0, 0.0, "prices"
    replayer = Replayer(scenario, realization)
    best_gain = replayer.total_gain(best)
    chunks = -(-tasks // TASKS_PER_CHUNK)
    edges = np.linspace(0, tasks, chunks + 1).astype(int)
    plan, bound = best.copy(), 0.0
    for i in range(chunks):
        part = slice(edges[i], edges[i + 1])
        plan[part], part_bound = _solve_chunk(
            scenario, part_of(realization, part), limit.share(1.0 / (chunks - i)), effort or Effort(), best[part]
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


def _solve_chunk(
    scenario: Scenario, realization: Realization, limit: TimeLimit, effort: Effort, known: IntArray
) -> tuple[IntArray, float]:
    """A plan for the tasks of a chunk that gains no less than ``known``, and a bound on their total gain.

    Where ``known`` gains as much as all tasks would if each were alone, there is nothing to search for.
    """
    tasks = realization.tasks
    instance, column = instance_of(scenario, realization)
    start = _columns_among(column[realization.stream], known)
    replayer = Replayer(scenario, realization)

    def in_full(chosen: IntArray) -> IntArray:
        return np.where(chosen == DROP, DROP, column[realization.stream, np.maximum(chosen, 0)])

    rounding = tasks / GAIN_STEPS
    base_gain = scenario.gain.terms().late_gain * tasks
    bound = base_gain + float(instance.tasks.remaining[0]) + rounding
    enough = replayer.total_gain(known) + 0.5 * tasks * PROVEN_GAP
    if limit.expired or bound <= enough:
        return known, bound
    fine, coarse = relaxations(scenario, realization, effort)
    began_s = limit.spent_s
    prices = priced(scenario, fine, coarse, limit, effort, enough)
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
    if bound > gain + tasks * PROVEN_GAP and limit.left_s > prices_took_s:  # else tolls would not get anywhere
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


def priced(
    scenario: Scenario,
    fine: Relaxation,
    coarse: Relaxation,
    limit: TimeLimit,
    effort: Effort,
    enough: float = -np.inf,
) -> Prices:
    """Prices of the coarse grid to plan by, with the bound on the total gain that they prove, at best ``enough``."""
    tasks = len(fine.grid.order)
    deadline_ms = float(scenario.deadlines_ms.min())
    grant = grant_like(scenario)
    tolls = grant and scenario.uplink.topology == "shared" and len(scenario.devices) > 1
    toll_ms = deadline_ms / TOLLS_PER_DEADLINE if tolls else None
    rounds = max(1, min(effort.rounds, int((effort.grant_price_work if grant else effort.ready_price_work) / tasks)))
    if effort.rounds_of_turns(scenario, fine) > 0 and np.isinf(limit.left_s):
        rounds = min(rounds, effort.rounds_before_turns)
    block_ms, part = deadline_ms / PRICES_PER_DEADLINE, limit.share(PRICE_SHARE)
    return find_prices(fine, rounds, block_ms, part, toll_ms, coarse, enough)


def tightened_bound(
    scenario: Scenario, realization: Realization, fine: Relaxation, prices: Prices, limit: TimeLimit, effort: Effort
) -> float:
    """The bound on the total gain, with tolls for overtaking where they apply: to be ready later may then pay."""
    rounds = effort.rounds_of_turns(scenario, fine)
    if rounds == 0:
        return prices.bound
    finest, coarse = relaxations(scenario, realization, effort, dominated=True)
    deadline_ms = float(scenario.deadlines_ms.min())
    block_ms, turn_ms = deadline_ms / PRICES_PER_DEADLINE, deadline_ms / TURNS_PER_DEADLINE
    return tightened(prices, finest, coarse, rounds, block_ms, turn_ms, limit)


def planned(
    scenario: Scenario,
    instance: Instance,
    coarse: Relaxation,
    prices: Prices,
    effort: Effort,
    limit: TimeLimit,
    start: IntArray,
    gain: Callable[[IntArray], float],
) -> tuple[IntArray, float]:
    """A plan (N,) at the prices, and the gain above dropping everything that no plan exceeds, if that is known.

    ``gain`` says what a plan gains, ``start`` (N,) is a plan to fall back on.
    """
    guide = guide_of(prices, coarse.grid, prices.values(coarse))
    if grant_like(scenario):
        return _grant_plan(instance, guide, effort, limit)
    if instance.costs.links == 1:
        moments = moments_of(instance, guide, coarse, prices)
        return _ready_plan(instance, guide, moments, effort, limit, gain), np.inf
    return ready_beam(instance, guide, _width(effort.ready_labels, len(start)), limit, start), np.inf


def _grant_plan(instance: Instance, guide: Guide, effort: Effort, limit: TimeLimit) -> tuple[IntArray, float]:
    """A plan (N,) for grant order, and the gain above dropping everything that no plan exceeds."""
    tasks = len(instance.tasks.arrival_ms)
    width = _width(effort.grant_labels, tasks)
    plan, most = None, np.inf
    if np.isfinite(limit.left_s):  # a narrow beam first: it finds out how wide a beam there is time for
        start_s = limit.spent_s
        plan, most = guided_beam(instance, guide, WIDTHS[0], limit)
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = min(width, int(BEAM_SHARE * limit.left_s / seconds_per_label))
    if plan is None or (width > WIDTHS[0] and np.isinf(most)):
        plan, most = guided_beam(instance, guide, width, limit)
    if instance.costs.links == 1 and np.isinf(most):
        plan = improve(instance, plan, guide.usable, False, HOT, _search_work(effort.search_work, tasks), limit)
    return plan, most


def _ready_plan(
    instance: Instance,
    guide: Guide,
    moments: Moments,
    effort: Effort,
    limit: TimeLimit,
    gain: Callable[[IntArray], float],
) -> IntArray:
    """A plan (N,) for ready order on a shared uplink; ``gain`` says what a plan gains."""
    tasks, streams = len(instance.tasks.arrival_ms), len(instance.costs.options)
    width, plans = _width(effort.ready_labels / len(DISCOUNTS), tasks), []
    if np.isfinite(limit.left_s):  # as in grant order
        start_s = limit.spent_s
        plans.append(turn_beam(instance, guide, moments, WIDTHS[0], limit))
        seconds_per_label = (limit.spent_s - start_s) / WIDTHS[0]
        width = min(width, int(BEAM_SHARE / len(DISCOUNTS) * limit.left_s / seconds_per_label))
    if not plans or width > WIDTHS[0]:
        with ThreadPoolExecutor(BEAMS_AT_ONCE) as pool:
            beams = [pool.submit(turn_beam, instance, discounted(guide, by), moments, width, limit) for by in DISCOUNTS]
            plans += [beam.result() for beam in beams]
    plan = spliced(plans, streams, gain, limit)
    hot = HOT if width < NARROW else WARM
    return improve(
        instance, plan, guide.usable, True, hot, _search_work(READY_SEARCH * effort.search_work, tasks), limit
    )


def _width(labels: float, tasks: int) -> int:
    """Labels of a beam."""
    return int(np.clip(labels / tasks, *WIDTHS))


def _search_work(search_work: float, tasks: int) -> int:
    """Tasks that the local search follows."""
    return int(min(search_work, SEARCH_WORK_PER_TASK * tasks))
