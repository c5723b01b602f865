"""One realization of a scenario as flat arrays: what the compiled label-setting kernels read.

Options are the undominated ones; gains are rounded to multiples of 2^-32, so that sums of up to millions of them
are exact in float64 and equal sums compare as equal, whatever the order of addition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled
from hasten.core.gain import GainTerms, task_gain, useful_until_ms
from hasten.core.options import DROP, OptionTable
from hasten.core.rates import RateTrace
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import ON_TIME_TOLERANCE_MS, offload_ends, stage_end, transfer_end
from hasten.offline.cases import Cases, cases_of
from hasten.sim.ways import Ways, ways_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GAIN_STEPS = 2.0**32
"""Gains are multiples of one over this."""


class Costs(NamedTuple):
    """What does not change over a run: options (K, J), gain, resources. Padding has infinite device time.

    A row is a case (``offline.cases``): a stream, or where tasks stop early those of a stream that stop alike.
    """

    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    worth: FloatArray
    options: IntArray
    """(K,): number of options that are not padding."""
    deadline_ms: FloatArray
    """(K,)"""
    limit_ms: FloatArray
    """(K, J): latency beyond which an answer is expired, tolerance included."""
    gain_terms: GainTerms
    rtt_ms: float
    """To the first edge: ``ways`` has those to all edges."""
    workers: int
    """Of all edges."""
    streams: int
    """M"""
    links: int
    """To all edges; to one edge 1 for a shared uplink, M otherwise."""
    before_send_ms: FloatArray
    """(M,): least device time of an option that sends; infinity without one."""
    ways: Ways
    """The edges, of options (K, J). Only label setting (``offline.exact``) chooses among several."""


class Rates(NamedTuple):
    """Rate traces of all links laid end to end; link ``l`` owns ``offset[l]:offset[l + 1]``."""

    from_ms: FloatArray
    bits_per_ms: FloatArray
    sent_bits: FloatArray
    offset: IntArray
    period_ms: FloatArray
    """(L,)"""
    least_transfer_ms: FloatArray
    """(L,): the smallest payload at the link's highest rate."""


class KnownTasks(NamedTuple):
    """Tasks in order of arrival; arrays are (N,)."""

    arrival_ms: FloatArray
    stream: IntArray
    case: IntArray
    """Row of the costs."""
    following: IntArray
    """Index of the same stream's next task, N for the last one."""
    first: IntArray
    """(M,): index of each stream's first task, N without any."""
    alone_gain: FloatArray
    """Gain of each task in an otherwise empty system above that of dropping it: no scheduler gets more."""
    remaining: FloatArray
    """(N + 1,): sum of ``alone_gain`` of this and all later tasks."""


class Instance(NamedTuple):
    """Everything the kernels read."""

    costs: Costs
    rates: Rates
    tasks: KnownTasks


def instance_of(scenario: Scenario, realization: Realization) -> tuple[Instance, IntArray]:
    """Flatten a realization; also returns the column (K, J') of each undominated option in ``scenario.options``.

    Of a task that may stop early it is known where it does with each option.
    """
    cases, column = cases_of(scenario, realization).undominated()
    costs = costs_of(
        cases.table,
        scenario.deadlines_ms,
        scenario.gain.terms(),
        scenario.uplink.rtt_ms,
        scenario.edge.workers,
        shared_uplink=scenario.uplink.topology == "shared",
        cases=cases,
    )
    rates = rates_of(realization.rates, costs, cases.stream)
    tasks = tasks_of(realization.arrival_ms, realization.stream, costs, rates, cases.case)
    return Instance(costs, rates, tasks), column


def grant_like(scenario: Scenario) -> bool:
    """Whether finish times are fixed at decisions: grant order, or one stream, whose tasks overtake only in batches."""
    return scenario.uplink.order == "grant" or (len(scenario.devices) == 1 and scenario.edge.batch == 1)


