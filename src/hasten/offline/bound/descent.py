"""What a search for dual prices and ordering multipliers is made of: subgradient steps, blocks of time, a working set.

Each number follows its subgradient with a step size of its own, as in Adam (Kingma and Ba, ICLR 2015), projected to be
non-negative, with steps that shrink geometrically: blocks interact only within a few deadlines, so each behaves like a
small problem of its own, for which one common step would be wrong. Of the last iterates a moving average is taken
(Polyak and Juditsky, 1992), as each of them swings around the optimum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating
from hasten.offline.bound.grid import Grid
from hasten.offline.bound.kernels import NO_OPTION
from hasten.offline.time_limit import TimeLimit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOMENTUM = 0.9
SCALE_MEMORY = 0.99
AVERAGE_MEMORY = 0.9
WHOLE_FIRST = 30
"""So many rounds try all options."""
WHOLE_EVERY = 5
"""After them one round in so many does; the others try the working set."""
WORKING_SET_ROUNDS = 60
"""The working set holds what was best in one of so many last rounds."""
LONG_AGO = -(10**9)


class Iterate(NamedTuple):
    """Numbers on their way down, each (n,), and what each knows of its subgradients."""

    now: FloatArray
    mean: FloatArray
    drift: FloatArray
    """Mean of its subgradients, the late ones weighing most."""
    scale: FloatArray
    """Mean of their squares, likewise."""


class Descent:
    """Non-negative numbers that follow a subgradient, and their moving average."""

    def __init__(self, start: FloatArray, least_scale: float) -> None:
        self.now, self.mean = np.array(start, order="C"), np.array(start, order="C")
        drift, scale = np.zeros(start.size), np.zeros(start.size)
        self._iterate = Iterate(self.now.reshape(-1), self.mean.reshape(-1), drift, scale)
        self._least_scale = least_scale
        self._steps = 0

    def step(self, subgradient: FloatArray, size: float) -> None:
        """Raise what is wanted too much, by about ``size``."""
        self._steps += 1
        memory = min(AVERAGE_MEMORY, 1.0 - 1.0 / self._steps)
        size /= 1.0 - MOMENTUM**self._steps
        unbiased = 1.0 / (1.0 - SCALE_MEMORY**self._steps)
        _step(self._iterate, subgradient.reshape(-1), size, unbiased, self._least_scale, memory)


@allocating
def _step(
    iterate: Iterate, subgradient: FloatArray, size: float, unbiased: float, least_scale: float, memory: float
) -> None:
    """One step in place; compiled, as it would otherwise be a dozen passes over long arrays."""
    now, mean, drift, scale = iterate
    for i in range(len(now)):
        drift[i] = MOMENTUM * drift[i] + (1.0 - MOMENTUM) * subgradient[i]
        scale[i] = SCALE_MEMORY * scale[i] + (1.0 - SCALE_MEMORY) * subgradient[i] * subgradient[i]
        now[i] = max(now[i] + size * drift[i] / (np.sqrt(scale[i] * unbiased) + least_scale), 0.0)
        mean[i] = memory * mean[i] + (1.0 - memory) * now[i]


class Blocks:
    """``count`` blocks of ``size`` cells and the way between prices per ms of blocks and those per cell of cells."""

    def __init__(self, grid: Grid, size: int, count: int) -> None:
        self._grid = grid
        self._size = size
        self._count = count
        length = np.clip(grid.cells - size * np.arange(count), 0, size)
        self._capacity = np.vstack([np.tile(length, (grid.links, 1)), grid.workers * length])
        """(links + 1, blocks): cells of service that each link, and in the last row the edge, can give."""

    def spread(self, price: FloatArray) -> tuple[FloatArray, FloatArray]:
        """From blocks (links + 1, count) to the cells of links (links, T) and edge (T,)."""
        per_cell = self._grid.cell_ms * np.repeat(price, self._size, axis=1)[:, : self._grid.cells]
        return per_cell[:-1], per_cell[-1]

    def gather(self, link_price: FloatArray, edge_price: FloatArray) -> FloatArray:
        """(links + 1, count): what :meth:`spread` spreads to these prices of links (links, T) and edge (T,)."""
        first = np.minimum(self._size * np.arange(self._count), self._grid.cells - 1)
        per_ms: FloatArray = np.vstack([link_price, edge_price])[:, first] / self._grid.cell_ms
        return per_ms

    def subgradient(self, link_use: FloatArray, edge_use: FloatArray) -> FloatArray:
        """(links + 1, count): time used beyond capacity, in ms; (links, T) and (T,) of each cell are used."""
        padded = np.zeros((len(self._capacity), self._count * self._size))
        padded[:-1, : self._grid.cells] = link_use
        padded[-1, : self._grid.cells] = edge_use
        used = padded.reshape(len(padded), self._count, self._size).sum(axis=2)
        beyond_ms: FloatArray = self._grid.cell_ms * (used - self._capacity)
        return beyond_ms


class WorkingSet:
    """The options that were each task's best in one of the last rounds that tried all of them.

    A task soon takes one of a few options whatever the prices do. Most rounds try only those: what they find is no
    bound, but nearly always the same subgradient.
    """

    def __init__(self, grid: Grid) -> None:
        self._last: IntArray = np.full((len(grid.order), grid.device.shape[1]), LONG_AGO, dtype=np.int64)
        """(Q, J): the last of these rounds in which an option was taken."""

    def note(self, option: IntArray, now: int) -> None:
        """Round ``now`` tried all options and each task (Q,) took ``option``, or NO_OPTION."""
        took = np.flatnonzero(option != NO_OPTION)
        self._last[took, option[took]] = now

    def options(self, now: int) -> NDArray[np.bool_]:
        """(Q, J): the options to try in round ``now``."""
        recent: NDArray[np.bool_] = self._last >= now - WORKING_SET_ROUNDS
        return recent


def share_done(finished: int, rounds: int, limit: TimeLimit, since_s: float) -> float:
    """Share of the rounds that is done, or of the time since ``limit`` had spent ``since_s``, if that is more."""
    used_s = limit.spent_s - since_s
    in_time = used_s / max(used_s + limit.left_s, 1e-9) if np.isfinite(limit.left_s) else 0.0
    return max(finished / rounds, in_time)


def tries_all(now: int) -> bool:
    """Whether round ``now`` tries all options."""
    return now < WHOLE_FIRST or now % WHOLE_EVERY == 0
