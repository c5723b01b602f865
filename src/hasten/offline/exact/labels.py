"""Labels of the exact dynamic programming over known arrivals (Pareto label setting), for grant order; compiled.

After each task a label holds the gain so far and when each resource is free: devices, uplinks, edge workers
(sorted, edge by edge). Three observations keep the set of labels (the frontier) small, none of which loses the optimum:

* *Clipping.* A device cannot start before its stream's next arrival, an uplink not before some device can have
  computed what it sends, a worker not before something can have been sent: earlier free times are all the same.
* *Dominance.* A label that has gained as much and frees every resource as early is as good: all updates are
  monotone, a transfer that starts later ends later, and gains do not grow with latency.
* *Dominance with a price.* A label whose resource is free too late can still copy every plan of another one if it
  first drops the tasks that arrive before that resource is free. If it leads by what those tasks can gain at most,
  the other label is dominated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import allocating, compiled, inlined
from hasten.core.timing import half_way
from hasten.offline.instance import Costs, Instance, KnownTasks, Rates

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Frontier(NamedTuple):
    """Labels after some task; only the first ``count`` rows are in use."""

    state_ms: FloatArray
    """(C, M + L + W): clipped free times of devices, uplinks, workers."""
    price: FloatArray
    """(C, M + L + W): gain lost at most by dropping all tasks that come before that resource is free."""
    gain: FloatArray
    """(C,)"""
    node: IntArray
    """(C,): this label's entry in the record of decisions."""


class Candidates(NamedTuple):
    """Successors of a frontier before dominance: (C * options + C,) each."""

    key: FloatArray
    gain: FloatArray
    parent: IntArray
    option: IntArray
    device_ms: FloatArray
    uplink_ms: FloatArray
    edge_ms: FloatArray


def frontier_of(state_ms: FloatArray) -> Frontier:
    """A frontier with a single label of gain 0 whose resources are free at ``state_ms`` (M + L + W,)."""
    row = np.array(state_ms, dtype=np.float64)[None, :]
    return Frontier(row, np.zeros_like(row), np.zeros(1), np.full(1, -1))


@allocating
def candidates(count: int) -> Candidates:
    """Room for this many successors."""
    return Candidates(
        np.empty(count),
        np.empty(count),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count),
        np.empty(count),
        np.empty(count),
    )


@allocating
def grown(frontier: Frontier) -> Frontier:
    """The same frontier with twice the room."""
    rows, width = frontier.state_ms.shape
    state_ms, price = np.empty((2 * rows, width)), np.empty((2 * rows, width))
    gain, node = np.empty(2 * rows), np.empty(2 * rows, np.int64)
    for i in range(rows):  # loops, because compiling assignments of slices takes many seconds
        gain[i], node[i] = frontier.gain[i], frontier.node[i]
        for d in range(width):
            state_ms[i, d], price[i, d] = frontier.state_ms[i, d], frontier.price[i, d]
    return Frontier(state_ms, price, gain, node)


@compiled
def clip(costs: Costs, rates: Rates, next_ms: FloatArray, state_ms: FloatArray) -> None:
    """Raise the free times in ``state_ms`` (M + L + W,) to the earliest epochs at which they can matter, in place.

    ``next_ms`` (M,) is each stream's next arrival, infinity after its last.
    """
    streams, links, ways = costs.streams, costs.links, costs.ways
    for m in range(streams):
        state_ms[m] = max(state_ms[m], next_ms[m])
    for e in range(len(ways.rtt_ms)):
        at_edge_ms = np.inf
        first, last = ways.link[e, 0], ways.link[e, streams - 1]
        for link in range(first, last + 1):
            ready_ms = np.inf
            for m in range(0 if first == last else link - first, streams if first == last else link - first + 1):
                ready_ms = min(ready_ms, state_ms[m] + costs.before_send_ms[m])
            sending_ms = max(state_ms[streams + link], ready_ms)
            state_ms[streams + link] = sending_ms
            at_edge_ms = min(at_edge_ms, half_way(sending_ms + rates.least_transfer_ms[link], ways.rtt_ms[e]))
        for w in range(ways.first_worker[e], ways.first_worker[e + 1]):
            state_ms[streams + links + w] = max(state_ms[streams + links + w], at_edge_ms)


@inlined
def edge_of(costs: Costs, case: int, option: int) -> int:
    """The edge that an option sends to; 0 for local ones and DROP."""
    return costs.ways.edge[case, option] if option >= 0 else 0


