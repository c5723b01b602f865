"""What a policy is trained for: a range of scenarios around a given one, and realizations drawn from it.

Rates and arrival rates differ from run to run, deadlines and the number of streams from batch to batch. A run's
arrivals and link rates are fixed by its realization, so that runs of different rates can be simulated in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.rates import BITS_PER_MS_PER_MBPS
from hasten.core.scenario import Realization, Scenario, scenario_from
from hasten.schedulers.policy import Envelope

Range = tuple[float, float]
MOST_STREAMS = 1000


@dataclass(frozen=True)
class Domain:
    """Ranges (lowest, highest) to draw scenarios from; those that are factors apply to the given scenario."""

    uplink_rate: Range = (0.5, 4.0)
    """Factor on the uplink's rate."""
    arrival_rate: Range = (1 / 3, 8 / 3)
    """Factor on the arrival rate of all streams."""
    deadline: Range = (0.75, 2.0)
    """Factor on all deadlines."""
    streams: tuple[int, int] | None = None
    """Number of streams; None for that of the scenario."""

    def __post_init__(self) -> None:
        for name in ("uplink_rate", "arrival_rate", "deadline"):
            low, high = getattr(self, name)
            if not 0 < low <= high < np.inf:
                raise InputError("domain", name, (low, high), "two positive numbers, lowest first")
        if self.streams is not None and not 1 <= self.streams[0] <= self.streams[1] <= MOST_STREAMS:
            raise InputError("domain", "streams", self.streams, f"two numbers from 1 to {MOST_STREAMS}, lowest first")

    def streams_of(self, scenario: Scenario) -> tuple[int, int]:
        """Lowest and highest number of streams."""
        if self.streams is None:
            return len(scenario.devices), len(scenario.devices)
        if self.streams[0] < len(scenario.streams):
            expected = f"at least {len(scenario.streams)}, one for each kind of stream in the scenario"
            raise InputError("domain", "streams", self.streams, expected)
        return self.streams


FIXED = Domain(uplink_rate=(1.0, 1.0), arrival_rate=(1.0, 1.0), deadline=(1.0, 1.0))
"""The given scenario and no other."""


@dataclass(frozen=True)
class Runs:
    """Runs of one batch: realizations that may have rates of their own, with the scenario they are simulated in."""

    scenario: Scenario
    realizations: tuple[Realization, ...]


def draw_runs(
    scenario: Scenario, domain: Domain, rng: np.random.Generator, runs: int, tasks: int, streams: int | None = None
) -> Runs:
    """Draw ``runs`` runs of about ``tasks`` tasks each, all of the same deadlines and number of streams.

    Factors are drawn log-uniformly and independently; ``streams`` overrides the domain's number of streams.
    """
    low, high = domain.streams_of(scenario)
    count = streams if streams is not None else int(rng.integers(low, high + 1))
    deadline = _factor(rng, domain.deadline)
    tasks_per_stream = max(tasks // count, 2)
    nominal = changed(scenario, 1.0, 1.0, deadline, count, tasks_per_stream)
    realizations = []
    for _ in range(runs):
        rates = _factor(rng, domain.uplink_rate), _factor(rng, domain.arrival_rate)
        own = changed(scenario, *rates, deadline, count, tasks_per_stream)
        realizations.append(own.realize(int(rng.integers(2**31))))
    return Runs(nominal, tuple(realizations))


def in_grant_order(runs: Runs) -> Runs:
    """The same runs with uplink and edge serving in order of decisions."""
    uplink = runs.scenario.uplink.model_copy(update={"order": "grant"})
    return Runs(runs.scenario.model_copy(update={"uplink": uplink}), runs.realizations)


def changed(
    scenario: Scenario, uplink_rate: float, arrival_rate: float, deadline: float, streams: int, tasks_per_stream: int
) -> Scenario:
    """The scenario with these factors, this many streams (its kinds in turn) and this length."""
    kinds = scenario.streams
    data = scenario.model_dump(by_alias=True)
    data["streams"] = []
    for i, kind in enumerate(kinds):
        stream = kind.model_dump()
        stream["count"] = len(range(i, streams, len(kinds)))
        stream["deadline_ms"] *= deadline
        stream["arrivals"] = _scaled_arrivals(stream["arrivals"], arrival_rate)
        data["streams"].append(stream)
    data["uplink"]["rate"] = _scaled_rate(data["uplink"]["rate"], uplink_rate)
    data["tasks_per_stream"], data["horizon_ms"] = tasks_per_stream, None
    folder = scenario.folder
    return scenario_from(data, Path(folder) / "training" if folder is not None else "training")


def envelope_of(scenario: Scenario, domain: Domain) -> Envelope:
    """The ranges that the domain covers, as a policy file states them."""
    options, context = scenario.options, scenario.context(np.zeros(1, dtype=np.int64))
    mbps = np.concatenate([trace.bits_per_ms for trace in scenario.realize(0).rates]) / BITS_PER_MS_PER_MBPS
    device_ms = np.where(np.isfinite(options.device_ms), options.device_ms, 0.0).max(axis=1)
    return Envelope(
        rate_mbps=_scaled_range(mbps, domain.uplink_rate),
        rate_hz=_scaled_range(context.rate_hz, domain.arrival_rate),
        deadline_ms=_scaled_range(context.deadline_ms, domain.deadline),
        streams=domain.streams_of(scenario),
        device_ms=_scaled_range(device_ms, (1.0, 1.0)),
        edge_ms=_scaled_range(options.edge_ms.max(axis=1), (1.0, 1.0)),
    )


def _factor(rng: np.random.Generator, bounds: Range) -> float:
    """A log-uniform draw."""
    low, high = np.log(bounds)
    return float(np.exp(rng.uniform(low, high)))


def _scaled_range(values: NDArray[np.float64], factor: Range) -> Range:
    return float(values.min() * factor[0]), float(values.max() * factor[1])


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
