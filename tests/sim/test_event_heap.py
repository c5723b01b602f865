"""The heap of what is due: every index that a run can have goes in and comes out."""

from __future__ import annotations

import numpy as np

from hasten.core.arrivals import MAX_TASKS
from hasten.core.compiled import compiled
from hasten.sim.event_heap import INDEX_BITS, INDICES, JOB_END, PONG, pop, push


@compiled
def through(event_ms, event, served, kind, index):
    push(event_ms, event, served, 1.0, kind, index)
    return pop(event_ms, event, served)


def test_the_last_task_of_the_longest_run_is_itself():
    assert MAX_TASKS <= INDICES
    for kind in (JOB_END, PONG):
        for index in (0, 1 << 24, MAX_TASKS - 1):
            found = through(np.zeros(4), np.zeros(4, np.int64), np.zeros(8, np.int64), kind, index)
            assert (found >> INDEX_BITS, found & (INDICES - 1)) == (kind, index)