def costs_of(
    table: OptionTable,
    deadline_ms: FloatArray,
    gain_terms: GainTerms,
    rtt_ms: float,
    workers: int,
    shared_uplink: bool,
    cases: Cases | None = None,
) -> Costs:
    """Lay out the fixed part of an instance, of streams with ``deadline_ms`` (M,); the ``table`` is theirs or that of
    their ``cases``. All is to go to one edge: :func:`among_edges`.
    """
    streams = len(deadline_ms)
    link = np.zeros((1, streams), dtype=np.int64) if shared_uplink else np.arange(streams)[None]
    stream, excess_ms = (np.arange(streams), 0.0) if cases is None else (cases.stream, cases.excess_ms)
    useful_ms = useful_until_ms(deadline_ms, gain_terms.fade) + ON_TIME_TOLERANCE_MS
    return Costs(
        device_ms=np.ascontiguousarray(table.device_ms),
        payload_bits=np.ascontiguousarray(table.payload_bits),
        edge_ms=np.ascontiguousarray(table.edge_ms),
        worth=np.ascontiguousarray(table.worth),
        options=np.ascontiguousarray(table.count, dtype=np.int64),
        deadline_ms=np.ascontiguousarray(deadline_ms[stream], dtype=np.float64),
        limit_ms=np.ascontiguousarray(np.broadcast_to(useful_ms[stream, None], table.worth.shape) - excess_ms),
        gain_terms=GainTerms(*map(float, gain_terms)),
        rtt_ms=float(rtt_ms),
        workers=int(workers),
        streams=streams,
        links=1 if shared_uplink else streams,
        before_send_ms=_least_of_sending(table.device_ms, table.payload_bits, stream, streams),
        ways=ways_of(np.zeros(table.worth.shape, dtype=np.int64), link, [float(rtt_ms)], [int(workers)]),
    )


def among_edges(costs: Costs, ways: Ways) -> Costs:
    """The same costs where options go to several edges."""
    return costs._replace(rtt_ms=float(ways.rtt_ms[0]), workers=ways.workers, links=ways.links, ways=ways)


def _least_of_sending(values: FloatArray, payload_bits: FloatArray, stream: IntArray, streams: int) -> FloatArray:
    """(M,): the least of ``values`` (K, J) among a stream's options that send; infinity without one."""
    least = np.full(streams, np.inf)
    np.minimum.at(least, stream, np.where(payload_bits > 0, values, np.inf).min(axis=1))
    return least


def rates_of(traces: tuple[RateTrace, ...], costs: Costs, stream: IntArray | None = None) -> Rates:
    """Lay the traces of all links end to end; ``stream`` (K,) is that of each case, where these are not the streams."""
    stream = np.arange(costs.streams) if stream is None else stream
    smallest_bits = np.full(costs.links, np.inf)
    of_stream = _least_of_sending(costs.payload_bits, costs.payload_bits, stream, costs.streams)
    for link in costs.ways.link:
        np.minimum.at(smallest_bits, link, of_stream)
    highest = np.array([trace.bits_per_ms.max() for trace in traces])
    return Rates(
        from_ms=np.concatenate([trace.from_ms for trace in traces]),
        bits_per_ms=np.concatenate([trace.bits_per_ms for trace in traces]),
        sent_bits=np.concatenate([trace.sent_bits for trace in traces]),
        offset=np.concatenate([[0], np.cumsum([len(trace.from_ms) for trace in traces])]).astype(np.int64),
        period_ms=np.array([trace.period_ms for trace in traces], dtype=np.float64),
        least_transfer_ms=np.where(highest > 0, smallest_bits / np.maximum(highest, 1e-300), np.inf),
    )


def tasks_of(
    arrival_ms: FloatArray, stream: IntArray, costs: Costs, rates: Rates, case: IntArray | None = None
) -> KnownTasks:
    """Link each task to its stream's next one and find what it could gain alone; a ``case`` (N,) is else a stream."""
    case = stream if case is None else case
    following, first = following_tasks(stream, costs.streams)
    alone = alone_gains(arrival_ms, stream, case, costs, rates)
    remaining = np.concatenate([np.cumsum(alone[::-1])[::-1], [0.0]])
    return KnownTasks(arrival_ms, stream, case, following, first, alone, remaining)


