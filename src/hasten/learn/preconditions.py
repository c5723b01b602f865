"""What would make a training pointless, found before it begins."""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, EdgeView, FloatArray, View, unloaded_latency, useful_limit_ms
from hasten.core.errors import InputError
from hasten.core.gain import task_gain
from hasten.core.options import OptionTable
from hasten.core.rates import BITS_PER_MS_PER_MBPS, ConstantRate, GaussMarkovRate, Rate
from hasten.core.scenario import Scenario
from hasten.learn.change import Change, changed
from hasten.learn.domain import Domain

TASKS = 16
"""Of a stream in the run that is looked at."""
DEVIATIONS = 4.0
"""A rate that varies is taken to reach so many standard deviations above its mean."""


def check_trainable(scenario: Scenario, domain: Domain) -> None:
    """Refuse scenarios in which there is nothing to learn, wherever in the domain.

    Raises:
        InputError: no task arrives; or none could be on time, or gain anything, even alone on idle machines.
    """
    _check_tasks(scenario)
    best = changed(
        scenario,
        Change(uplink_rate=domain.uplink_rate[1], deadline=domain.deadline[1], edge_time=domain.edge_time[0]),
        domain.streams_of(scenario)[0],
        TASKS,
    )
    realization = best.realize(0)
    if realization.tasks < 2:
        raise InputError(scenario.name, "streams.arrivals", f"{realization.tasks} tasks", "at least two in a run")
    peak = max(float(trace.bits_per_ms.max()) for trace in realization.rates)
    _check_gain(scenario, best, max(peak, _highest_mbps(best, domain) * BITS_PER_MS_PER_MBPS))


def _check_tasks(scenario: Scenario) -> None:
    """The scenario's own length says nothing about that of the runs to train on, but one of no tasks is a mistake."""
    if scenario.tasks_per_stream == 0:
        raise InputError(scenario.name, "tasks_per_stream", 0, "at least 1 task")
    if scenario.horizon_ms is not None:
        folder = scenario.folder
        per_ms = sum(stream.spec.arrivals.mean_rate_hz(folder) for stream in scenario.devices) / 1000.0
        if per_ms * scenario.horizon_ms < 1.0:
            expected = f"a horizon in which tasks arrive (so far {per_ms * scenario.horizon_ms:.3g} on average)"
            raise InputError(scenario.name, "horizon_ms", scenario.horizon_ms, expected)


def _highest_mbps(scenario: Scenario, domain: Domain) -> float:
    """What an uplink may reach where its rate is drawn; 0 for recordings, of which the realization has it all."""
    return max(_highest_of(way.uplink.rate, domain) for way in scenario.every_edge)


def _highest_of(rate: Rate, domain: Domain) -> float:
    match rate:
        case ConstantRate(mbps=mbps):
            return mbps * (1.0 + DEVIATIONS * domain.link_variation[1])
        case GaussMarkovRate(mean_mbps=mean, sigma_mbps=sigma):
            return mean + DEVIATIONS * sigma
        case _:
            return 0.0


def _check_gain(scenario: Scenario, best: Scenario, bits_per_ms: float) -> None:
    """At least one option of one stream must be worth more than dropping the task in the ``best`` case."""
    context = best.context(np.zeros(1, dtype=np.int64))
    table, _ = context.options.undominated()
    latency_ms = unloaded_latency(context, _idle(best, context, bits_per_ms), table)
    dropping = context.gain_terms.late_gain
    if (_gain(context, table, latency_ms) > dropping).any():
        return
    if (latency_ms <= useful_limit_ms(context)[:, None]).any():
        raise InputError(scenario.name, "gain", scenario.gain.kind, "one by which some option gains more than dropping")
    fastest_ms, mbps = float(latency_ms.min()), bits_per_ms / BITS_PER_MS_PER_MBPS
    expected = (
        f"a longer one: with at most {float(context.deadline_ms.max()):.4g} ms in training nothing can be on time, as "
        f"the fastest option takes {fastest_ms:.4g} ms alone on idle machines at {mbps:.4g} Mbit/s"
    )
    raise InputError(scenario.name, "deadline_ms", float(scenario.deadlines_ms.max()), expected)


def _gain(context: Context, table: OptionTable, latency_ms: FloatArray) -> FloatArray:
    """(M, J)"""
    there = np.arange(table.worth.shape[1]) < table.count[:, None]
    gain = task_gain(table.worth, latency_ms, context.deadline_ms[:, None], *context.gain_terms)
    return np.where(there, gain, -np.inf)


def _idle(scenario: Scenario, context: Context, bits_per_ms: float) -> View:
    """One decision of each stream, with every resource free."""
    streams = len(context.deadline_ms)
    nothing, rate = np.zeros(streams), np.full(streams, bits_per_ms)
    further = scenario.every_edge[1:]
    return View(
        row=np.zeros(streams, dtype=np.int64),
        now_ms=nothing,
        stream=np.arange(streams),
        device_wait_ms=nothing,
        uplink_wait_ms=nothing,
        edge_wait_ms=np.zeros((streams, context.workers)),
        rate_bits_per_ms=rate,
        others_wait_ms=np.zeros((streams, streams)),
        further_edges=tuple(
            EdgeView(nothing, nothing[:, None], rate, np.full_like(rate, way.uplink.rtt_ms)) for way in further
        ),
    )
