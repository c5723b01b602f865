"""What devices will hear of their frames, compiled: noted as soon as it is certain, heard when its time has come.

Only for views of devices. Frames are tasks with a payload, counted within their row; each is in three lists: those of
its stream without an answer, those that its link has carried, and those that the edge has had, in order of service.
"""

from __future__ import annotations

import numpy as np

from hasten.core.compiled import compiled
from hasten.sim.arrays import NOBODY, FloatArray
from hasten.sim.beliefs import (
    ARRIVED_MS,
    AT_EDGE_MS,
    BACK_MS,
    BEGUN_MS,
    DUE_MS,
    FIRST,
    FREE_MS,
    IS_SENT,
    JOINED_MS,
    LAST,
    LEFT_EDGE_MS,
    LEFT_LINK_MS,
    NEXT_AT_EDGE,
    NEXT_ON_LINK,
    NEXT_OWN,
    OVERTAKEN,
    StreamBeliefs,
)
from hasten.sim.world import Lane


@compiled
def trace_frame(lane: Lane, k: int, stream: int, beliefs: StreamBeliefs) -> None:
    """A frame was decided on."""
    slot = lane.first_slot + k
    frame, mark, count = beliefs.frame[slot], beliefs.mark[slot], beliefs.counts[lane.row, stream]
    frame[DUE_MS], frame[BACK_MS], frame[AT_EDGE_MS] = np.inf, np.inf, 0.0
    mark[IS_SENT], mark[OVERTAKEN] = 0, 0
    mark[NEXT_OWN], mark[NEXT_ON_LINK], mark[NEXT_AT_EDGE] = NOBODY, NOBODY, NOBODY
    if count[FIRST] == NOBODY:
        count[FIRST] = k
    else:
        beliefs.mark[lane.first_slot + count[LAST], NEXT_OWN] = k
    count[LAST] = k


@compiled
def trace_link(lane: Lane, k: int, link: int, joined_ms: float, left_ms: float, beliefs: StreamBeliefs) -> None:
    """A link carries a frame, whose turn was certain from ``joined_ms`` on, until ``left_ms``."""
    slot = lane.first_slot + k
    beliefs.frame[slot, JOINED_MS], beliefs.frame[slot, LEFT_LINK_MS] = joined_ms, left_ms
    ends = beliefs.ends[lane.row, link]
    if ends[0] == NOBODY:
        ends[0] = k
    else:
        beliefs.mark[lane.first_slot + ends[1], NEXT_ON_LINK] = k
    ends[1] = k


@compiled
def trace_edge(
    lane: Lane, k: int, times_ms: tuple[float, float, float, float], worker_free_ms: FloatArray, beliefs: StreamBeliefs
) -> None:
    """The edge has a frame, and after it its workers (W,) are free.

    The times are when it arrives, when a worker begins (NaN: it is too late), when its answer leaves, and when that is
    back.
    """
    arrive_ms, begin_ms, end_ms, back_ms = times_ms
    there_ms = arrive_ms
    slot = lane.first_slot + k
    ends = beliefs.ends[lane.row, beliefs.ends.shape[1] - 1]
    if ends[0] == NOBODY:
        ends[0] = k
    else:
        before = lane.first_slot + ends[1]
        beliefs.mark[before, NEXT_AT_EDGE] = k
        # Where the edge serves in order of decisions, a frame waits for all before it.
        there_ms = max(arrive_ms, beliefs.frame[before, ARRIVED_MS])
    ends[1] = k
    frame = beliefs.frame[slot]
    frame[ARRIVED_MS], frame[LEFT_EDGE_MS], frame[BACK_MS] = there_ms, end_ms, back_ms
    frame[AT_EDGE_MS], frame[BEGUN_MS] = end_ms - arrive_ms, begin_ms
    for worker in range(len(worker_free_ms)):
        frame[FREE_MS + worker] = worker_free_ms[worker]
