"""Conveniences of the Python API that combine parts: schedulers by name where an object would do as well."""

from __future__ import annotations

from hasten.core.decision import Scheduler
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.schedulers import make_scheduler
from hasten.sim import simulate as simulate_with


def simulate(scenario: Scenario, scheduler: Scheduler | str, seed: int = 0) -> Result:
    """Simulate one realization of a scenario under a scheduler, given as an object or by name.

    Example:
        >>> import hasten as hs
        >>> hs.simulate(hs.load_scenario("examples/three-cameras.yaml"), "greedy").on_time_accuracy  # doctest: +SKIP
        0.69
    """
    return simulate_with(scenario, make_scheduler(scheduler) if isinstance(scheduler, str) else scheduler, seed)
