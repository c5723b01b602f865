"""A scenario made another one: other rates, deadlines and speeds, tasks in bursts, a link that varies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hasten.core.scenario import Scenario, scenario_from

BURST_SHARE = 0.2
"""Share of time within bursts."""
LINK_STEP_MS = 100.0
MOST_LINK_STEPS = 20_000
"""Of a run: where tasks are so rare that there would be more, steps are longer."""


@dataclass(frozen=True)
class Change:
    """How a run differs from the given scenario: the factors and numbers of :class:`Domain`, drawn.

    Those of an uplink and an edge are of all of them, where devices choose among several.
    """

    uplink_rate: float = 1.0
    arrival_rate: float = 1.0
    deadline: float = 1.0
    edge_time: float = 1.0
    burst: float = 1.0
    burst_ms: float = 500.0
    """Mean length of a burst."""
    link_variation: float = 0.0
    link_memory: float = 0.9
    """How much of a deviation is left after ``LINK_STEP_MS``."""


def changed(scenario: Scenario, change: Change, streams: int, tasks_per_stream: int) -> Scenario:
    """The scenario with this change, this many streams (its kinds in turn) and this length.

    Streams of explicit times have no more tasks than they have times; then all streams end at one time.
    """
    kinds = scenario.streams
    data = scenario.model_dump(by_alias=True)
    data["streams"] = []
    for i, kind in enumerate(kinds):
        stream = kind.model_dump()
        stream["count"] = len(range(i, streams, len(kinds)))
        stream["deadline_ms"] *= change.deadline
        stream["arrivals"] = _in_bursts(_scaled_arrivals(stream["arrivals"], change.arrival_rate), change)
        if stream["arrivals"]["kind"] == "explicit":
            stream["arrivals"]["times_ms"] = stream["arrivals"]["times_ms"][:tasks_per_stream]
        data["streams"].append(stream)
    step_ms = _link_step_ms(scenario, tasks_per_stream)
    for way in data.get("edges", [data]):
        way["uplink"]["rate"] = _varying(_scaled_rate(way["uplink"]["rate"], change.uplink_rate), change, step_ms)
        way["edge"]["slowdown"] *= change.edge_time
    horizon_ms = _horizon_ms(scenario, data["streams"], change.arrival_rate, tasks_per_stream)
    data["tasks_per_stream"], data["horizon_ms"] = (tasks_per_stream if horizon_ms is None else None), horizon_ms
    folder = scenario.folder
    return scenario_from(data, Path(folder) / "training" if folder is not None else "training")


def calm_rate(burst: float) -> float:
    """Arrival rate between bursts as a multiple of the mean."""
    return max((1.0 - BURST_SHARE * burst) / (1.0 - BURST_SHARE), 0.0)


def _in_bursts(arrivals: dict[str, Any], change: Change) -> dict[str, Any]:
    """Poisson arrivals, as plain data, with the same mean rate in bursts."""
    if arrivals["kind"] != "poisson" or change.burst == 1.0:
        return arrivals
    rate_hz = arrivals["rate_hz"]
    return {
        "kind": "mmpp",
        "rates_hz": [change.burst * rate_hz, calm_rate(change.burst) * rate_hz],
        "dwell_ms": [change.burst_ms, change.burst_ms * (1.0 - BURST_SHARE) / BURST_SHARE],
    }


def _horizon_ms(scenario: Scenario, streams: list[dict[str, Any]], factor: float, tasks: int) -> float | None:
    """When a run ends of which some stream has not that many times; None if all have ``tasks`` tasks each.

    When the fastest of the streams that are drawn has them; without such, just after the last of the given times.
    """
    given = [stream["arrivals"]["times_ms"] for stream in streams if stream["arrivals"]["kind"] == "explicit"]
    if all(len(times_ms) >= tasks for times_ms in given):
        return None
    drawn = [kind.arrivals for kind in scenario.streams if kind.arrivals.kind != "explicit"]
    if drawn:
        return 1000.0 * tasks / (factor * max(arrivals.mean_rate_hz(scenario.folder) for arrivals in drawn))
    return math.nextafter(max((times_ms[-1] for times_ms in given if times_ms), default=0.0), math.inf)


def _link_step_ms(scenario: Scenario, tasks_per_stream: int) -> float:
    slowest_hz = min(kind.arrivals.mean_rate_hz(scenario.folder) for kind in scenario.streams)
    return max(LINK_STEP_MS, 1000.0 * tasks_per_stream / (slowest_hz * MOST_LINK_STEPS))


def _varying(rate: dict[str, Any], change: Change, step_ms: float) -> dict[str, Any]:
    """A constant rate, as plain data, that varies around it."""
    if rate["kind"] != "constant" or change.link_variation == 0.0 or rate["mbps"] == 0.0:
        return rate
    return {
        "kind": "gauss_markov",
        "mean_mbps": rate["mbps"],
        "sigma_mbps": change.link_variation * rate["mbps"],
        "memory": change.link_memory,
        "step_ms": step_ms,
    }


def _scaled_arrivals(arrivals: dict[str, Any], factor: float) -> dict[str, Any]:
    """An arrival process, as plain data, made ``factor`` times as fast."""
    match arrivals["kind"]:
        case "poisson" | "periodic":
            return arrivals | {"rate_hz": factor * arrivals["rate_hz"]}
        case "mmpp":
            return arrivals | {"rates_hz": [factor * rate for rate in arrivals["rates_hz"]]}
        case "explicit":
            return arrivals | {"times_ms": [time_ms / factor for time_ms in arrivals["times_ms"]]}
        case _:
            return arrivals | {"speedup": factor * arrivals["speedup"]}


def _scaled_rate(rate: dict[str, Any], factor: float) -> dict[str, Any]:
    """A rate process, as plain data, made ``factor`` times as fast."""
    names = {"constant": ["mbps"], "gauss_markov": ["mean_mbps", "sigma_mbps"], "trace": ["scale"]}[rate["kind"]]
    return rate | {name: factor * rate[name] for name in names}
