"""What is given to the environments, checked: scenarios, seeds, actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.errors import InputError
from hasten.core.limits import MAX_SEED
from hasten.core.scenario import Scenario, load_scenario, scenario_from
from hasten.sim.arrays import IntArray

DEFAULT_SCENARIO: dict[str, Any] = {
    "schema": "hasten.scenario/1",
    "streams": [
        {
            "name": "cam",
            "count": 3,
            "profile": "alexnet-pi",
            "deadline_ms": 80,
            "arrivals": {"kind": "poisson", "rate_hz": 15},
        }
    ],
    "uplink": {"rate": {"kind": "constant", "mbps": 10}},
    "tasks_per_stream": 200,
}
"""Played when no scenario is given: three cameras with AlexNet on a shared uplink."""

ScenarioLike = Scenario | dict[str, Any] | str | Path | None


def scenario_of(scenario: ScenarioLike) -> Scenario:
    """The scenario that is meant; the default without one."""
    if scenario is None:
        return scenario_from(DEFAULT_SCENARIO)
    if isinstance(scenario, Scenario):
        return scenario
    return scenario_from(scenario) if isinstance(scenario, dict) else load_scenario(scenario)


def checked_number(field: str, value: object, most: int) -> int:
    """A whole number from 1 to ``most``; :class:`InputError` names ``field``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise InputError("environment", field, value, f"a whole number from 1 to {most}")
    return int(value)


def checked_episodes(episodes: int | None) -> int | None:
    """How many different episodes; None for no limit."""
    return None if episodes is None else checked_number("episodes", episodes, MAX_SEED)


def chosen_seed(options: dict[str, Any] | None) -> Any:
    """The realization, or those, that ``reset`` is asked for."""
    for key in options or ():
        if key != "seed":
            raise InputError("reset", f"options.{key}", (options or {})[key], "no option but 'seed'")
    return (options or {}).get("seed")


def single_action(action: object) -> int:
    """An action that came as something else than a number."""
    actions = integers("action", action)
    if actions.size != 1:
        raise InputError("step", "action", action, "one whole number")
    return int(actions.item())


def integers(field: str, actions: object) -> IntArray:
    """Actions that came as something else than an array of integers."""
    try:
        found = np.asarray(actions)
    except ValueError:
        found = np.zeros(0)
    if found.dtype.kind not in "iu":
        raise InputError("step", field, actions, "whole numbers")
    return found.astype(np.int64)
