"""What is due in a row, compiled: a heap of times, soonest first, equal ones in the order in which they were set."""

from __future__ import annotations

from hasten.core.compiled import compiled
from hasten.sim.arrays import FloatArray, IntArray
from hasten.sim.beliefs import EVENTS, EVENTS_EVER

DECIDED, JOB_END, JOB_DONE, AT_EDGE_NOW, EDGE_END, LAST_START, BACK, LOOK_NOW, LAST_WORD, OVERDUE, TICK, PING, PONG = (
    range(13)
)
"""Kinds of events."""
INDEX_BITS, KIND_BITS = 25, 4
"""An index is a task's number in its run, at most ``core.arrivals.MAX_TASKS``; or a worker's, a stream's, a ping's."""
INDICES, KINDS = 1 << INDEX_BITS, 1 << KIND_BITS


@compiled
def push(event_ms: FloatArray, event: IntArray, served: IntArray, due_ms: float, kind: int, index: int) -> None:
    """Note that something is due; what is due at infinity never is."""
    if not due_ms < float("inf"):
        return
    code = (served[EVENTS_EVER] << (INDEX_BITS + KIND_BITS)) | (kind << INDEX_BITS) | index
    at = served[EVENTS]
    served[EVENTS_EVER] += 1
    served[EVENTS] += 1
    while at > 0:
        above = (at - 1) >> 1
        if event_ms[above] <= due_ms:  # it was set before
            break
        event_ms[at], event[at] = event_ms[above], event[above]
        at = above
    event_ms[at], event[at] = due_ms, code


@compiled
def pop(event_ms: FloatArray, event: IntArray, served: IntArray) -> int:
    """Take out the soonest; returns its kind and index as ``kind << INDEX_BITS | index``."""
    found = event[0] & ((KINDS << INDEX_BITS) - 1)
    served[EVENTS] -= 1
    count = served[EVENTS]
    last_ms, last = event_ms[count], event[count]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        right = below + 1
        if right < count and (
            event_ms[right] < event_ms[below] or (event_ms[right] == event_ms[below] and event[right] < event[below])
        ):
            below = right
        if last_ms < event_ms[below] or (last_ms == event_ms[below] and last < event[below]):
            break
        event_ms[at], event[at] = event_ms[below], event[below]
        at = below
    event_ms[at], event[at] = last_ms, last
    return int(found)
