"""Conveniences of the Python API that combine parts: schedulers by name where an object would do as well."""

from __future__ import annotations

from hasten.core.decision import Scheduler
from hasten.core.errors import InputError
from hasten.core.limits import check_seed
from hasten.core.results import Result
from hasten.core.scenario import Scenario, check_scenario
from hasten.schedulers import make_scheduler
from hasten.sim import simulate as simulate_with


def simulate(scenario: Scenario, scheduler: Scheduler | str, seed: int = 0) -> Result:
    """Simulate one realization of a scenario under a scheduler, given as an object or by name.

    Raises:
        InputError: no scenario (a path, say), no scheduler, or no seed.

    Example:
        >>> import hasten as hs
        >>> hs.simulate(hs.load_scenario("examples/three-cameras.yaml"), "greedy").on_time_accuracy  # doctest: +SKIP
        0.69
    """
    check_scenario(scenario, "simulate")
    check_seed(seed, "simulate")
    if isinstance(scheduler, str):
        scheduler = make_scheduler(scheduler)
    elif not callable(getattr(scheduler, "decide", None)):
        raise InputError(
            "simulate", "scheduler", scheduler, "a name such as 'greedy', or an object with reset and decide"
        )
    return simulate_with(scenario, scheduler, seed)
