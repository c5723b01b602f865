"""Episodes drawn ahead: realizations laid out in arrays that compiled environments read, any number of times.

Not the queue but the random numbers are what an environment's step would cost most for, so they are drawn as whole
realizations, and kept as long as there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.scenario import Scenario
from hasten.sim.arrays import IntArray, Links, Tasks, pack_links, pack_tasks

ROOM_TASKS = 4_000_000
"""Beyond this many tasks in all (about 100 MB), episodes that are not being played are forgotten."""


class EpisodePool:
    """Realizations by seed; an episode is a row of ``tasks`` and ``links``."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.generation = 0
        self._clear()

    @property
    def tasks(self) -> Tasks:
        """The tasks of all episodes."""
        return Tasks(*(array.values for array in self._tasks))

    @property
    def links(self) -> Links:
        """The rate traces of all episodes."""
        return Links(*(array.values for array in self._links))

    def rows(self, seeds: Sequence[int], playing: Sequence[int]) -> IntArray:
        """The rows of episodes with these seeds, drawn where they are new.

        When old episodes have to make room, ``generation`` changes and so may the rows of the episodes in play, which
        have the seeds ``playing``.
        """
        missing = [seed for seed in dict.fromkeys(seeds) if seed not in self._row_of]
        if missing:
            if len(self.tasks.arrival_ms) > ROOM_TASKS:
                self._clear()
                self.generation += 1
                missing = list(dict.fromkeys([*playing, *seeds]))
            self._draw(missing)
        return np.array([self._row_of[seed] for seed in seeds], dtype=np.int64)

    def _clear(self) -> None:
        self._row_of: dict[int, int] = {}
        self._tasks = [_Growing() for _ in Tasks._fields]
        self._links = [_Growing() for _ in Links._fields]

    def _draw(self, seeds: Sequence[int]) -> None:
        realizations = [self._scenario.realize(seed) for seed in seeds]
        tasks, links = pack_tasks(realizations), pack_links(realizations)
        row, task, step = len(self._row_of), self._tasks[2].size, self._links[3].size
        tasks = tasks._replace(first=tasks.first + task)
        links = links._replace(begin=links.begin + step, end=links.end + step)
        for stored, new in zip(self._tasks + self._links, tasks + links, strict=True):
            stored.append(new)
        self._row_of.update({seed: row + i for i, seed in enumerate(seeds)})


class _Growing:
    """An array that grows at its end, in amortized constant time."""

    def __init__(self) -> None:
        self._room: NDArray[Any] | None = None
        self.size = 0

    @property
    def values(self) -> NDArray[Any]:
        """What was appended so far."""
        return np.zeros(0) if self._room is None else self._room[: self.size]

    def append(self, values: NDArray[Any]) -> None:
        """Put ``values`` at the end."""
        needed = self.size + len(values)
        if self._room is None or needed > len(self._room):
            grown = np.empty((max(needed, 2 * self.size), *values.shape[1:]), values.dtype)
            if self._room is not None:
                grown[: self.size] = self.values
            self._room = grown
        self._room[self.size : needed] = values
        self.size = needed
