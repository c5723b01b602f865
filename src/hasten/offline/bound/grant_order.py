"""Ordering multipliers for grant order: transfers over a shared uplink start in the order of arrivals.

Dual prices alone let a tensor that is ready at once pass one that was granted earlier but is still computed. Here each
transfer also pays a multiplier that depends on its task and on the block of time in which it starts. Any order that is
possible assigns tasks to blocks that never go back, and collects at most what the best such assignment collects: a
longest path, found by dynamic programming over tasks and blocks. The streams' values with multipliers plus that longest
path bound every schedule, for any multipliers (Lagrangian decomposition: Guignard and Kim, Mathematical Programming
1987).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating
from hasten.offline.bound.grid import Grid
from hasten.offline.bound.kernels import NOT_SENT

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LATER, START, SKIP = 0, 1, 2


class GrantOrder:
    """The longest path through multipliers on one grid. They are (Q, blocks), the grid's order of tasks."""

    def __init__(self, grid: Grid, block_cells: int, blocks: int) -> None:
        self.block_cells = block_cells
        self.blocks = blocks
        self._place = np.empty(len(grid.order), dtype=np.int64)
        self._place[grid.order] = np.arange(len(grid.order))
        self.first_block = (grid.arrival // block_cells)[self._place]
        """(N,): block of each task's arrival, tasks in order of arrival."""
        self.collected = np.zeros((len(grid.order) + 1, self.blocks))
        """(N + 1, blocks): the most that tasks from this on collect from that block on, counted from its arrival's."""
        self._move = np.empty((len(grid.order), self.blocks), dtype=np.int8)

    def longest(self, multiplier: FloatArray) -> tuple[float, IntArray]:
        """The most that any order collects, and the block (Q,) in which each task then starts, or NOT_SENT."""
        start_block = np.full(len(self._place), NOT_SENT, dtype=np.int64)
        total = _longest(multiplier, self._place, self.first_block, self.collected, self._move, start_block)
        return float(total), start_block


@allocating
def _longest(
    multiplier: FloatArray,
    place: IntArray,
    first_block: IntArray,
    collected: FloatArray,
    move: Any,
    start_block: IntArray,
) -> Any:
    """Fill ``collected`` from the last task to the first, then follow the best moves."""
    n, blocks = len(place), collected.shape[1]
    for k in range(n - 1, -1, -1):
        ahead = first_block[k + 1] - first_block[k] if k + 1 < n else 0
        for t in range(blocks - 1, -1, -1):
            best = collected[k + 1, max(t - ahead, 0)]
            move[k, t] = SKIP
            if multiplier[place[k], t] > 0.0:
                best += multiplier[place[k], t]
                move[k, t] = START
            if t + 1 < blocks and collected[k, t + 1] >= best:
                best = collected[k, t + 1]
                move[k, t] = LATER
            collected[k, t] = best
    t = 0
    for k in range(n):
        if k > 0:
            t = max(t - (first_block[k] - first_block[k - 1]), 0)
        while move[k, t] == LATER:
            t += 1
        if move[k, t] == START:
            start_block[place[k]] = t
    return collected[0, 0] if n else 0.0
