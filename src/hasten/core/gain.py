"""Gain: what one task is worth when it is answered through some exit after some time.

``on_time_accuracy`` (default): the option's accuracy when on time, else 0; its mean is the expected share of arriving
tasks answered correctly before their deadline. ``tradeoff`` also pays for time, ``soft`` lets the worth fade after
the deadline. All are non-increasing in latency, which the offline solver's dominance needs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from hasten.core.files import Factor, Record, Weight
from hasten.core.jit import jitable, select
from hasten.core.timing import ON_TIME_TOLERANCE_MS


class GainTerms(NamedTuple):
    """The numbers of a gain: see :func:`task_gain`. In files it is a list of three numbers in this order."""

    time_weight: float
    """What a latency of a whole deadline takes off."""
    late_gain: float
    """Gain of a task that is late or dropped."""
    fade: float
    """Share of the deadline, after it, over which the worth falls to 0."""


PLAIN_ACCURACY = GainTerms(0.0, 0.0, 0.0)
"""The terms of ``on_time_accuracy``."""


class OnTimeAccuracy(Record):
    """Accuracy when on time, else 0."""

    kind: Literal["on_time_accuracy"] = "on_time_accuracy"
    energy_weight_per_mj: Weight = 0.0

    def terms(self) -> GainTerms:
        """The gain's numbers: see :func:`task_gain`."""
        return PLAIN_ACCURACY


class Tradeoff(Record):
    """Accuracy minus ``time_weight`` times the used share of the deadline when on time, else minus ``late_cost``."""

    kind: Literal["tradeoff"]
    time_weight: Annotated[Weight, Field(alias="lambda")] = 0.2
    late_cost: Annotated[Weight, Field(alias="rho")] = 0.0
    energy_weight_per_mj: Weight = 0.0

    def terms(self) -> GainTerms:
        """The gain's numbers: see :func:`task_gain`."""
        return GainTerms(self.time_weight, -self.late_cost, 0.0)


class Soft(Record):
    """Accuracy, fading linearly to 0 between the deadline and ``1 + fade`` times the deadline."""

    kind: Literal["soft"]
    fade: Annotated[Factor, Field(alias="kappa")] = 0.5
    energy_weight_per_mj: Weight = 0.0

    def terms(self) -> GainTerms:
        """The gain's numbers: see :func:`task_gain`."""
        return GainTerms(0.0, 0.0, self.fade)


Gain = Annotated[OnTimeAccuracy | Tradeoff | Soft, Field(discriminator="kind")]


@jitable
def useful_until_ms(deadline_ms: Any, fade: float) -> Any:
    """Latency beyond which a task is worth no more than a dropped one: such an option is expired and not run."""
    return deadline_ms * (1.0 + fade)


@jitable
def task_gain(worth: Any, latency_ms: Any, deadline_ms: Any, time_weight: float, late_gain: float, fade: float) -> Any:
    """Gain of a task answered after ``latency_ms``; ``worth`` is its option's accuracy (less weighted energy).

    On time: ``worth - time_weight * latency / deadline``. Between the deadline and its fade: ``worth`` falling
    linearly. Later, or dropped (infinite latency): ``late_gain``. Elementwise.
    """
    share = np.minimum(latency_ms / deadline_ms, 1.0 + fade)
    fading = 1.0 if fade == 0.0 else np.minimum(1.0, (1.0 + fade - share) / max(fade, 1e-12))
    useful = latency_ms <= useful_until_ms(deadline_ms, fade) + ON_TIME_TOLERANCE_MS
    return select(useful, worth * fading - time_weight * np.minimum(share, 1.0), late_gain)
