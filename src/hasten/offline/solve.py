"""``solve_offline``: the offline optimum of a scenario, exact where that fits, else a plan and a bound.

The exact label-setting search holds for grant order with any topology, workers and rates, and for a single stream
in every order (all coincide). Under ready order with several streams a task that is sent earlier may overtake and
delay others, which breaks dominance: there the answer is a plan with a bound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.offline.exact import DEFAULT_MEMORY_MB, Search, beam_search, exact_search
from hasten.offline.incumbent import incumbent
from hasten.offline.instance import Instance, evaluate, grant_like, instance_of
from hasten.offline.plan import OfflinePlan, TimeLimit, all_dropped, make_plan
from hasten.sim import Replayer

IntArray = NDArray[np.int64]

BEAM_WIDTH = 128
"""Labels of the beam search whose plan the exact search has to beat."""
BACKLOG_SHARE = 0.4
"""For the beam a backlog as long as a deadline weighs this share of what a task can gain."""
EXACT_SHARE = 0.5
"""Share of a time limit that the exact search may use before the bounded method takes over."""

WHY_STOPPED = {
    "memory": "the exact search would exceed its memory limit",
    "time": "the exact search would exceed its time limit",
    "interrupted": "interrupted",
}


def solve_offline(
    scenario: Scenario,
    seed: int = 0,
    time_limit_s: float | None = None,
    memory_limit_mb: float = DEFAULT_MEMORY_MB,
) -> OfflinePlan:
    """The best plan for one realization of ``scenario``, with an upper bound on what any scheduler can gain on it.

    Args:
        scenario: what to plan for.
        seed: which realization.
        time_limit_s: after about this time the best plan and bound so far are returned, as also on Ctrl-C.
        memory_limit_mb: what the exact search may use; beyond it the bounded method takes over and
            ``reason`` says so.

    Returns:
        A plan that the simulator replays to exactly its ``gain``. ``optimal`` only where that is proven.
    """
    limit = TimeLimit(time_limit_s)
    realization = scenario.realize(seed)
    instance, column = instance_of(scenario, realization)
    nothing = why_nothing(scenario, instance)
    if nothing:
        late_gain = scenario.gain.terms()[1]
        gain = late_gain if realization.tasks else 0.0
        return make_plan(
            scenario, realization, all_dropped(realization.tasks), gain, gain, "exact", limit.spent_s, nothing
        )
    if grant_like(scenario):
        return _solve_grant(scenario, realization, instance, column, limit, memory_limit_mb)
    why = "ready order with several streams is only bounded"
    return _solve_bounded(scenario, realization, limit, None, np.inf, why)


def why_nothing(scenario: Scenario, instance: Instance) -> str:
    """Why no task of a realization can gain anything; empty when some can."""
    if len(instance.tasks.arrival_ms) == 0:
        return "no tasks"
    if instance.tasks.remaining[0] > 0:
        return ""
    if not instance.rates.bits_per_ms.any():
        return "no task can gain anything: the uplink's rate is zero for ever and no exit is fast enough on a device"
    return "no task can gain anything: even alone, every option of every task misses its deadline"


def _solve_grant(
    scenario: Scenario,
    realization: Realization,
    instance: Instance,
    column: IntArray,
    limit: TimeLimit,
    memory_limit_mb: float,
) -> OfflinePlan:
    """Beam search for a first plan, exact search from there, and the bounded method where that stops."""
    searches: list[Search] = []
    stopped = ""
    try:
        beam = beam_search(instance, BEAM_WIDTH, limit.share(EXACT_SHARE), _backlog_price(instance))
        searches.append(beam)
        if not beam.complete:
            exact = exact_search(instance, limit.share(EXACT_SHARE), beam.gain, memory_limit_mb)
            searches.append(exact)
            stopped = exact.stopped
    except KeyboardInterrupt:
        stopped = "interrupted"
        searches = searches or [beam_search(instance, 1)]
    tasks, late_gain = realization.tasks, scenario.gain.terms()[1]
    peak = max(search.peak for search in searches)
    gain, executed = evaluate(instance, max(searches, key=lambda search: search.gain).option)
    option = _full_columns(instance, column, executed)
    if any(search.complete for search in searches):
        return make_plan(scenario, realization, option, gain, gain, "exact", limit.spent_s, peak_labels=peak)
    bound = min(search.bound for search in searches) / tasks + late_gain
    if stopped == "interrupted":
        at_once = incumbent(scenario, realization)
        replayer = Replayer(scenario, realization)
        if replayer.total_gain(at_once) > replayer.total_gain(option):
            option, gain = at_once, replayer.total_gain(at_once) / tasks
        return make_plan(
            scenario, realization, option, gain, bound, "beam", limit.spent_s, WHY_STOPPED[stopped], peak_labels=peak
        )
    return _solve_bounded(scenario, realization, limit, option, bound, WHY_STOPPED[stopped])


def _backlog_price(instance: Instance) -> float:
    """Gain per millisecond of backlog at which the beam ranks labels."""
    return BACKLOG_SHARE * float(instance.tasks.alone_gain.mean() / instance.costs.limit_ms.mean())


def _full_columns(instance: Instance, column: IntArray, reduced: IntArray) -> IntArray:
    """Translate option indices (N,) of the undominated table into those of ``scenario.options``."""
    chosen = column[instance.tasks.stream, np.maximum(reduced, 0)]
    return np.where(reduced == DROP, DROP, chosen)


def _solve_bounded(
    scenario: Scenario,
    realization: Realization,
    limit: TimeLimit,
    option: IntArray | None,
    upper_bound: float,
    why: str,
) -> OfflinePlan:
    """Leave the rest to the bounded method; ``why`` explains the missing proof unless bound and gain meet."""
    from hasten.offline.bounded import solve_bounded  # its compiled kernels are not needed where exact search fits

    option, gain, upper_bound, method = solve_bounded(scenario, realization, limit, option, upper_bound)
    plan = make_plan(scenario, realization, option, gain, upper_bound, method, limit.spent_s, why)
    return plan if not plan.optimal else replace(plan, reason="")
