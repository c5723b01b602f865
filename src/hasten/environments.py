"""The Gymnasium ids of hasten. Registering loads no environment: the entry points are names."""

from __future__ import annotations

import gymnasium

OFFLOAD = "hasten/Offload-v0"


def register() -> None:
    """Make the ids known to Gymnasium; safe to call again (worker processes do)."""
    if OFFLOAD not in gymnasium.registry:
        gymnasium.register(
            OFFLOAD,
            entry_point="hasten.sim.env:OffloadEnv",
            vector_entry_point="hasten.sim.env:OffloadVectorEnv",
        )
