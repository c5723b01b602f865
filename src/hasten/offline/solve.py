"""``solve_offline``: the offline optimum of a scenario, exact where that fits, else a plan and a bound.

The exact label-setting search holds for grant order with any topology, workers and rates, and for a single stream
in every order (all coincide). Under ready order with several streams a task that is sent earlier may overtake and
delay others, which breaks dominance: there the answer is a plan with a bound. So it is where devices choose among
several edges.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.core.progress import shown
from hasten.core.scenario import Realization, Scenario, check_scenario
from hasten.offline.exact.search import DEFAULT_MEMORY_MB, Search, beam_search, exact_search
from hasten.offline.instance import GAIN_STEPS, Instance, evaluate, grant_like, instance_of
from hasten.offline.plan import PROVEN_GAP, CertificateError, Found, OfflinePlan, all_dropped, make_plan
from hasten.offline.search.incumbent import incumbent
from hasten.offline.time_limit import TimeLimit, signals_cancel
from hasten.offline.warmup import compile_bounded, compile_exact
from hasten.sim import Replayer

IntArray = NDArray[np.int64]

BEAM_WIDTH = 128
"""Labels of the beam search whose plan the exact search has to beat."""
BACKLOG_SHARE = 0.4
"""For the beam a backlog as long as a deadline weighs this share of what a task can gain."""
EXACT_SHARE = 0.5
"""Share of a time limit that the exact search may use before the bounded method takes over."""

NOTHING_TO_GAIN = "no task can gain anything: even alone, every option of every task misses its deadline"
WHY_BATCHES = "an edge that runs tasks at once is only bounded; the plan is of one that serves one by one"
WHY_STOPPED = {
    "memory": "the exact search would exceed its memory limit",
    "time": "the exact search would exceed its time limit",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class _Unproven:
    """What the exact search leaves to the bounded method."""

    option: IntArray
    """(N,): the best plan so far."""
    upper_bound: float
    why: str
    """Why it is not proven."""


@shown("solving: plan and bound")
def solve_offline(
    scenario: Scenario,
    seed: int = 0,
    time_limit_s: float | None = None,
    memory_limit_mb: float = DEFAULT_MEMORY_MB,
) -> OfflinePlan:
    """The best plan for one realization of ``scenario``, with an upper bound on what any scheduler can gain on it.

    Where the edge runs tasks at once (``edge.batch``) the bound takes each for its share of the batch that takes least
    per task, and the plan is one of an edge that serves one by one: never ``optimal``. Where it does not, and a profile
    has times of batches (``edge_batches``), an edge that batches may gain more than the bound: that is warned of.

    Where tasks may stop early, plan and bound know of each task at which exit it stops with each option, as they know
    its arrival: the bound is that of schedulers who know it, too, and so holds for those who do not.

    Args:
        scenario: what to plan for.
        seed: which realization.
        time_limit_s: after about this time the best plan and bound so far are returned, as also on the first Ctrl-C;
            a second one raises KeyboardInterrupt. Compilation, once per installation, does not count.
        memory_limit_mb: what the exact search may use; beyond it the bounded method takes over and
            ``reason`` says so.

    Returns:
        A plan that the simulator replays to exactly its ``gain``. ``optimal`` only where that is proven.

    Raises:
        InputError: the scenario has noise: plans and bounds know times as profiled.
        CertificateError: an internal error: the simulator contradicts what was found.
    """
    check_scenario(scenario, "solve_offline")
    if scenario.noise != "none":
        raise InputError(scenario.name, "noise", scenario.noise, "none, to be solved: a plan knows times as profiled")
    _warn_of_batches(scenario)
    limit = TimeLimit(time_limit_s)
    realization = scenario.realize(seed)
    if len(scenario.every_edge) > 1:
        return _solve_several_edges(scenario, realization, limit)
    with limit.paused():
        compile_exact(scenario, realization)
    with signals_cancel(limit):
        at_once = incumbent(scenario, realization)
        found = _solve_exact(scenario, realization, limit, at_once, memory_limit_mb)
    if isinstance(found, _Unproven) and not limit.expired:
        try:
            with limit.paused():
                compile_bounded(scenario, realization)
        except KeyboardInterrupt:
            limit.cancel()
    if isinstance(found, _Unproven):
        with signals_cancel(limit):
            found = _solve_bounded(scenario, realization, limit, found)
    if scenario.edge.batch > 1 and found.method != "exact":  # exact is that nothing can be gained
        found = replace(found, optimal=False, reason=found.reason or WHY_BATCHES)
    verify(scenario, realization, found, at_once)
    return found


def _solve_several_edges(scenario: Scenario, realization: Realization, limit: TimeLimit) -> OfflinePlan:
    """A plan and a bound where devices choose among several edges."""
    from hasten.offline.several_edges import solve_several_edges, warm_up

    if realization.tasks == 0:
        return make_plan(scenario, realization, Found(all_dropped(0), 0.0, 0.0, "exact"), limit.spent_s, "no tasks")
    with limit.paused():
        warm_up(scenario, realization)
    with signals_cancel(limit):
        at_once = incumbent(scenario, realization)
        found = solve_several_edges(scenario, realization, limit, at_once)
    why = WHY_STOPPED["interrupted"] if limit.cancelled else "with several edges a plan is only bounded"
    plan = make_plan(scenario, realization, found, limit.spent_s, why)
    if plan.optimal:
        plan = replace(plan, reason=NOTHING_TO_GAIN if (found.option == DROP).all() else "")
    verify(scenario, realization, plan, at_once)
    return plan


def _warn_of_batches(scenario: Scenario) -> None:
    if scenario.edge.batch > 1:
        return
    names = sorted({stream.profile.name for stream in scenario.devices if stream.profile.edge_batches})
    if names:
        told = "the bound is of an edge that serves tasks one by one; one that batches (edge.batch) may gain more"
        warnings.warn(f"{', '.join(names)}: {told}", stacklevel=4)  # solve_offline and its decorator between


def verify(scenario: Scenario, realization: Realization, plan: OfflinePlan, at_once: IntArray) -> None:
    """Raise CertificateError unless the simulator replays a plan to its gain, and ``at_once`` (N,) within its bound."""
    if realization.tasks == 0:
        return
    replayer = Replayer(scenario, realization)
    gain, simple = (replayer.total_gain(option) / realization.tasks for option in (plan.option, at_once))
    wrong = ""
    if abs(gain - plan.gain) > PROVEN_GAP:
        wrong = f"the plan's gain is said to be {plan.gain!r}, the simulator replays it to {gain!r}"
    elif max(gain, simple) > plan.upper_bound + PROVEN_GAP:
        wrong = f"no plan is said to gain more than {plan.upper_bound!r}, the simulator replays one to {simple!r}"
    if wrong:
        raise CertificateError(f"internal error of the offline solver ({plan.method}): {wrong}; please report it")


def _solve_exact(
    scenario: Scenario, realization: Realization, limit: TimeLimit, at_once: IntArray, memory_limit_mb: float
) -> OfflinePlan | _Unproven:
    """The optimum where nothing can be gained or the exact search applies and finishes, else where to go on from.

    ``at_once`` (N,) is a plan that is known.
    """
    instance, column = instance_of(scenario, realization)
    nothing = why_nothing(scenario, instance)
    if nothing:
        late_gain = scenario.gain.terms().late_gain
        gain = late_gain if realization.tasks else 0.0
        dropped = Found(all_dropped(realization.tasks), gain, gain, "exact")
        return make_plan(scenario, realization, dropped, limit.spent_s, nothing)
    if not grant_like(scenario):
        alone = (
            scenario.gain.terms().late_gain + float(instance.tasks.remaining[0]) / realization.tasks + 1.0 / GAIN_STEPS
        )
        gain = Replayer(scenario, realization).total_gain(at_once) / realization.tasks
        if alone - gain <= PROVEN_GAP:  # each task gains what it would gain alone
            return make_plan(scenario, realization, Found(at_once, gain, alone, "prices"), limit.spent_s)
        why = WHY_BATCHES if scenario.edge.batch > 1 else "ready order with several streams is only bounded"
        return _Unproven(at_once, alone, why)
    searches: list[Search] = []
    if not limit.expired:
        searches.append(beam_search(instance, BEAM_WIDTH, limit.share(EXACT_SHARE), _backlog_price(instance)))
    if searches and not searches[0].complete and not limit.expired:
        searches.append(exact_search(instance, limit.share(EXACT_SHARE), searches[0].gain, memory_limit_mb))
    if not searches:
        return _Unproven(at_once, np.inf, WHY_STOPPED["time"])
    gain, executed = evaluate(instance, max(searches, key=lambda search: search.gain).option)
    option = _full_columns(instance, column, executed)
    if any(search.complete for search in searches):
        peak = max(search.peak for search in searches)
        optimum = Found(option, gain, gain, "exact")
        return make_plan(scenario, realization, optimum, limit.spent_s, peak_labels=peak)
    bound = min(search.bound for search in searches) / realization.tasks + scenario.gain.terms().late_gain
    best = max(option, at_once, key=Replayer(scenario, realization).total_gain)
    return _Unproven(best, bound, WHY_STOPPED.get(searches[-1].stopped, WHY_STOPPED["time"]))


def why_nothing(scenario: Scenario, instance: Instance) -> str:
    """Why no task of a realization can gain anything; empty when some can."""
    if len(instance.tasks.arrival_ms) == 0:
        return "no tasks"
    if instance.tasks.remaining[0] > 0:
        return ""
    if not instance.rates.bits_per_ms.any():
        return "no task can gain anything: the uplink's rate is zero for ever and no exit is fast enough on a device"
    return NOTHING_TO_GAIN


def _backlog_price(instance: Instance) -> float:
    """Gain per millisecond of backlog at which the beam ranks labels."""
    return BACKLOG_SHARE * float(instance.tasks.alone_gain.mean() / instance.costs.limit_ms.max(axis=1).mean())


def _full_columns(instance: Instance, column: IntArray, reduced: IntArray) -> IntArray:
    """Translate option indices (N,) of the undominated table into those of ``scenario.options``."""
    chosen = column[instance.tasks.case, np.maximum(reduced, 0)]
    return np.where(reduced == DROP, DROP, chosen)


def _solve_bounded(scenario: Scenario, realization: Realization, limit: TimeLimit, found: _Unproven) -> OfflinePlan:
    """Leave the rest to the bounded method; ``reason`` explains the missing proof unless bound and gain meet."""
    from hasten.offline.bounded import solve_bounded  # its compiled kernels are not needed where exact search fits

    bounded = solve_bounded(scenario, realization, limit, found.option, found.upper_bound)
    why = WHY_STOPPED["interrupted"] if limit.cancelled else found.why
    plan = make_plan(scenario, realization, bounded, limit.spent_s, why)
    return plan if not plan.optimal else replace(plan, reason="")
