"""The calibration curves (``core.calibration``) of a batch's streams, compiled: promises, and what came of them.

Before a decision a row hears which of its tasks have ended, as a device does: answers that are back, cancellations,
and drops by the expired-task rule of what had seemed to be in time. ``run_expected`` does whole runs that expected
gains decide (``core.expected_gain``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.calibration import LOCAL, NODES, SENT, doubt_after, doubted, hear, read_shares, share_at
from hasten.core.compiled import compiled, inlined
from hasten.core.decision import DEAD_LINK_BITS_PER_MS
from hasten.core.expected_gain import ExpectedGain, expected_gain
from hasten.core.gain import task_gain
from hasten.core.options import DROP
from hasten.core.timing import predict_latency
from hasten.sim.arrays import NOBODY, FloatArray, IntArray, Rules
from hasten.sim.beliefs import ANSWERED_BY, CUT, FALLBACK, MOVED_FROM
from hasten.sim.observation_function import planned_rtt_ms, unseen_wait_ms
from hasten.sim.stages import settle
from hasten.sim.steps import execute, lane_of, look, unless_expired
from hasten.sim.world import Shown, World


class Promises(NamedTuple):
    """What B rows know of M streams' curves, and the promises made to T tasks."""

    kept: FloatArray
    """(B, M, 1 + edges, K)"""
    told: FloatArray
    since: IntArray
    """(B, M, 1 + edges): outcomes of the stream since the last one of each kind."""
    doubt: FloatArray
    """(B, M, 1 + edges)"""
    share: FloatArray
    """(B, M, 1 + edges, K): the curves themselves."""
    prior: FloatArray
    """(M, 1 + edges, K)"""
    slack: FloatArray
    """(T,): predicted slack, in deadlines; NaN where none was promised, or where the outcome has been heard."""
    kind: IntArray
    """(T,): LOCAL, or SENT and the edge's number."""
    share_of: FloatArray
    """(T,): the share promised; NaN where none was."""
    oldest: IntArray
    """(B,): each row's first task that may still be open, counted within the row."""


class Expected(NamedTuple):
    """The rule of the largest expected gain and the options that it considers; arrays are (M, J')."""

    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    worth: FloatArray
    column: IntArray


def new_promises(prior: FloatArray, rows: int, slots: int) -> Promises:
    """Curves that have heard of nothing yet, with ``prior`` shares (M, 1 + edges, K), and room for ``slots`` tasks."""
    shape = rows, *prior.shape
    return Promises(
        kept=np.zeros(shape),
        told=np.zeros(shape),
        since=np.zeros(shape[:-1], dtype=np.int64),
        doubt=np.zeros(shape[:-1]),
        share=np.tile(prior, (rows, 1, 1, 1)),
        prior=prior,
        slack=np.full(slots, np.nan),
        kind=np.zeros(slots, dtype=np.int64),
        share_of=np.full(slots, np.nan),
        oldest=np.zeros(rows, dtype=np.int64),
    )


def pack_expected(rule: ExpectedGain) -> Expected:
    """A rule and its options."""
    table = rule.table
    return Expected(table.device_ms, table.payload_bits, table.edge_ms, table.worth, rule.column)


@compiled
def recall(k: int, row: IntArray, kept_share: FloatArray, promises: Promises, world: World) -> None:
    """Fill in the curves (A, 1 + edges, K) of each row's k-th decision, once it has heard what became known by then."""
    for a in range(len(row)):
        b = row[a]
        catch_up(b, k, promises, world)
        share = promises.share[b, world.tasks.stream[world.tasks.first[b] + k]]
        for kind in range(len(share)):
            for node in range(NODES):
                kept_share[a, kind, node] = share[kind, node]


@compiled
def promise(k: int, view: Shown, option: IntArray, promises: Promises, world: World) -> None:
    """Note what the view promises of the options decided (A,) for the k-th tasks of its rows."""
    rules = world.rules
    for a in range(len(option)):
        if option[a] != DROP:
            b, m, j = view.row[a], view.stream[a], option[a]
            edge = rules.ways.edge[m, j]
            uplink_wait_ms, edge_wait_ms, rate = seen_of(edge, a, view)
            latency_ms = predict_latency(
                view.device_wait_ms[a],
                uplink_wait_ms,
                edge_wait_ms,
                rules.device_ms[m, j],
                rules.payload_bits[m, j],
                rules.edge_ms[m, j],
                max(rate, DEAD_LINK_BITS_PER_MS),
                planned_rtt_ms(b, m, edge, world) + unseen_wait_ms(b, m, edge, world),
            )
            note(b, k, m, latency_ms, SENT + edge if rules.payload_bits[m, j] > 0 else LOCAL, promises, world)


@inlined
def seen_of(edge: int, a: int, view: Shown) -> tuple[float, float, float]:
    """What the a-th decision sees of an edge: waits of uplink and of the worker that is free first, and the rate."""
    if edge == 0:
        return view.uplink_wait_ms[a], view.edge_wait_ms[a, 0], view.rate_bits_per_ms[a]
    i = edge - 1
    return view.further_uplink_wait_ms[i, a], view.further_edge_wait_ms[i, a, 0], view.further_rate_bits_per_ms[i, a]


