"""Conveniences of the Python API that combine parts: simulation of a scheduler given by name or as an object."""

from __future__ import annotations

from collections.abc import Sequence

from hasten.core.decision import Scheduler
from hasten.core.errors import InputError
from hasten.core.limits import check_seed
from hasten.core.progress import shown
from hasten.core.results import Result
from hasten.core.scenario import Scenario, check_scenario
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations


def simulate(scenario: Scenario, scheduler: Scheduler | str, seed: int = 0) -> Result:
    """Simulate one realization of a scenario under a scheduler, given as an object or by name.

    Decisions in the result are as executed: a task that the expired-task rule dropped is (0, 0).

    Raises:
        InputError: no scenario (a path, say), no scheduler, or no seed.

    Examples:
        >>> import hasten as hs
        >>> result = hs.simulate(hs.load_scenario("examples/three-cameras.yaml"), "greedy")  # doctest: +SKIP
        >>> round(result.on_time_accuracy, 3)  # doctest: +SKIP
        0.734
    """
    return simulate_batch(scenario, scheduler, [seed])[0]


def simulate_batch(scenario: Scenario, scheduler: Scheduler | str, seeds: Sequence[int]) -> list[Result]:
    """Simulate one realization for each seed, all at once; bit for bit what single runs give.

    The scheduler is reset once, for a batch of ``len(seeds)`` rows. The arrays of the views that it gets are valid
    until its next decision.

    Raises:
        InputError: no scenario (a path, say), no scheduler, or no seed.
    """
    check_scenario(scenario, "simulate")
    for seed in seeds:
        check_seed(seed, "simulate")
    if isinstance(scheduler, str):
        scheduler = make_scheduler(scheduler)
    elif not isinstance(scheduler, Scheduler):
        raise InputError(
            "simulate", "scheduler", scheduler, "a name such as 'greedy', or an object with name, reset and decide"
        )
    what = f"simulating {scheduler.name}"
    with shown(what) as tell:
        realizations = [scenario.realize(seed) for seed in seeds]
        return simulate_realizations(scenario, scheduler, realizations, lambda done: tell(what, done))
