"""A plan as a schedule that small changes are tried on, in compiled code (``offline.search.neighbours``).

Where uplink and edge serve in one order: by decision, or by readiness on a shared uplink. No task of a schedule is
late, so what a change gains is known at once, and only whether it keeps all others on time has to be found out: along
its streams until their devices are free as before, and along the tasks served after it until uplink and edge are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.options import DROP
from hasten.offline.instance import Instance

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_CHANGES = 3
"""Decisions changed at once."""
MOST_AFFECTED = 256
"""Tasks whose device times a change may move."""
MOST_FOLLOWED = 4096
"""Tasks that a change is followed through uplink and edge; one that goes on for longer is given up."""


class Schedule(NamedTuple):
    """Decisions on N tasks and what becomes of them; index N is both ends of the list of sent tasks."""

    option: IntArray
    """(N,)"""
    gain: FloatArray
    """(N,): above that of dropping."""
    device_ms: FloatArray
    """(N + 1,): when the stream's device is free after the task."""
    previous: IntArray
    """(N,): the stream's task before, -1 without one."""
    after: IntArray
    """(N + 1,): the list of sent tasks in order of service."""
    before: IntArray
    listed: NDArray[np.bool_]
    """(N + 1,)"""
    state_ms: FloatArray
    """(N + 1, L + W): when links and workers (ascending) are free after a sent task."""


class Trial(NamedTuple):
    """A change that is being tried."""

    task: IntArray
    """(MOST_CHANGES,): tasks to decide anew, and in ``to`` how."""
    to: IntArray
    number: IntArray
    """(1,): counts trials."""
    work: IntArray
    """(1,): counts tasks followed, through devices or through uplink and edge, and trials."""
    moved_in: IntArray
    """(N + 1,): the trial that last moved a task; its negative for a task whose decision it is yet to change."""
    option: IntArray
    """(N,): likewise ``device_ms`` and ``gain``, valid for tasks that this trial moved."""
    device_ms: FloatArray
    gain: FloatArray
    moved: IntArray
    entry: IntArray
    """Moved tasks that are sent, in order of service."""
    served: IntArray
    """Tasks followed through uplink and edge, in order, with the state behind each (in row + 1) and their gains."""
    state_ms: FloatArray
    served_gain: FloatArray
    length: IntArray
    """(4,): number of moved, of entries, of served tasks; and the listed task behind which they begin."""


def new_schedule(instance: Instance) -> Schedule:
    """A schedule in which everything is dropped."""
    n, width = len(instance.tasks.arrival_ms), instance.costs.links + instance.costs.workers
    previous = np.full(n + 1, -1)
    previous[instance.tasks.following] = np.arange(n)
    return Schedule(
        option=np.full(n, DROP),
        gain=np.zeros(n),
        device_ms=np.zeros(n + 1),
        previous=previous[:n].copy(),
        after=np.full(n + 1, n),
        before=np.full(n + 1, n),
        listed=np.zeros(n + 1, np.bool_),
        state_ms=np.zeros((n + 1, width)),
    )


def new_trial(instance: Instance) -> Trial:
    """Working memory for trials."""
    n, width = len(instance.tasks.arrival_ms), instance.costs.links + instance.costs.workers
    return Trial(
        task=np.zeros(MOST_CHANGES, np.int64),
        to=np.zeros(MOST_CHANGES, np.int64),
        number=np.zeros(1, np.int64),
        work=np.zeros(1, np.int64),
        moved_in=np.zeros(n + 1, np.int64),
        option=np.zeros(n, np.int64),
        device_ms=np.zeros(n),
        gain=np.zeros(n),
        moved=np.zeros(MOST_AFFECTED, np.int64),
        entry=np.zeros(MOST_AFFECTED, np.int64),
        served=np.zeros(MOST_FOLLOWED, np.int64),
        state_ms=np.zeros((MOST_FOLLOWED + 1, width)),
        served_gain=np.zeros(MOST_FOLLOWED),
        length=np.zeros(4, np.int64),
    )