@compiled
def run_expected(
    first_step: int, end_step: int, predicts: bool, rule: Expected, promises: Promises, world: World
) -> None:
    """Let expected gains decide the tasks of all rows from step ``first_step`` up to ``end_step``; of one edge."""
    tasks = world.tasks
    for b in range(len(tasks.first)):
        for k in range(first_step, min(end_step, tasks.number[b])):
            catch_up(b, k, promises, world)
            waits = look(b, k, 0, world)
            m = tasks.stream[tasks.first[b] + k]
            place, latency_ms = best_expected(m, waits, rule, promises.share[b, m], world.rules)
            option = DROP
            if place != DROP:
                option = rule.column[m, place]
                note(b, k, m, latency_ms, SENT if rule.payload_bits[m, place] > 0 else LOCAL, promises, world)
            if predicts and option != DROP:
                option = unless_expired(b, k, option, waits, world)
            execute(b, k, option, world)


@inlined
def catch_up(b: int, k: int, promises: Promises, world: World) -> None:
    """Take in what became of the row's tasks by its k-th decision."""
    rules, tasks, state = world.rules, world.tasks, world.state
    first = tasks.first[b]
    now_ms = tasks.arrival_ms[first + k]
    if rules.ready and not rules.from_devices:
        settle(lane_of(b, world), now_ms, world)
    while promises.oldest[b] < k and np.isnan(promises.slack[first + promises.oldest[b]]):
        promises.oldest[b] += 1
    if rules.from_devices:
        while True:  # what has ended first is heard first
            soonest, known_ms = -1, np.nextafter(now_ms, np.inf)
            for task in range(first + promises.oldest[b], first + k):
                if not np.isnan(promises.slack[task]) and state.known_ms[task] < known_ms:
                    soonest, known_ms = task, state.known_ms[task]
            if soonest < 0:
                break
            hear_outcome(b, soonest, promises, world)
        return
    for task in range(first + promises.oldest[b], first + k):
        if not np.isnan(promises.slack[task]) and state.known_ms[task] <= now_ms:
            hear_outcome(b, task, promises, world)


@inlined
def hear_outcome(b: int, task: int, promises: Promises, world: World) -> None:
    """Take in what became of one task."""
    rules, tasks, state = world.rules, world.tasks, world.state
    m = tasks.stream[task]
    got = 1.0 if state.finish_ms[task] - tasks.arrival_ms[task] <= rules.useful_ms[m] else 0.0
    if got > 0.0 and rules.from_devices and world.beliefs.mark[task, FALLBACK] == 1:
        got = saved_share(task, m, world)
    kept, told, doubt = promises.kept[b, m], promises.told[b, m], promises.doubt[b, m]
    slack, promised = promises.slack[task], promises.share_of[task]
    own = promises.kind[task]
    hear(own, slack, got, kept, told, promises.since[b, m], doubt)
    doubt[own] = doubt_after(doubt[own], promised, got > 0.0)
    for kind in range(len(kept)):
        read_shares(kept[kind], told[kind], promises.prior[m, kind], promises.share[b, m, kind])
    promises.slack[task] = np.nan


@inlined
def saved_share(task: int, m: int, world: World) -> float:
    """What an answer found otherwise than was decided is worth, as a share of the one decided on.

    The device has found it by itself, or another edge than was decided has.
    """
    mark, finishes, option = world.beliefs.mark[task], world.beliefs.finishes, world.state.option[task]
    decided = option if mark[MOVED_FROM] == NOBODY else mark[MOVED_FROM]
    accuracy = finishes.option_accuracy[m, max(decided, 0)]
    if accuracy <= 0.0 or (mark[ANSWERED_BY] == NOBODY and mark[MOVED_FROM] == NOBODY):
        return 0.0
    if mark[ANSWERED_BY] == NOBODY:
        return float(min(finishes.option_accuracy[m, option] / accuracy, 1.0))
    return float(min(finishes.accuracy[m, mark[CUT], mark[ANSWERED_BY]] / accuracy, 1.0))


@inlined
def note(b: int, k: int, m: int, latency_ms: float, kind: int, promises: Promises, world: World) -> None:
    """What an option decided on, of this predicted latency, promises; nothing if that is too late."""
    task = world.tasks.first[b] + k
    slack = (world.rules.useful_ms[m] - latency_ms) / world.rules.deadline_ms[m]
    if slack >= 0.0:
        promises.slack[task], promises.kind[task] = slack, kind
        promises.share_of[task] = doubted(share_at(slack, promises.share[b, m, kind]), promises.doubt[b, m, kind])


@inlined
def best_expected(
    m: int, waits: tuple[float, float, float, float, float], rule: Expected, share: FloatArray, rules: Rules
) -> tuple[int, float]:
    """The place of the option of largest expected gain by the curves (2, K), and its latency; DROP without any."""
    device_wait_ms, uplink_wait_ms, edge_wait_ms, rate, rtt_ms = waits
    deadline_ms, late_gain = rules.deadline_ms[m], rules.late_gain
    best, best_gain, best_ms = DROP, -np.inf, np.inf
    for j in range(rule.device_ms.shape[1] - 1, -1, -1):  # from the best exit on
        if max(rule.worth[m, j], late_gain) < best_gain:
            continue  # no share makes more of it
        latency_ms = predict_latency(
            device_wait_ms,
            uplink_wait_ms,
            edge_wait_ms,
            rule.device_ms[m, j],
            rule.payload_bits[m, j],
            rule.edge_ms[m, j],
            rate,
            rtt_ms,
        )
        slack = (rules.useful_ms[m] - latency_ms) / deadline_ms
        if slack >= 0.0:
            kind = SENT if rule.payload_bits[m, j] > 0 else LOCAL
            gain = task_gain(rule.worth[m, j], latency_ms, deadline_ms, rules.time_weight, late_gain, rules.fade)
            gain = expected_gain(gain, late_gain, share_at(slack, share[kind]))
            if gain > best_gain or (gain == best_gain and latency_ms <= best_ms):
                best, best_gain, best_ms = j, gain, latency_ms
    return best, best_ms
