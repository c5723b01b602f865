"""What an agent is told about its stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hasten.core.arrivals import Arrivals
from hasten.core.errors import InputError
from hasten.core.gain import PLAIN_ACCURACY, GainTerms


@dataclass(frozen=True)
class AgentSettings:
    """What an agent is told about its stream; the rest it measures or hears from the edge."""

    deadline_ms: float
    rate_hz: float
    """Nominal arrival rate, for schedulers that plan with it."""
    slowdown: float = 1.0
    """This device plays a machine so many times slower."""
    gain_terms: GainTerms = PLAIN_ACCURACY
    energy_weight_per_mj: float = 0.0
    seed: int = 0
    stream: int = 0
    streams: int = 1
    shared_uplink: bool = True
    arrivals: Arrivals | None = None
    """The arrival process, where it is known."""
    uplink_bits_per_ms: float | None = None
    """The link's rate, where it is known never to change."""
    wants_outputs: bool = False
    """Whether the edge is to send a classifier's logits, too, beside class and confidence."""

    def __post_init__(self) -> None:
        if not self.slowdown >= 1.0:
            raise InputError("device", "slowdown", self.slowdown, "at least 1 (a machine cannot be made faster)")
        if not 0 < self.deadline_ms < math.inf:
            raise InputError("device", "deadline_ms", self.deadline_ms, "a number above 0")
