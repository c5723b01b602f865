"""Neighbours of a schedule: changes of a few decisions, tried where they have effects; compiled.

No task of a schedule is late, so what a change gains is known at once, and only whether it keeps all others on time has
to be found out: along its streams until their devices are free as before, and along the tasks served after it until
uplink and edge are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import inlined
from hasten.core.options import DROP
from hasten.core.timing import offload_ends, stage_end, stage_start
from hasten.offline.instance import Instance, rounded_gain, send
from hasten.offline.search.schedule import MOST_AFFECTED, MOST_FOLLOWED, Schedule, Trial

FloatArray = NDArray[np.float64]

FEASIBLE = -1


@inlined
def attempt(instance: Instance, ready: bool, plan: Schedule, trial: Trial, changes: int) -> tuple[float, int]:
    """Try to decide ``trial.to[c]`` on ``trial.task[c]`` for all c < ``changes``.

    Returns what that gains and ``FEASIBLE``, or a task that would be late.
    """
    trial.number[0] += 1
    trial.work[0] += 1
    for c in range(changes):
        trial.option[trial.task[c]] = trial.to[c]
        trial.moved_in[trial.task[c]] = -trial.number[0]
    gained, late = _move_devices(instance, plan, trial, changes)
    if late != FEASIBLE:
        return 0.0, late
    removed = _line_up(instance, ready, plan, trial)
    if trial.length[1] == 0 and removed == 0:
        return gained, FEASIBLE
    more, late = _serve(instance, ready, plan, trial, removed)
    return gained + more, late


@inlined
def _move_devices(instance: Instance, plan: Schedule, trial: Trial, changes: int) -> tuple[float, int]:
    """Follow each changed stream until its device is free as before; gains of sent tasks are only subtracted."""
    costs, _, tasks = instance
    n, number = len(plan.option), trial.number[0]
    gained, moved = 0.0, 0
    for c in range(changes):
        k = last = trial.task[c]
        if trial.moved_in[k] == number:
            continue
        m = tasks.stream[k]
        for d in range(changes):
            other = trial.task[d]
            if tasks.stream[other] == m:
                k, last = min(k, other), max(last, other)
        free_ms = plan.device_ms[plan.previous[k]] if plan.previous[k] >= 0 else 0.0
        while k < n:
            j = trial.option[k] if trial.moved_in[k] == -number else plan.option[k]
            now_ms = tasks.arrival_ms[k]
            trial.gain[k] = 0.0
            if j != DROP:
                free_ms = stage_end(now_ms, free_ms, costs.device_ms[tasks.case[k], j])
                if free_ms - now_ms > costs.limit_ms[tasks.case[k], j] or moved == MOST_AFFECTED:
                    return 0.0, k
                if costs.payload_bits[tasks.case[k], j] == 0:
                    trial.gain[k] = rounded_gain(costs, tasks.case[k], j, free_ms - now_ms)
            elif moved == MOST_AFFECTED:
                return 0.0, k
            gained += trial.gain[k] - plan.gain[k]
            trial.moved_in[k], trial.option[k], trial.device_ms[k] = number, j, free_ms
            trial.moved[moved] = k
            trial.work[0] += 1
            moved += 1
            following = tasks.following[k]
            if k >= last and following < n:
                next_ms = tasks.arrival_ms[following]
                if stage_start(next_ms, free_ms) == stage_start(next_ms, plan.device_ms[k]):
                    break
            k = following
    trial.length[0] = moved
    return gained, FEASIBLE


@inlined
def _first(ready: bool, ready_ms: float, k: int, other_ms: float, other: int) -> bool:
    """Whether task ``k`` is served before ``other``."""
    if ready and ready_ms != other_ms:
        return ready_ms < other_ms
    return k < other


@inlined
def _line_up(instance: Instance, ready: bool, plan: Schedule, trial: Trial) -> int:
    """Sort the moved tasks that are sent and find behind which task to begin; returns how many leave the list."""
    costs, _, tasks = instance
    n, entries, removed, begin = len(plan.option), 0, 0, -1
    for k in trial.moved[: trial.length[0]]:
        if plan.listed[k]:
            removed += 1
            p = plan.before[k]
            if (
                begin < 0
                or p == n
                or (begin != n and _first(ready, plan.device_ms[p], p, plan.device_ms[begin], begin))
            ):
                begin = p
        j = trial.option[k]
        if j != DROP and costs.payload_bits[tasks.case[k], j] > 0:
            at = entries
            while at > 0:
                other = trial.entry[at - 1]
                if not _first(ready, trial.device_ms[k], k, trial.device_ms[other], other):
                    break
                trial.entry[at] = other
                at -= 1
            trial.entry[at] = k
            entries += 1
    if entries > 0:
        e = trial.entry[0]
        if begin < 0:
            begin = e - 1
            while begin >= 0 and not plan.listed[begin]:
                begin -= 1
            begin = n if begin < 0 else begin
            following = plan.after[begin]
            while following != n and _first(ready, plan.device_ms[following], following, trial.device_ms[e], e):
                begin, following = following, plan.after[following]
        while begin != n and _first(ready, trial.device_ms[e], e, plan.device_ms[begin], begin):
            begin = plan.before[begin]
    while begin >= 0 and begin != n and trial.moved_in[begin] == trial.number[0]:
        begin = plan.before[begin]
    trial.length[1], trial.length[2], trial.length[3] = entries, 0, begin
    return removed


@inlined
def _serve_one(instance: Instance, k: int, option: int, ready_ms: float, state_ms: FloatArray) -> float:
    """Send task ``k`` and serve it at the edge, updating ``state_ms``; returns its latency."""
    costs, rates, tasks = instance
    c, links = tasks.case[k], costs.links
    link = 0 if links == 1 else tasks.stream[k]
    sent_ms, end_ms, answer_ms = offload_ends(
        ready_ms, state_ms[link], state_ms[links], costs.payload_bits[c, option], costs.edge_ms[c, option],
        costs.rtt_ms, send, rates, link,
    )  # fmt: skip
    state_ms[link] = sent_ms
    w = links
    while w + 1 < len(state_ms) and state_ms[w + 1] < end_ms:
        state_ms[w] = state_ms[w + 1]
        w += 1
    state_ms[w] = end_ms
    latency_ms: float = answer_ms - tasks.arrival_ms[k]
    return latency_ms


@inlined
def _serve(instance: Instance, ready: bool, plan: Schedule, trial: Trial, removed: int) -> tuple[float, int]:
    """Follow the list from where the change begins until uplink and edge are free no later than before."""
    costs, _, tasks = instance
    n, number, entries = len(plan.option), trial.number[0], trial.length[1]
    width = trial.state_ms.shape[1]
    begin = trial.length[3]
    for d in range(width):
        trial.state_ms[0, d] = plan.state_ms[begin, d]
    current, e, served, gained = plan.after[begin], 0, 0, 0.0
    while True:
        while current != n and trial.moved_in[current] == number:
            removed -= 1
            current = plan.after[current]
        enters = e < entries and (
            current == n
            or _first(ready, trial.device_ms[trial.entry[e]], trial.entry[e], plan.device_ms[current], current)
        )
        if enters:
            k = trial.entry[e]
            j, ready_ms, old_gain = trial.option[k], trial.device_ms[k], 0.0
            e += 1
        elif current != n:
            k = current
            j, ready_ms, old_gain = plan.option[k], plan.device_ms[k], plan.gain[k]
            current = plan.after[k]
        else:
            break
        if served == MOST_FOLLOWED:
            return 0.0, k
        trial.work[0] += 1
        state_ms = trial.state_ms[served + 1]
        for d in range(width):
            state_ms[d] = trial.state_ms[served, d]
        latency_ms = _serve_one(instance, k, j, ready_ms, state_ms)
        if not latency_ms <= costs.limit_ms[tasks.case[k], j]:
            return 0.0, k
        trial.served[served] = k
        trial.served_gain[served] = rounded_gain(costs, tasks.case[k], j, latency_ms)
        gained += trial.served_gain[served] - old_gain
        served += 1
        if not enters and e == entries and removed == 0:
            no_later = True
            for d in range(width):
                no_later = no_later and state_ms[d] <= plan.state_ms[k, d]
            if no_later:
                break
    trial.length[2] = served
    return gained, FEASIBLE


@inlined
def commit(instance: Instance, plan: Schedule, trial: Trial) -> None:
    """Make the change that was just found feasible."""
    costs, _, tasks = instance
    n, width = len(plan.option), trial.state_ms.shape[1]
    for k in trial.moved[: trial.length[0]]:
        if plan.listed[k]:
            plan.after[plan.before[k]], plan.before[plan.after[k]] = plan.after[k], plan.before[k]
            plan.listed[k] = False
        plan.option[k], plan.device_ms[k], plan.gain[k] = trial.option[k], trial.device_ms[k], trial.gain[k]
    served, last = trial.length[2], trial.length[3]
    if trial.length[1] == 0 and served == 0:
        return
    for s in range(served):
        k = trial.served[s]
        if not plan.listed[k]:
            following = plan.after[last]
            plan.after[last], plan.before[k] = k, last
            plan.after[k], plan.before[following] = following, k
            plan.listed[k] = True
        plan.gain[k] = trial.served_gain[s]
        for d in range(width):
            plan.state_ms[k, d] = trial.state_ms[s + 1, d]
        last = k
    # What follows is only earlier than before: bring it up to date until it is the same.
    state_ms = trial.state_ms[served]
    k = plan.after[last]
    while k != n:
        j = plan.option[k]
        latency_ms = _serve_one(instance, k, j, plan.device_ms[k], state_ms)
        plan.gain[k] = rounded_gain(costs, tasks.case[k], j, latency_ms)
        same = True
        for d in range(width):
            same = same and state_ms[d] == plan.state_ms[k, d]
            plan.state_ms[k, d] = state_ms[d]
        if same:
            break
        k = plan.after[k]
