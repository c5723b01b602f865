"""What simulated edges know of batches (``core.edge_batches``), as the kernels read it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.edge_batches import BY_ITSELF, WINDOW, BatchTimes, Waiting
from hasten.core.options import OptionTable
from hasten.core.profile import Profile, batching
from hasten.core.scenario import Scenario

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Batches(NamedTuple):
    """Kinds of tasks that the edge may run at once, and room to lay tasks and W workers out."""

    kind: IntArray
    """(M, J): of each option; (0, 0) where the edge serves tasks one by one."""
    times: BatchTimes
    waiting: Waiting
    busy_ms: FloatArray
    """(W,)"""
    room_ms: FloatArray
    """(2, W)"""


def no_batches(workers: int) -> Batches:
    """Of an edge that serves tasks one by one."""
    return Batches(
        kind=np.zeros((0, 0), dtype=np.int64),
        times=BatchTimes(np.ones((0, 1), dtype=np.int64), np.ones((0, 1))),
        waiting=Waiting(
            np.zeros(WINDOW + 1), np.zeros(WINDOW + 1), np.zeros(WINDOW + 1, np.int64), np.zeros(WINDOW + 1, np.bool_)
        ),
        busy_ms=np.zeros(workers),
        room_ms=np.zeros((2, workers)),
    )


def pack_batches(scenario: Scenario, options: OptionTable) -> Batches:
    """What a scenario's edge may run at once; tasks of the same cut and exit of equal profiles are alike."""
    none = no_batches(sum(way.edge.workers for way in scenario.every_edge))
    if scenario.edge.batch == 1:
        return none
    kind = np.full(options.exit.shape, BY_ITSELF)
    profiles = {id(stream.profile): stream.profile for stream in scenario.devices}  # thousands of streams may be alike
    batches = {profile: batching(profile, scenario.edge.batch).edge_batches or () for profile in profiles.values()}
    rows = [(profile, it) for profile, own in batches.items() for it in own]
    numbers: dict[Profile, dict[tuple[int, int], int]] = {profile: {} for profile in batches}
    for i, (profile, it) in enumerate(rows):
        numbers[profile][it.exit, it.partition] = i
    of_profile = {key: numbers[profile] for key, profile in profiles.items()}
    for m, stream in enumerate(scenario.devices):
        own = of_profile[id(stream.profile)]
        for j in range(int(options.count[m])):
            kind[m, j] = own.get((int(options.exit[m, j]), int(options.partition[m, j])), BY_ITSELF)
    most = max((len(it.sizes) for _, it in rows), default=1)
    sizes = [it.sizes + it.sizes[-1:] * (most - len(it.sizes)) for _, it in rows]
    factors = [[ms / it.ms[0] for ms in it.ms + it.ms[-1:] * (most - len(it.ms))] for _, it in rows]
    times = BatchTimes(np.array(sizes).reshape(-1, most), np.array(factors).reshape(-1, most))
    return none._replace(kind=kind, times=times)
