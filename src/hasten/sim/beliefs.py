"""What simulated devices believe and do by themselves, and what is at their edge: arrays for ``view: {kind: device}``.

A contact's beliefs (``sim.contacts``), a task's whereabouts and an edge's load are rows of numbers, by the names below:
few arrays cost little to hand over to a kernel. The law that changes them is that of real devices, in
``core.estimators``, ``core.ping_schedule`` and ``core.rescue``. With another kind of view all of it is empty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hasten.core.edge_admission import BUCKETS
from hasten.core.estimators import MOST_PINGS, OVERHEADS_KEPT
from hasten.core.rescue import LATENESS_KEPT
from hasten.sim.arrays import FloatArray, IntArray, Rules
from hasten.sim.finishes import Finishes, no_finishes

MOST_PENDING = 8
"""So many pings of a contact may be under way; a link on which more would be is as good as dead."""

# A contact's numbers: the link
RATE, RATE_MS, RTT_MS, WAITED_MS, LEFT_MS, HEARD_MS, OVERHEAD_MS, PLANNED_RTT_MS = range(8)
# The edge's last report, its schedule of pings
REPORTED_MS, CLEAN_MS, PINGED_MS, USED_MS, WANTED_MS, SAVED_BYTES, SAVED_MS = range(8, 15)
# Its last view, and the edge's forecast of what the others bring
SEEN_RATE, SEEN_UPLINK_MS, UNSEEN_MS, OTHERS_LOAD, OTHERS_RESIDUAL_MS = range(15, 20)
# The stream's processor (with its first contact): planned work that is queued or runs; when the running job began, and
# how long it was planned to take
WORK_MS, JOB_FROM_MS, JOB_PLANNED_MS = range(20, 23)
# What the edge knows of the stream: work begun for it lately, work that waits, in how long its last task was to be
# answered, and until when it has sent something lately
BEGUN_LOAD, BEGUN_RESIDUAL_MS, BEGUN_MS, WAITING_MS, WITHIN_MS, ACTIVE_UNTIL_MS = range(23, 29)
# Round trips of the last pings, with room for one that is not answered yet, and when those were answered
TRIPS = 29
ANSWERED = TRIPS + MOST_PINGS + 1
# How much later than predicted its last answers came, and how much longer than expected its last frames took
LATENESS = ANSWERED + MOST_PINGS
OVERHEADS = LATENESS + LATENESS_KEPT
# Work that each of up to W workers has left by the last report; behind W of them, when each is believed to be free
WORKERS = OVERHEADS + OVERHEADS_KEPT
# A contact's counts: its frames without an answer, first and last in order of planning; pings answered; how often it
# has learnt lateness and overheads; the tasks that the stream's processor has queued, and the one that it works on; how
# many frames were sent
FIRST, LAST, PINGS, LATE_HEARD, OVERHEADS_HEARD, JOB_FIRST, JOB_LAST, RUNNING, FRAMES = range(9)
COUNTS = 9
# A ping under way: when it was sent (infinity: there is none), its size, whether it found the link idle, when the last
# of those sent before it, and answered, had left; then a report
SENT_MS, BITS, CLEAN, PING_BEHIND_MS, PING_REPORT = range(5)
# A task: when its frame was, or should be, handed to the link; when the edge should be done with it as far as is known;
# when its answer is predicted; what follows the device's part, and the rate, as predicted; the job's planned time; when
# the frame was planned
READY_MS, DUE_MS, PREDICTED_MS, REST_MS, RATE_THEN, JOB_MS, PLANNED_MS = range(7)
# When the last of those sent before it, and answered, had left; by when its answer must leave the edge, when it was
# there, for how long; the report that its answer brings
BEHIND_MS, LATEST_MS, ARRIVED_MS, AT_EDGE_MS, REPORT = range(7, 12)
# A report: what the others bring, load and residual; then the work of each of up to W workers
REPORT_LOAD, REPORT_RESIDUAL_MS, REPORT_MS = range(3)
# Whether its frame was handed to the link, and found that idle; how many sent later were answered; what came of it at
# the edge; the next one in its contact's list of frames, at the edge, and on the processor
IS_SENT, LINK_IDLE, OVERTAKEN, WORD, NEXT_OWN, NEXT_WAITING, NEXT_JOB = range(7)
# What the processor has to do for it, and by which way; the way to look at next; the partition at which the device
# holds its tensors; whether it is being finished here, otherwise than was decided, has ended; ways: of an answer held
# back, of the one given, and of a task that stays here though it was decided for the edge; the option that it was
# decided for before it went on at another edge; its number among its contact's frames, by when they were sent
JOB, WAY, LOOK, CUT, RESCUING, FALLBACK, ENDED, HELD, ANSWERED_BY, STAYS_BY, MOVED_FROM, NUMBER = range(7, 19)
MARKS = 19
NO_WORD, WAITS, GIVES_WAY, RUNS, DONE, LATE = range(6)
"""Values of WORD."""
NO_JOB, BEGIN, FINISH, ALONE, ENCODE = range(5)
"""Values of JOB: the device's part of an option; a rescue; a task that was decided for the edge, and stays here; what a
task is sent from to another edge."""
# An edge's numbers: work begun lately for all; gain that is certain since it was asked for (of the row, with edge 0);
# the load offered in tasks of each length, and as of when; when each of up to W workers began, and, behind W of them,
# how long that was predicted to take; behind those room to lay waiting tasks out over the workers twice
ALL_LOAD, ALL_RESIDUAL_MS, ALL_MS, GAINED, OFFERED = range(5)
OFFERED_AT_MS = OFFERED + BUCKETS
EDGE_WORKERS = OFFERED_AT_MS + BUCKETS
# Its counts: the first task that waits; tasks without an outcome, events due, and ever (of the row, with edge 0); the
# contact that has asked for most; who is served
WAITS_FIRST, OPEN, EVENTS, EVENTS_EVER, MOST, SERVED = range(6)

EVENTS_PER_TASK = 5


class StreamBeliefs(NamedTuple):
    """Beliefs of B x C contacts, whereabouts of the tasks in their slots (T,), and what is due in B rows.

    W is the most workers of one of the E edges.
    """

    numbers: FloatArray
    """(B, C, WORKERS + 2 W)"""
    counts: IntArray
    """(B, C, COUNTS)"""
    pending: FloatArray
    """(B, C, MOST_PENDING, PING_REPORT + REPORT_MS + W): pings under way."""
    frame: FloatArray
    """(T, REPORT + REPORT_MS + W)"""
    mark: IntArray
    """(T, MARKS)"""
    edge: FloatArray
    """(B, E, EDGE_WORKERS + 4 W)"""
    served: IntArray
    """(B, E, SERVED + W)"""
    event_ms: FloatArray
    """(B, N): a heap of what is due, soonest first."""
    event: IntArray
    """(B, N)"""
    unseen_ms: FloatArray
    """(M,): zeros, for what no device sees of the others."""
    finishes: Finishes


def new_beliefs(rules: Rules, rows: int, slots: int, longest: int, finishes: Finishes | None = None) -> StreamBeliefs:
    """Room for the beliefs of ``rows`` rows with ``slots`` tasks; none where the view is not that of devices."""
    streams, edges, workers = len(rules.deadline_ms), len(rules.ways.rtt_ms), rules.ways.most_workers
    contacts = streams * edges
    per_task = EVENTS_PER_TASK + (edges > 1)  # one that has moved may have waited elsewhere
    events = per_task * longest + 2 * streams + MOST_PENDING * contacts + rules.ways.workers
    if not rules.from_devices:
        rows = slots = 0
    report = REPORT_MS + workers
    return StreamBeliefs(
        numbers=np.zeros((rows, contacts, WORKERS + 2 * workers)),
        counts=np.zeros((rows, contacts, COUNTS), dtype=np.int64),
        pending=np.zeros((rows, contacts, MOST_PENDING, PING_REPORT + report)),
        frame=np.zeros((slots, REPORT + report)),
        mark=np.zeros((slots, MARKS), dtype=np.int64),
        edge=np.zeros((rows, edges, EDGE_WORKERS + 4 * workers)),
        served=np.zeros((rows, edges, SERVED + workers), dtype=np.int64),
        event_ms=np.zeros((rows, events)),
        event=np.zeros((rows, events), dtype=np.int64),
        unseen_ms=np.zeros(streams),
        finishes=no_finishes(streams) if finishes is None else finishes,
    )
