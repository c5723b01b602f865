"""How times spread about a profile's: what is measured, and what a scenario with ``noise: profile`` draws from it.

A profile tells medians. Its ``spread`` holds quantiles about them, body and tail, at :data:`SHARES`: of measured over
median service times for device and edge, and of what tasks took longer than ``task_ms`` and ``offload_ms``. A draw
inverts the distribution through them, linear in between; nothing beyond the largest is drawn. Draws are independent
from task to task: spells in which a whole machine is slow are not in them.

A machine that is played slower takes its multiple of the median, and longer only where the measured machine would by
itself (:func:`played`): a thousandth of a second that another program took does not become half of one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from hasten.core.files import Record

FloatArray = NDArray[np.float64]

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995, 1.0)
"""The probabilities of a spread's quantiles."""


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != len(SHARES):
        raise ValueError(f"{len(SHARES)} numbers, the quantiles at {', '.join(f'{share:g}' for share in SHARES)}")
    if any(after < before for before, after in pairwise(values)):
        raise ValueError("numbers that do not fall")
    return values


Ratio = Annotated[float, Field(gt=0, le=1000)]
ExtraMs = Annotated[float, Field(ge=0, le=1e6)]
Ratios = Annotated[tuple[Ratio, ...], AfterValidator(_ascending)]
Extras = Annotated[tuple[ExtraMs, ...], AfterValidator(_ascending)]


class TimeSpread(Record):
    """Quantiles of times about a profile's, at :data:`SHARES`; what was not measured is left out.

    ``device_ratio`` and ``edge_ratio`` are those of a service time over its median. ``local_extra_ms`` is what a task
    that stays on its device takes longer than its ``task_ms``, ``offload_extra_ms`` what an offloaded one takes longer
    than ``task_ms`` and ``offload_ms`` (0 where it takes less).
    """

    device_ratio: Ratios | None = None
    edge_ratio: Ratios | None = None
    local_extra_ms: Extras | None = None
    offload_extra_ms: Extras | None = None


STATED_RATIO = (0.92, 0.95, 0.98, 1.0, 1.03, 1.08, 1.25, 1.7, 2.5)
STATED_EXTRA_MS = (0.0, 0.0, 0.0, 0.0, 0.1, 0.3, 1.0, 3.0, 6.0)
STATED = TimeSpread(
    device_ratio=STATED_RATIO,
    edge_ratio=STATED_RATIO,
    local_extra_ms=STATED_EXTRA_MS,
    offload_extra_ms=STATED_EXTRA_MS,
)
"""Taken for what a profile does not tell: an idle machine that now and then does something else."""
PARTS = tuple(TimeSpread.model_fields)


def tell_stated(spreads: dict[str, TimeSpread | None]) -> None:
    """Say, once, which profiles (by name) do not tell all of their spread, so that the noise drawn is not theirs."""
    names = [name for name, it in spreads.items() if it is None or None in (getattr(it, part) for part in PARTS)]
    if names:
        _say(f"noise: profile: got no measured spread from {', '.join(sorted(names))}; the stated one is taken instead")


@cache
def _say(text: str) -> None:
    warnings.warn(text, stacklevel=6)


def quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """Quantiles of measured ``values`` at :data:`SHARES`."""
    return tuple(round(float(value), 4) for value in np.quantile(values, SHARES))


def played(ratio: FloatArray, slowdown: Any) -> FloatArray:
    """What the time of a machine played ``slowdown`` times slower is multiplied by; ``ratio`` is of the one measured.

    It takes the longer of ``slowdown`` x median and ratio x median, as ``runtime.pace.dilated`` has it. Without a
    slow-down the ratio itself.
    """
    return np.where(slowdown > 1.0, np.maximum(1.0, ratio / slowdown), ratio)


@dataclass(frozen=True)
class Noise:
    """How the times of N tasks turn out; every array is (N,) but that of the E edges."""

    device_factor: FloatArray
    """What the device's time is multiplied by, encoding included."""
    edge_factor: FloatArray
    """(N, E): what the edge's time is multiplied by, at each edge."""
    local_extra_ms: FloatArray
    """What the answer comes later if it is the device's; it occupies nothing."""
    offload_extra_ms: FloatArray
    """What the answer comes later if it is the edge's."""

    def part(self, tasks: slice | NDArray[np.intp]) -> Noise:
        """That of some of the tasks."""
        return Noise(
            self.device_factor[tasks], self.edge_factor[tasks], self.local_extra_ms[tasks], self.offload_extra_ms[tasks]
        )


def no_noise(tasks: int, edges: int = 1) -> Noise:
    """That of tasks whose times are exactly as profiled."""
    return Noise(np.ones(tasks), np.ones((tasks, edges)), np.zeros(tasks), np.zeros(tasks))


class NoisySource(NamedTuple):
    """A stream whose tasks' times spread."""

    spread: TimeSpread | None
    """Of its profile; what it does not tell is as in :data:`STATED`."""
    slowdown: float
    """Of its device."""
    tasks: int


def draw_noise(streams: Sequence[NoisySource], edge_slowdowns: Sequence[float], seed: int) -> Noise:
    """How the tasks of streams turn out, one stream behind the other; ``edge_slowdowns`` has (E,) edges.

    Each stream has a random stream of its own.
    """
    found: list[Noise] = []
    for m, stream in enumerate(streams):
        chances = np.random.default_rng([seed, 3, m]).random((len(PARTS), stream.tasks))
        known = stream.spread or STATED
        tables = [getattr(known, part) or getattr(STATED, part) for part in PARTS]
        drawn = [np.interp(u, SHARES, table) for u, table in zip(chances, tables, strict=True)]
        device, edge, local_ms, offload_ms = drawn
        at_edges = played(edge[:, None], np.asarray(edge_slowdowns))
        found.append(Noise(played(device, stream.slowdown), at_edges, local_ms, offload_ms))
    return Noise(*(np.concatenate([getattr(it, name) for it in found]) for name in Noise.__dataclass_fields__))