@allocating
def following_tasks(stream: IntArray, streams: int) -> Any:
    """For tasks of these streams (N,): each one's next task in its stream (N,), and each stream's first (M,)."""
    n = len(stream)
    following = np.empty(n, np.int64)
    first = np.full(streams, n)
    for k in range(n - 1, -1, -1):
        following[k] = first[stream[k]]
        first[stream[k]] = k
    return following, first


@compiled
def send(start_ms: float, payload_bits: float, rates: Rates, link: int) -> float:
    """When a transfer on ``link`` ends: :func:`hasten.core.timing.transfer_end` on that link's trace."""
    i, j = rates.offset[link], rates.offset[link + 1]
    return transfer_end(
        start_ms,
        payload_bits,
        rates.from_ms[i:j],
        rates.bits_per_ms[i:j],
        rates.sent_bits[i:j],
        rates.period_ms[link],
    )


@compiled
def rounded_gain(costs: Costs, case: int, option: int, latency_ms: float) -> Any:
    """Gain of answering a task through ``option`` after ``latency_ms`` above that of dropping, a multiple of 2^-32."""
    time_weight, late_gain, fade = costs.gain_terms
    gain = task_gain(costs.worth[case, option], latency_ms, costs.deadline_ms[case], time_weight, late_gain, fade)
    return np.rint((gain - late_gain) * GAIN_STEPS) / GAIN_STEPS


@allocating
def alone_gains(arrival_ms: FloatArray, stream: IntArray, case: IntArray, costs: Costs, rates: Rates) -> FloatArray:
    """(N,): the best gain of each task above dropping it if it had every resource for itself."""
    best = np.zeros(len(arrival_ms))
    for k in range(len(arrival_ms)):
        c, now_ms = case[k], arrival_ms[k]
        for j in range(costs.options[c]):
            edge = costs.ways.edge[c, j]
            link, rtt_ms = costs.ways.link[edge, stream[k]], costs.ways.rtt_ms[edge]
            end_ms = now_ms + costs.device_ms[c, j]
            if end_ms - now_ms > costs.limit_ms[c, j]:
                continue
            if costs.payload_bits[c, j] > 0:
                _, _, end_ms = offload_ends(
                    end_ms, 0.0, 0.0, costs.payload_bits[c, j], costs.edge_ms[c, j], rtt_ms, send, rates, link
                )
            if end_ms - now_ms <= costs.limit_ms[c, j]:
                best[k] = max(best[k], rounded_gain(costs, c, j, end_ms - now_ms))
    return best


@allocating
def evaluate(instance: Instance, option: IntArray) -> Any:
    """Replay a plan in grant order: mean gain, and the plan (N,) in which every expired option became DROP."""
    costs, rates, tasks = instance
    n = len(tasks.arrival_ms)
    device_ms, uplink_ms, edge_ms = np.zeros(costs.streams), np.zeros(costs.links), np.zeros(costs.workers)
    executed = np.full(n, DROP)
    total = 0.0
    time_weight, late_gain, fade = costs.gain_terms
    for k in range(n):
        m, c, j, now_ms = tasks.stream[k], tasks.case[k], option[k], tasks.arrival_ms[k]
        link = 0 if costs.links == 1 else m
        gain = late_gain
        if j >= 0:
            computed_ms = stage_end(now_ms, device_ms[m], costs.device_ms[c, j])
            answer_ms, sent_ms, edge_end_ms = computed_ms, 0.0, 0.0
            worker = np.argmin(edge_ms)
            if costs.payload_bits[c, j] > 0:
                sent_ms, edge_end_ms, answer_ms = offload_ends(
                    computed_ms, uplink_ms[link], edge_ms[worker], costs.payload_bits[c, j], costs.edge_ms[c, j],
                    costs.rtt_ms, send, rates, link,
                )  # fmt: skip
            if answer_ms - now_ms <= costs.limit_ms[c, j]:
                executed[k] = j
                device_ms[m] = computed_ms
                if costs.payload_bits[c, j] > 0:
                    uplink_ms[link] = sent_ms
                    edge_ms[worker] = edge_end_ms
                gain = task_gain(
                    costs.worth[c, j], answer_ms - now_ms, costs.deadline_ms[c], time_weight, late_gain, fade
                )
        total += gain
    return total / max(n, 1), executed
