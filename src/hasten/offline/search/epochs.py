"""Decision epochs of a service order: when tasks could become ready, and what is still to be gained at each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.core.timing import stage_start
from hasten.offline.bound.bounds import Relaxation
from hasten.offline.bound.decomposition import DualPrices
from hasten.offline.instance import Instance
from hasten.offline.search.heuristic import Heuristic, value_to_go

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WAITING = 0.2
"""A millisecond that uplink or a worker is free later counts as at least this share of a task's worth per deadline."""
CHANCE = 0.25
"""A chance to decide on a task that another label no longer has counts as at least this share of a task's worth."""
NEVER = -1e9
"""Worth of epochs that do not exist."""
MOST_WORTHS = 1e8
"""No more worths of epochs than this are kept at once."""


class DecisionEpochs(NamedTuple):
    """When tasks become ready: options of a case by device time, of which there are G at most."""

    stage_ms: FloatArray
    """(K, G): device times, ascending; infinity beyond the last one."""
    limit_ms: FloatArray
    """(K, G): the latest useful latency of an option with this device time."""
    group: IntArray
    """(K, J): which of these an option has, or -1 if it is not usable."""
    case: IntArray
    """(Q,): row of the costs; tasks by stream, then by arrival."""
    arrival_ms: FloatArray
    """(Q,)"""
    task: IntArray
    """(Q,): their index in order of arrival."""
    worth: NDArray[np.float32]
    """(Q, G, C): the most a stream can gain from a task on at the prices, if the task is taken through an option of
    this or a longer device time, by the device's backlog in ``stride`` cells."""
    stride: int
    least_gain: float
    """Least worth of an epoch that has not passed, likewise."""
    least_price: float
    """Least price of a millisecond of uplink or edge for telling whether a label is dominated: where load is light the
    heuristic's prices are nothing, yet it matters who has to wait."""


def decision_epochs(
    instance: Instance, heuristic: Heuristic, relaxation: Relaxation, prices: DualPrices
) -> DecisionEpochs:
    """Lay out the device times of all streams and what they are worth at the prices."""
    costs, _, tasks = instance
    cases, options = costs.device_ms.shape
    stages = [np.unique(costs.device_ms[c, heuristic.usable[c]]) for c in range(cases)]
    stage_ms = np.full((cases, max(1, *(len(stage) for stage in stages))), np.inf)
    limit_ms = np.zeros(stage_ms.shape)
    group = np.full((cases, options), -1)
    for c, stage in enumerate(stages):
        usable = heuristic.usable[c]
        stage_ms[c, : len(stage)] = stage
        group[c] = np.where(usable, np.searchsorted(stage, costs.device_ms[c]), -1)
        np.maximum.at(limit_ms[c], group[c, usable], costs.limit_ms[c, usable])
    task = np.empty(len(heuristic.place), dtype=np.int64)
    task[heuristic.place] = np.arange(len(task))
    width = heuristic.values.shape[1]
    cells = max(1, min(width, int(MOST_WORTHS / max(len(task) * stage_ms.shape[1], 1))))
    worth = np.full((len(task), stage_ms.shape[1], cells), NEVER, dtype=np.float32)
    relaxation.worth_by_stage(prices.link, prices.edge, heuristic.values, group, worth)
    most = float(np.max(costs.worth[heuristic.usable], initial=0.0))
    least_price = WAITING * most / float(costs.deadline_ms.min())
    return DecisionEpochs(
        stage_ms, limit_ms, group, tasks.case[task], tasks.arrival_ms[task], task, worth, -(-width // cells),
        CHANCE * most, least_price,
    )  # fmt: skip


class Standing(NamedTuple):
    """Where a stream stands."""

    at: int
    group: int
    kept: bool
    ahead: float
    next_ms: float


@compiled
def standing(
    instance: Instance,
    heuristic: Heuristic,
    epochs: DecisionEpochs,
    m: int,
    at: int,
    free_ms: float,
    group: int,
    kept: bool,
    now_ms: float,
) -> Any:
    """A :class:`Standing`: where stream ``m`` stands at ``now_ms`` if epochs before that have passed."""
    end = heuristic.stream_end[m]
    stages = epochs.stage_ms.shape[1]
    while at < end:
        arrival_ms, c = epochs.arrival_ms[at], epochs.case[at]
        base_ms = stage_start(arrival_ms, free_ms)
        while group < stages and base_ms + epochs.stage_ms[c, group] < now_ms:
            group += 1
        if group < stages and base_ms + epochs.stage_ms[c, group] <= arrival_ms + epochs.limit_ms[c, group]:
            cell = int(base_ms / heuristic.cell_ms) - heuristic.origin_cell - heuristic.first_cell[at]
            worth = epochs.worth[at, group, min(max(cell, 0) // epochs.stride, epochs.worth.shape[2] - 1)]
            next_ms = base_ms + epochs.stage_ms[c, group]
            dropped = value_to_go(heuristic, m, at + 1, max(free_ms, now_ms) if kept else free_ms)
            if not kept and at + 1 < end:
                next_ms = min(next_ms, max(max(epochs.arrival_ms[at + 1], free_ms), now_ms))
            return at, group, kept, max(worth, dropped), next_ms
        at, group, kept = at + 1, 0, False
    return at, 0, False, 0.0, np.inf
