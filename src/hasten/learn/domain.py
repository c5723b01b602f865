"""What a policy is trained for: a range of scenarios around a given one, and realizations drawn from it.

Rates and arrival rates differ from run to run, deadlines, speeds of the edge and the number of streams from batch to
batch. A run's arrivals and link rates are fixed by its realization, so that runs of different rates can be simulated in
one batch. Half of the runs with Poisson arrivals come in bursts, and half of those on a constant link get one that
varies: neither tasks nor radio links are as even in the field as in most scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.core.rates import BITS_PER_MS_PER_MBPS
from hasten.core.scenario import Realization, Scenario
from hasten.learn.change import BURST_SHARE, Change, calm_rate, changed
from hasten.learn.interruption import check_interrupt
from hasten.policies.manifest import TrainingRange

Range = tuple[float, float]
MOST_STREAMS = 1000
BURST_MS: Range = (200.0, 2000.0)
LINK_MEMORY: Range = (0.8, 0.99)
LEAST_SHARE = 0.05
"""Of the lowest rates that a training range states for links that vary and for tasks in bursts."""
EVEN_SHARE = 0.5
"""Share of runs without bursts, and of those without variation of the link."""


@dataclass(frozen=True)
class Domain:
    """Ranges (lowest, highest) to draw scenarios from; those that are factors apply to the given scenario."""

    uplink_rate: Range = (0.5, 4.0)
    """Factor on the uplink's rate."""
    arrival_rate: Range = (1 / 3, 8 / 3)
    """Factor on the arrival rate of all streams."""
    deadline: Range = (0.75, 2.0)
    """Factor on all deadlines."""
    edge_time: Range = (0.5, 2.0)
    """Factor on all edge times."""
    burst: Range = (1.0, 4.0)
    """Arrival rate within bursts as a multiple of the mean, where arrivals are Poisson; up to 5."""
    link_variation: Range = (0.0, 0.6)
    """Standard deviation of the uplink's rate as a share of its mean, where the rate is constant."""
    streams: tuple[int, int] | None = None
    """Number of streams; None for that of the scenario."""

    def __post_init__(self) -> None:
        for name in ("uplink_rate", "arrival_rate", "deadline", "edge_time"):
            low, high = getattr(self, name)
            if not 0 < low <= high < np.inf:
                raise InputError("domain", name, (low, high), "two positive numbers, lowest first")
        for name, least, most in (("burst", 1.0, 1.0 / BURST_SHARE), ("link_variation", 0.0, 1.0)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError("domain", name, (low, high), f"two numbers from {least:g} to {most:g}, lowest first")
        if self.streams is not None and not 1 <= self.streams[0] <= self.streams[1] <= MOST_STREAMS:
            raise InputError("domain", "streams", self.streams, f"two numbers from 1 to {MOST_STREAMS}, lowest first")

    def at_its_middle(self) -> Domain:
        """The same with the scenario's own deadlines and edge times, or the nearest there are."""
        deadline, edge_time = float(np.clip(1.0, *self.deadline)), float(np.clip(1.0, *self.edge_time))
        return replace(self, deadline=(deadline, deadline), edge_time=(edge_time, edge_time))

    def of_deadlines(self, part: int, parts: int) -> Domain:
        """The same with only one of so many equal parts of its deadlines, on a logarithmic scale, shortest first."""
        ends = np.geomspace(*self.deadline, parts + 1)
        return replace(self, deadline=(float(ends[part]), float(ends[part + 1])))

    def streams_of(self, scenario: Scenario) -> tuple[int, int]:
        """Lowest and highest number of streams."""
        if self.streams is None:
            return len(scenario.devices), len(scenario.devices)
        if self.streams[0] < len(scenario.streams):
            expected = f"at least {len(scenario.streams)}, one for each kind of stream in the scenario"
            raise InputError("domain", "streams", self.streams, expected)
        return self.streams

    def few_middle_many(self, scenario: Scenario) -> list[int]:
        """Lowest, a middle and highest number of streams, each once."""
        low, high = self.streams_of(scenario)
        return sorted({low, (low + high) // 2, high})


FIXED = Domain(
    uplink_rate=(1.0, 1.0),
    arrival_rate=(1.0, 1.0),
    deadline=(1.0, 1.0),
    edge_time=(1.0, 1.0),
    burst=(1.0, 1.0),
    link_variation=(0.0, 0.0),
)
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
    check_interrupt()
    low, high = domain.streams_of(scenario)
    count = streams if streams is not None else int(rng.integers(low, high + 1))
    tasks_per_stream = max(tasks // count, 2)
    shared = Change(deadline=_factor(rng, domain.deadline), edge_time=_factor(rng, domain.edge_time))
    realizations = []
    for _ in range(runs):
        own = changed(scenario, _drawn(domain, rng, shared), count, tasks_per_stream)
        realizations.append(own.realize(int(rng.integers(2**31))))
    return Runs(changed(scenario, shared, count, tasks_per_stream), tuple(realizations))


def _drawn(domain: Domain, rng: np.random.Generator, shared: Change) -> Change:
    """What a run has of its own, in addition to what is shared by its batch."""
    change = replace(
        shared, uplink_rate=_factor(rng, domain.uplink_rate), arrival_rate=_factor(rng, domain.arrival_rate)
    )
    if domain.burst[1] > 1.0 and rng.random() >= EVEN_SHARE:
        change = replace(change, burst=_factor(rng, domain.burst), burst_ms=_factor(rng, BURST_MS))
    if domain.link_variation[1] > 0.0 and rng.random() >= EVEN_SHARE:
        variation, memory = float(rng.uniform(*domain.link_variation)), float(rng.uniform(*LINK_MEMORY))
        change = replace(change, link_variation=variation, link_memory=memory)
    return change


def in_grant_order(runs: Runs) -> Runs:
    """The same runs with uplink and edge serving in order of decisions."""
    scenario = runs.scenario
    uplink = scenario.uplink.model_copy(update={"order": "grant"})
    edges = scenario.edges and tuple(
        way.model_copy(update={"uplink": way.uplink.model_copy(update={"order": "grant"})}) for way in scenario.edges
    )
    return Runs(scenario.model_copy(update={"uplink": uplink, "edges": edges}), runs.realizations)


def training_range_of(scenario: Scenario, domain: Domain) -> TrainingRange:
    """The ranges that the domain covers, as a policy file states them."""
    options, context = scenario.options, scenario.context(np.zeros(1, dtype=np.int64))
    mbps = np.concatenate([trace.bits_per_ms for trace in scenario.realize(0).rates]) / BITS_PER_MS_PER_MBPS
    device_ms = np.where(np.isfinite(options.device_ms), options.device_ms, 0.0).max(axis=1)
    varies = any(way.uplink.rate.kind == "constant" for way in scenario.every_edge)
    bursts = all(stream.arrivals.kind == "poisson" for stream in scenario.streams)
    spread = 2.0 * domain.link_variation[1] if varies else 0.0
    burst = domain.burst[1] if bursts else 1.0
    return TrainingRange(
        rate_mbps=_widened(_scaled_range(mbps, domain.uplink_rate), max(1.0 - spread, LEAST_SHARE), 1.0 + spread),
        rate_hz=_widened(
            _scaled_range(context.rate_hz, domain.arrival_rate), max(calm_rate(burst), LEAST_SHARE), burst
        ),
        deadline_ms=_scaled_range(context.deadline_ms, domain.deadline),
        streams=domain.streams_of(scenario),
        device_ms=_scaled_range(device_ms, (1.0, 1.0)),
        edge_ms=_scaled_range(options.edge_ms.max(axis=1), domain.edge_time),
    )


def _factor(rng: np.random.Generator, bounds: Range) -> float:
    """A log-uniform draw."""
    low, high = np.log(bounds)
    return float(np.exp(rng.uniform(low, high)))


def _scaled_range(values: NDArray[np.float64], factor: Range) -> Range:
    return float(values.min() * factor[0]), float(values.max() * factor[1])


def _widened(values: Range, lower: float, upper: float) -> Range:
    return lower * values[0], upper * values[1]
