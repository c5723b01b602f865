"""Plan and bound where devices choose among several edges.

The bound is that of ``offline.bound.stages``, its prices found by subgradients. The plan begins with what the simple
rule decides online; then decisions are changed one at a time, to what their task buys at the prices or to any other
option, and a change that gains, as the simulator replays the whole, stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.offline.bound.descent import Descent, share_done
from hasten.offline.bound.stages import NOT_YET, Market, bound_at, make_market
from hasten.offline.plan import Found
from hasten.offline.search.incumbent import incumbent
from hasten.offline.time_limit import TimeLimit
from hasten.sim import Replayer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CELLS_PER_DEADLINE = 160
MOST_CELLS = 4_000
"""Of the time in which an answer of the longest deadline is worth something."""
CELLS_PER_BLOCK = 4
"""A price holds for so many cells."""
MOST_PRICES = 2.0e7
"""No more cells than this over all resources."""
ROUNDS = 150
FIRST_STEP, SHRINKAGE = 0.6, 50.0
"""First step of a price, as a share of the largest worth per deadline, and by how much the last one is smaller."""
ROUNDS_PER_AVERAGE = 10
PRICE_SHARE = 0.7
"""Share of a time limit that goes into prices; the rest is the plan's."""
REPLAYED_TASKS = 8.0e6
"""So many tasks in all are replayed to improve a plan."""
MOST_CHANGES = 20_000


def warm_up(scenario: Scenario, realization: Realization) -> None:
    """Compile everything, on two tasks."""
    few = realization.part(slice(0, 2))
    at_once = incumbent(scenario, few)
    market = make_market(scenario, few, cell_of(scenario, few))
    price = Descent(np.zeros((len(market.capacity), 1)), 1e-9)
    price.step(np.zeros(price.now.shape), 0.0)
    bound_at(market, spread(np.zeros((len(market.capacity), -(-market.cells // CELLS_PER_BLOCK))), market))
    Replayer(scenario, few).total_gain(at_once)


def solve_several_edges(scenario: Scenario, realization: Realization, limit: TimeLimit, at_once: IntArray) -> Found:
    """A plan (N,) no worse than ``at_once``, its mean gain, and an upper bound on any plan's, where there are tasks."""
    tasks = realization.tasks
    bound, wanted = prices_bound(scenario, realization, limit.share(PRICE_SHARE))
    plan, gain = improved(scenario, realization, at_once, wanted, limit)
    return Found(plan, gain / tasks, bound / tasks, "prices")


def cell_of(scenario: Scenario, realization: Realization) -> float:
    """The length of a cell, in ms: a share of the shortest deadline, within memory."""
    shortest_ms, longest_ms = float(scenario.deadlines_ms.min()), float(scenario.deadlines_ms.max())
    resources = len(scenario.devices) + len(realization.rates) + len(scenario.every_edge)
    span_ms = float(np.ptp(realization.arrival_ms)) + 2.0 * longest_ms
    useful_ms = longest_ms * (1.0 + scenario.gain.terms().fade)
    return max(shortest_ms / CELLS_PER_DEADLINE, useful_ms / MOST_CELLS, span_ms * resources / MOST_PRICES)


def prices_bound(scenario: Scenario, realization: Realization, limit: TimeLimit) -> tuple[float, IntArray]:
    """The best bound on the total gain that prices prove, and what each task (N,) buys at the last ones, or DROP."""
    market = make_market(scenario, realization, cell_of(scenario, realization))
    blocks = -(-market.cells // CELLS_PER_BLOCK)
    price = Descent(np.zeros((len(market.capacity), blocks)), 1e-9)
    worth = float(np.max(market.worth, initial=0.0, where=market.usable))
    first_step = FIRST_STEP * worth / float(market.deadline_ms.mean())
    wanted = np.full(realization.tasks, DROP)
    best, done, finished, since_s = np.inf, 0.0, 0, limit.spent_s
    while finished < ROUNDS and (finished == 0 or not limit.expired):
        bound, bought = bound_at(market, spread(price.now, market), limit)
        best, wanted = min(best, bound), np.where(bought.option == NOT_YET, wanted, bought.option)
        finished += 1
        done = share_done(finished, ROUNDS, limit, since_s)
        price.step(beyond_capacity(bought.use, market, blocks), first_step * SHRINKAGE**-done)
        if finished % ROUNDS_PER_AVERAGE == 0:
            best = min(best, bound_at(market, spread(price.mean, market), limit)[0])
    return best, wanted


def spread(price: FloatArray, market: Market) -> FloatArray:
    """From prices per ms of blocks (R, blocks) to those of cells (R, T)."""
    return market.cell_ms * np.repeat(price, CELLS_PER_BLOCK, axis=1)[:, : market.cells]


def beyond_capacity(use: FloatArray, market: Market, blocks: int) -> FloatArray:
    """(R, blocks): time bought of each block beyond what there is, in ms; ``use`` (R, T + 3) as differences."""
    held = np.cumsum(use, axis=1)[:, : market.cells] - market.capacity[:, None]
    padded = np.zeros((len(use), blocks * CELLS_PER_BLOCK))
    padded[:, : market.cells] = held
    return np.asarray(market.cell_ms * padded.reshape(len(use), blocks, CELLS_PER_BLOCK).sum(axis=2))


def improved(
    scenario: Scenario, realization: Realization, plan: IntArray, wanted: IntArray, limit: TimeLimit
) -> tuple[IntArray, float]:
    """A plan (N,) no worse than ``plan``, and its total gain; the ``wanted`` (N,) options are tried first."""
    replayer = Replayer(scenario, realization)
    gain = replayer.total_gain(plan)
    count = scenario.options.count[realization.stream]
    rng = np.random.default_rng(0)
    changes = int(min(REPLAYED_TASKS / realization.tasks, MOST_CHANGES))
    order = np.concatenate([rng.permutation(realization.tasks), rng.integers(realization.tasks, size=changes)])[
        :changes
    ]
    for number, k in enumerate(order):
        if limit.expired:
            break
        other = wanted[k] if number < realization.tasks else int(rng.integers(DROP, count[k]))
        changed = plan.copy()
        changed[k] = other
        if other != plan[k] and (found := replayer.total_gain(changed)) > gain:
            plan, gain = changed, found
    return plan, gain
