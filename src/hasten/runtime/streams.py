"""What a scenario tells the agent of each of its streams, and what of a scenario no runtime can play."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hasten.core.decision import can_choose_edge
from hasten.core.errors import InputError
from hasten.core.scenario import Scenario
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.wire.load import MAX_WORKERS
from hasten.schedulers import make_scheduler


def stream_settings(scenario: Scenario, seed: int, m: int) -> AgentSettings:
    """The settings of stream ``m``'s agent for one realization."""
    stream = scenario.devices[m]
    return AgentSettings(
        deadline_ms=stream.deadline_ms,
        rate_hz=stream.spec.arrivals.mean_rate_hz(scenario.folder),
        slowdown=stream.slowdown,
        gain_terms=scenario.gain.terms(),
        energy_weight_per_mj=scenario.gain.energy_weight_per_mj,
        seed=seed,
        stream=m,
        streams=len(scenario.devices),
        shared_uplink=scenario.uplink.topology == "shared",
        arrivals=stream.spec.arrivals,
        uplink_bits_per_ms=scenario.uplink.rate.constant_bits_per_ms(),
    )


def check_schedulers(scenario: Scenario, names: Sequence[str]) -> None:
    """Refuse with an :class:`InputError` unknown schedulers, and those that cannot choose among several edges."""
    for name in names:
        if not can_choose_edge(make_scheduler(name)):
            scenario.need_one_edge(f"scheduler {name}")


def machine_facts(scenario: Scenario) -> dict[str, int]:
    """How many devices there are, workers of all edges together, and edges, where there are several."""
    ways = scenario.every_edge
    facts = {"devices": len(scenario.devices), "workers": sum(way.edge.workers for way in ways)}
    return facts | ({"edges": len(ways)} if len(ways) > 1 else {})


def check_machines(scenario: Scenario) -> None:
    """Refuse with an :class:`InputError` machines that no device or edge of the runtime can play."""
    slowdowns = {f"streams ({stream.name}).slowdown": stream.slowdown for stream in scenario.devices}
    ways = {"" if scenario.edges is None else f"edges ({way.name}).": way.edge for way in scenario.every_edge}
    for key, value in {**{f"{key}edge.slowdown": edge.slowdown for key, edge in ways.items()}, **slowdowns}.items():
        if value < 1.0:
            raise InputError(scenario.name, key, value, "at least 1 for a real run (a machine cannot be made faster)")
    for key, edge in ways.items():
        if edge.workers > MAX_WORKERS:
            raise InputError(scenario.name, f"{key}edge.workers", edge.workers, f"at most {MAX_WORKERS} for a run")


def task_ms(scenario: Scenario) -> float:
    """The overhead of every task by the profiles: the mean over the streams, for one machine plays them all."""
    return float(np.mean([stream.profile.task_ms for stream in scenario.devices]))


def offload_ms(scenario: Scenario) -> float:
    """What an offloaded task costs on top, likewise."""
    return float(np.mean([stream.profile.offload_ms for stream in scenario.devices]))
