"""Improving a plan by simulated annealing: changes of a few decisions at a time, each tried where it has effects.

For uplinks and edges that serve in one known order: by decision (grant), or by readiness on a shared uplink. A plan is
kept as a schedule in which no task is late: per stream the times its device is free, and a linked list of sent tasks in
order of service, each with the state of uplink and edge behind it. A change is followed along both until it makes no
difference any more. One that makes a task late is tried again with another option for that task as well
(Kirkpatrick, Gelatt and Vecchi, Science 1983; ejection chains: Glover, Discrete Applied Mathematics 1996).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.options import DROP
from hasten.offline.instance import Instance
from hasten.offline.search.neighbours import attempt, commit
from hasten.offline.search.schedule import MOST_CHANGES, Schedule, Trial, new_schedule, new_trial
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COLD = 0.006
"""Last temperature, as a share of the largest worth."""
REACH = 8
"""A change that is itself too late is tried with another of one of so many decisions before it."""
WORK_PER_CALL = 1_000_000
"""Work in one stretch of compiled code, which neither a time limit nor Ctrl-C can interrupt."""


class AnnealedGain(NamedTuple):
    """Total gain above dropping everything, now and at best."""

    total: float
    best: float


def improve(
    instance: Instance,
    option: IntArray,
    usable: NDArray[np.bool_],
    ready: bool,
    hot: float,
    work: int,
    limit: TimeLimit,
) -> IntArray:
    """A plan (N,) at least as good as ``option``, both columns of the instance's options or DROP.

    Tasks that would be late in ``option`` are dropped first. ``usable`` (K, J) are the options to consider. The
    temperature begins at ``hot`` times the largest worth and falls with the work done, up to ``work`` tasks followed,
    or with the time used, whichever is further.
    """
    plan, trial = new_schedule(instance), new_trial(instance)
    _adopt(instance, ready, plan, trial, option)
    largest = float(np.max(instance.costs.worth[usable], initial=0.0))
    best = plan.option.copy()
    total = float(plan.gain.sum())
    progress = AnnealedGain(total, total)
    rng = np.random.default_rng(0)
    spent_s, left_s = limit.spent_s, limit.left_s
    while trial.work[0] < work and not limit.expired:
        done = max(trial.work[0] / work, (limit.spent_s - spent_s) / left_s if np.isfinite(left_s) else 0.0)
        temperature = largest * hot * (COLD / hot) ** min(done, 1.0)
        until = min(int(trial.work[0]) + WORK_PER_CALL, work)
        progress = AnnealedGain(*_anneal(instance, ready, plan, trial, usable, temperature, until, rng, progress, best))
    return best


@compiled
def _adopt(instance: Instance, ready: bool, plan: Schedule, trial: Trial, option: IntArray) -> None:
    """Take the decisions one after the other, leaving out those that would make some task late."""
    for k in range(len(option)):
        if option[k] != DROP:
            trial.task[0], trial.to[0] = k, option[k]
            _, victim = attempt(instance, ready, plan, trial, 1)
            if victim < 0:
                commit(instance, plan, trial)


@inlined
def _worth(instance: Instance, k: int, option: int) -> Any:
    """What task ``k`` would gain if time cost nothing."""
    costs = instance.costs
    return costs.worth[instance.tasks.case[k], option] if option != DROP else costs.gain_terms.late_gain


@compiled
def _anneal(
    instance: Instance, ready: bool, plan: Schedule, trial: Trial, usable: NDArray[np.bool_], temperature: float,
    until: int, rng: np.random.Generator, progress: AnnealedGain, best: IntArray,
) -> Any:  # fmt: skip
    """Make random moves at a temperature until so much work is done; ``best`` (N,) receives the best plan."""
    n, options = len(plan.option), usable.shape[1]
    total, best_total = progress
    task, to = trial.task, trial.to
    while trial.work[0] < until:
        trial.work[0] += 1
        least = temperature * np.log(1.0 - rng.random())  # the acceptance of Metropolis, drawn beforehand
        victim, changes, hoped = int(rng.random() * n), 0, 0.0
        while victim >= 0 and changes < MOST_CHANGES:
            j = int(rng.random() * (options + 1)) - 1
            if j == plan.option[victim] or (j != DROP and not usable[instance.tasks.case[victim], j]):
                break
            task[changes], to[changes] = victim, j
            changes += 1
            hoped += _worth(instance, task[changes - 1], j) - _worth(instance, victim, plan.option[victim])
            if hoped < least:
                break
            gained, victim = attempt(instance, ready, plan, trial, changes)
            if victim < 0:
                if gained >= least:
                    commit(instance, plan, trial)
                    total += gained
                break
            if _among(task, changes, victim):
                victim += int(rng.random() * (REACH + 2)) - REACH
                if victim < 0 or victim >= n or _among(task, changes, victim):
                    break
        if total > best_total + 1e-9:
            best_total = total
            for k in range(n):
                best[k] = plan.option[k]
    return total, best_total


@inlined
def _among(task: IntArray, changes: int, k: int) -> bool:
    """Whether task ``k`` is one of those changed."""
    found = False
    for c in range(changes):
        found = found or task[c] == k
    return found
