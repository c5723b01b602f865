"""What environments keep for their pictures: what each row was shown last, and what it decided last."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.sim.arrays import IntArray
from hasten.sim.fleet import Fleet
from hasten.sim.picture import Decided, Picture, Scene, draw

RENDER_MODES = ["rgb_array"]


class DrawnRows:
    """The pictures of N rows that a fleet plays."""

    def __init__(self, fleet: Fleet, rows: int) -> None:
        self._fleet = fleet
        self._observation: NDArray[np.float32] | None = None
        self._last: list[Decided | None] = [None] * rows
        self._streams: list[int] = []

    def begun(self, rows: IntArray, observation: NDArray[np.float32]) -> None:
        """These rows have begun an episode; ``observation`` (N, F) is that of all."""
        self._observation = observation.copy()
        for row in rows:
            self._last[row] = None

    def deciding(self) -> None:
        """Called before a step: whose tasks it decides."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("reset() comes before step()")
        self._streams = [self._fleet.at(row)[1] for row in range(len(self._last))]

    def decided(self, actions: IntArray, reward: NDArray[Any], observation: NDArray[np.float32]) -> None:
        """Called after a step: its actions (N,), rewards (N,) and new observation (N, F)."""
        self._observation = observation.copy()
        table = self._fleet.options
        for row, (stream, action) in enumerate(zip(self._streams, actions.tolist(), strict=True)):
            chosen = action < table.exit.shape[1]
            pair = (int(table.exit[stream, action]), int(table.partition[stream, action])) if chosen else (0, 0)
            self._last[row] = Decided(stream, *pair, float(reward[row]))

    def pictures(self) -> tuple[Picture, ...]:
        """One of each row."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("reset() comes before render()")
        mask, options = self._fleet.mask, self._fleet.options
        return tuple(
            draw(Scene(*self._fleet.at(row), self._observation[row], mask[row], options), last)
            for row, last in enumerate(self._last)
        )


def rows_drawn(render_mode: str | None, fleet: Fleet, rows: int) -> DrawnRows | None:
    """What the mode needs: nothing without one."""
    if render_mode not in (None, *RENDER_MODES):
        raise InputError("environment", "render_mode", render_mode, "None or 'rgb_array'")
    return None if render_mode is None else DrawnRows(fleet, rows)
