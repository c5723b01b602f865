"""Whom an edge takes when more is asked of it than it can do: the only copy, of the runtime's edge and the simulator's.

Serving by deadline alone does not help then. Tasks that have time fill the queue to its brim, and an urgent one that
comes later would make one of them late. So in overload some leave room: they are taken only while little is before
them. These are long tasks, as the most are in time when the shortest are served (Moore, "An n job, one machine
sequencing algorithm for minimizing the number of late jobs", 1968), and those of devices that have asked for much more
than others. Who leaves no room finds it: nobody has to give way late.

Work is in ms, loads in ms of work that comes per ms. ``load`` and ``at_ms`` (BUCKETS,) are the work offered lately in
tasks by their length, each as of its own moment.
"""

from __future__ import annotations

import math
from typing import Any

from hasten.core.estimators import FORECAST_MEMORY_MS, faded
from hasten.core.jit import jitable

BUCKETS, PER_OCTAVE, SHORTEST_MS = 32, 2, 0.0625
"""Lengths of tasks are told apart by half octaves, from a sixteenth of a ms to four seconds."""
OVERLOAD = 1.2
"""So many times what the workers can do is more than a moment's coincidence."""
ROOM = 0.25
"""Who is to leave room is taken while the work before it needs no more than this part of the time that it can wait."""
UNFAIR = 1.5
"""A device is unfair when it has asked for so many times as much as another, or as devices do on average."""
HEAVY = 0.1
"""A device that has asked for less than this share of all is not greedy."""
MODEST, EVEN, GREEDY = range(3)
"""How a device stands among the others."""
EARLY = 0.5
"""A task gives way before this part of its time is over: later its device could not do much else."""


@jitable
def bucket_of(work_ms: float) -> int:
    """Among which tasks one of so much work is counted."""
    octaves = math.log2(max(work_ms, SHORTEST_MS) / SHORTEST_MS)
    return int(min(PER_OCTAVE * octaves, BUCKETS - 1.0))


@jitable
def note_offer(load: Any, at_ms: Any, work_ms: float, now_ms: float) -> None:
    """A task of so much work has come, which could be in time if it began at once; both arrays are changed."""
    bucket = bucket_of(work_ms)
    load[bucket] = faded(load[bucket], now_ms - at_ms[bucket]) + work_ms / FORECAST_MEMORY_MS
    at_ms[bucket] = now_ms


@jitable
def offered(load: Any, at_ms: Any, buckets: int, now_ms: float) -> float:
    """The load that tasks in the first so many buckets bring."""
    found = 0.0
    for bucket in range(buckets):
        found += faded(load[bucket], now_ms - at_ms[bucket])
    return found


@jitable
def standing(asked_ms: float, most_ms: float, all_ms: float, devices: int) -> int:
    """How a device stands among those that have lately sent something: MODEST, EVEN or GREEDY.

    It has asked for ``asked_ms`` with the task that it sends, the one that has asked for most for ``most_ms`` (0: this
    is the one), and all for ``all_ms``. Nobody is greedy who has asked for little of all: with many devices, of which
    each sends something now and then, chance makes large differences.
    """
    much_ms = HEAVY * all_ms
    if most_ms >= max(UNFAIR * asked_ms, much_ms):
        return MODEST
    return GREEDY if asked_ms >= much_ms and asked_ms > UNFAIR * all_ms / devices else EVEN


@jitable
def room_share(load: Any, at_ms: Any, work_ms: float, now_ms: float, workers: int, stands: int) -> float:
    """Which part of the time that a task of ``work_ms`` can wait the work before it may take up."""
    enough = OVERLOAD * workers
    if stands == MODEST or offered(load, at_ms, BUCKETS, now_ms) <= enough:
        return 1.0
    leaves = stands == GREEDY or offered(load, at_ms, bucket_of(work_ms) + 1, now_ms) > enough
    return ROOM if leaves else 1.0


@jitable
def may_give_way(arrived_ms: float, latest_ms: float, now_ms: float) -> bool:
    """Whether a task that waits is told early enough that it is not served."""
    return now_ms - arrived_ms <= EARLY * (latest_ms - arrived_ms)
