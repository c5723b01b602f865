"""Compiling the solver's kernels before its clock runs: every kernel is called once, on two tasks.

With machine code in the cache (``core.compiled``) this takes a moment, else a while, once per installation.
"""

from __future__ import annotations

from hasten.core.scenario import Realization, Scenario
from hasten.offline.exact.search import beam_search, exact_search
from hasten.offline.instance import evaluate, grant_like, instance_of
from hasten.offline.plan import all_dropped
from hasten.offline.search.incumbent import incumbent
from hasten.offline.time_limit import TimeLimit
from hasten.sim import Replayer

FEW = slice(0, 2)

_warm: set[tuple[object, ...]] = set()
"""What this process has called already."""


def compile_exact(scenario: Scenario, realization: Realization) -> None:
    """Compile what every answer needs, and the exact search where that applies."""
    exact = grant_like(scenario)
    key = ("exact", exact)
    if key in _warm or realization.tasks == 0:
        return
    few = realization.part(FEW)
    instance, _ = instance_of(scenario, few)
    Replayer(scenario, few).total_gain(incumbent(scenario, few))
    if exact:
        beam_search(instance, 2)
        exact_search(instance)
        evaluate(instance, all_dropped(few.tasks))  # a plan is of the instance's options, fewer than the scenario's
    _warm.add(key)


def compile_bounded(scenario: Scenario, realization: Realization) -> None:
    """Compile the bounded method's kernels for a scenario's order and topology."""
    from hasten.offline import bounded
    from hasten.offline.effort import Effort

    key = ("bounded", grant_like(scenario), scenario.uplink.topology, len(scenario.devices) > 1)
    if key in _warm or realization.tasks == 0:
        return
    few, limit = realization.part(FEW), TimeLimit()
    effort = Effort(rounds=2, service_order_rounds=(1, 2), grant_labels=32, ready_labels=32, search_work=200)
    instance, _ = instance_of(scenario, few)
    fine, coarse = bounded.relaxations(scenario, few, effort)
    prices = bounded.dual_prices(scenario, fine, coarse, limit, effort)
    bounded.planned(scenario, instance, coarse, prices, effort, limit, incumbent(scenario, few), lambda _: 0.0)
    bounded.tightened_bound(scenario, few, fine, prices, limit, effort)
    _warm.add(key)