@compiled
def successor(instance: Instance, k: int, found: Candidates, c: int, frontier: Frontier, row: FloatArray) -> None:
    """Write the free times of candidate ``c`` for task ``k`` to ``row``, each edge's workers in ascending order."""
    costs, _, tasks = instance
    m, streams, ways = tasks.stream[k], costs.streams, costs.ways
    parent = found.parent[c]
    edge = edge_of(costs, tasks.case[k], found.option[c])
    for d in range(len(row)):
        row[d] = frontier.state_ms[parent, d]
    row[m] = found.device_ms[c]
    row[streams + ways.link[edge, m]] = found.uplink_ms[c]
    first = streams + costs.links
    w, last = first + ways.first_worker[edge], first + ways.first_worker[edge + 1] - 1
    row[w] = found.edge_ms[c]
    while w < last and row[w] > row[w + 1]:
        row[w], row[w + 1] = row[w + 1], row[w]
        w += 1


@compiled
def dominated(kept: Frontier, count: int, row: FloatArray, gain: float, streams: int) -> bool:
    """Whether some kept label makes one of this gain and these free times superfluous."""
    width = len(row)
    for q in range(count):
        lead = kept.gain[q] - gain
        if lead < 0.0:
            continue
        owed = 0.0
        for d in range(streams):
            if kept.state_ms[q, d] > row[d]:
                owed += kept.price[q, d]
                if owed > lead:
                    break
        if owed > lead:
            continue
        shared = 0.0
        for d in range(streams, width):
            if kept.state_ms[q, d] > row[d]:
                shared = max(shared, kept.price[q, d])
                if owed + shared > lead:
                    break
        if owed + shared <= lead:
            return True
    return False


@compiled
def drop_price(instance: Instance, k: int, next_task: IntArray, row: FloatArray, price: FloatArray) -> None:
    """Write to ``price`` what dropping all tasks after ``k`` that come before each resource is free can cost.

    For a device these are its own stream's tasks. For uplinks and workers they are all tasks, a superset, so that
    of several such resources the dearest pays for all.
    """
    costs, rates, tasks = instance
    n, streams, links = len(tasks.arrival_ms), costs.streams, costs.links
    for m in range(streams):
        price[m], i = 0.0, next_task[m]
        while i < n and tasks.arrival_ms[i] < row[m]:
            price[m] += tasks.alone_gain[i]
            i = tasks.following[i]
    least_ms = np.inf
    for e in range(len(costs.ways.rtt_ms)):
        for link in range(costs.ways.link[e, 0], costs.ways.link[e, streams - 1] + 1):
            least_ms = min(least_ms, half_way(rates.least_transfer_ms[link], costs.ways.rtt_ms[e]))
    for d in range(streams, len(row)):
        before_ms = row[d] if d < streams + links else row[d] - least_ms
        price[d], i = 0.0, k + 1
        while i < n and tasks.arrival_ms[i] < before_ms:
            price[d] += tasks.alone_gain[i]
            i += 1


class Upcoming(NamedTuple):
    """Each stream's next task, (M,)."""

    task: IntArray
    """N after the last one."""
    arrival_ms: FloatArray
    """Infinity after the last one."""


@allocating
def upcoming_from(tasks: KnownTasks, k: int) -> Upcoming:
    """The next tasks when all before task ``k`` are decided."""
    n, streams = len(tasks.arrival_ms), len(tasks.first)
    task, arrival_ms = tasks.first.copy(), np.empty(streams)
    for m in range(streams):
        while task[m] < k:
            task[m] = tasks.following[task[m]]
        arrival_ms[m] = tasks.arrival_ms[task[m]] if task[m] < n else np.inf
    return Upcoming(task, arrival_ms)


@compiled
def pass_task(tasks: KnownTasks, upcoming: Upcoming, k: int) -> None:
    """Task ``k`` is decided: its stream's next one follows."""
    m, following = tasks.stream[k], tasks.following[k]
    upcoming.task[m] = following
    upcoming.arrival_ms[m] = tasks.arrival_ms[following] if following < len(tasks.arrival_ms) else np.inf


@inlined
def keep(
    instance: Instance,
    k: int,
    upcoming: Upcoming,
    row: FloatArray,
    found: Candidates,
    c: int,
    kept: Frontier,
    new: int,
) -> None:
    """Write candidate ``c`` for task ``k``, with its clipped free times ``row``, into row ``new`` of ``kept``."""
    for d in range(len(row)):
        kept.state_ms[new, d] = row[d]
    kept.gain[new] = found.gain[c]
    drop_price(instance, k, upcoming.task, row, kept.price[new])
