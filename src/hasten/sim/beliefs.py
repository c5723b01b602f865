"""What simulated devices believe of link and edge, and the traces of their frames: arrays for ``view: {kind: device}``.

A stream's beliefs are a row of numbers, by the names below: few arrays cost little to hand over to a kernel. The law
that changes them is that of real devices, in ``core.estimators`` and ``core.ping_schedule``. With another kind of view
all of it is empty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.estimators import MOST_PINGS
from hasten.sim.arrays import FloatArray, IntArray, Rules

MOST_PENDING = 8
"""So many pings of a stream may be under way; a link on which more would be is as good as dead."""

# A stream's numbers: the link
RATE, RATE_MS, BEST_RATE, RTT_MS, WAITED_MS, LEFT_MS = range(6)
# The edge's last report, its schedule of pings
REPORTED_MS, CLEAN_MS, PINGED_MS, USED_MS, WANTED_MS, SAVED_BYTES, SAVED_MS, TICK_MS = range(6, 14)
# Its last view
SEEN_RATE, UNSEEN_MS = 14, 15
# The edge's forecast of what the others bring, and when it was made
OTHERS_LOAD, OTHERS_RESIDUAL_MS, OTHERS_MS = 16, 17, 18
# Round trips of the last pings, with room for one that is not answered yet, and when those were answered
TRIPS, ANSWERED = 19, 19 + MOST_PINGS + 1
# Work that each of W workers has left by the last report; when each is believed to be free
WORKERS = ANSWERED + MOST_PINGS
# A stream's counts: its frames without an answer, first and last; pings answered and under way; how far it has followed
# the frames on its link, those at the edge and those that workers have begun there
FIRST, LAST, PINGS, PENDING, SEEN_ON_LINK, SEEN_AT_EDGE, SEEN_BEGUN, EVER_USED = range(8)
COUNTS = 8
# A ping under way
SENT_MS, PONG_MS, BITS, CLEAN = range(4)
PING = 4
# A frame: when the edge should be done with it as far as is known; when word of it comes back, how long it was at the
# edge and when that word left there; when its turn on the link was certain, when its last bit had left, when it was at
# the edge; when a worker began it, NaN if none did; when each of W workers is free once it and all before it are served
DUE_MS, BACK_MS, AT_EDGE_MS, LEFT_EDGE_MS, JOINED_MS, LEFT_LINK_MS, ARRIVED_MS, BEGUN_MS, FREE_MS = range(9)
# Whether it was handed to the link, how many sent later were answered, and what is behind it in the stream's list, on
# its link and at the edge
IS_SENT, OVERTAKEN, NEXT_OWN, NEXT_ON_LINK, NEXT_AT_EDGE = range(5)
MARKS = 5


class StreamBeliefs(NamedTuple):
    """StreamBeliefs of B x M streams, and traces of frames in the slots (T,) of their tasks."""

    numbers: FloatArray
    """(B, M, WORKERS + 2 W)"""
    counts: IntArray
    """(B, M, COUNTS)"""
    pending: FloatArray
    """(B, M, MOST_PENDING, PING): pings under way, oldest first."""
    ends: IntArray
    """(B, U + 1, 2): the first and the last frame on each link, and at the edge; NOBODY before the first."""
    frame: FloatArray
    """(T, FREE_MS + W)"""
    mark: IntArray
    """(T, MARKS)"""
    unseen_ms: FloatArray
    """(M,): zeros, for what no device sees of the others."""


def new_beliefs(rules: Rules, rows: int, slots: int, workers: int) -> StreamBeliefs:
    """Room for the beliefs of ``rows`` rows with ``slots`` tasks; none where the view is not that of devices."""
    streams = len(rules.deadline_ms)
    links = 1 if rules.shared else streams
    if not rules.from_devices:
        rows = slots = 0
    return StreamBeliefs(
        numbers=np.zeros((rows, streams, WORKERS + 2 * workers)),
        counts=np.zeros((rows, streams, COUNTS), dtype=np.int64),
        pending=np.zeros((rows, streams, MOST_PENDING, PING)),
        ends=np.zeros((rows, links + 1, 2), dtype=np.int64),
        frame=np.zeros((slots, FREE_MS + workers)),
        mark=np.zeros((slots, MARKS), dtype=np.int64),
        unseen_ms=np.zeros(streams),
    )
