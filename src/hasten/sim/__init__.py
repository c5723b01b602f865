"""Event-driven simulator over batches of scenarios, and its Gymnasium environments.

``import hasten.sim`` makes ``hasten/Offload-v0`` known to Gymnasium; compiled code is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hasten.environments import register as register

if TYPE_CHECKING:
    from hasten.sim.engine import Replayer as Replayer
    from hasten.sim.engine import replay as replay
    from hasten.sim.engine import simulate_realizations as simulate_realizations
    from hasten.sim.env import OffloadEnv as OffloadEnv
    from hasten.sim.env import OffloadVectorEnv as OffloadVectorEnv

_HOMES = {
    "OffloadEnv": "hasten.sim.env",
    "OffloadVectorEnv": "hasten.sim.env",
    "Replayer": "hasten.sim.engine",
    "replay": "hasten.sim.engine",
    "simulate_realizations": "hasten.sim.engine",
}

__all__ = [*sorted(_HOMES), "register"]


def __getattr__(name: str) -> Any:
    """Load the home of a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hasten.sim' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


register()
