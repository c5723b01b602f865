"""The arithmetic of what a device believes of link and edge: the only copy, for the agent and for the simulator.

The agent's objects (``runtime.device``) keep a link's and an edge's news as Python objects, the simulator that of
thousands of devices in arrays; both call these functions on numbers. Sequences may be lists or arrays. Times are in
milliseconds on the device's clock, sizes in bits, rates in bits per millisecond.

*Rate.* A transfer's time is what remains of the time to its answer without the edge's own time and the round trip,
counted from when its own predecessor had left. Leaving these in is the common mistake: on recorded LTE uplinks it costs
more than half of the estimate, whatever the filter. The filter is an exponentially weighted mean over rates.

*Backlogs.* The uplink's is a projection of all own frames that are not answered yet at the estimated rate; others show
only in that rate. The edge's is its last report, less the time since and with what others bring meanwhile, plus own
frames that the report cannot have counted; a frame that the edge has had for longer than it should have needed keeps a
worker busy for as long again.

*Forecast.* The edge tells how much work of others lately begins per time. Its backlog shrinks the slower for it, and an
own frame waits for what they bring until it is there.
"""

from __future__ import annotations

import math
from typing import Any

from hasten.core.jit import jitable, jitable_inline
from hasten.core.ping_schedule import PING_BITS
from hasten.core.timing import half_way, stage_end, stage_start

RATE_WEIGHT = 0.3
"""Weight of the newest rate sample when it follows the one before closely."""
RATE_MEMORY_MS = 200.0
"""After a longer pause the newest sample weighs more, as if samples had come at this pace meanwhile."""
TIMING_NOISE_MS = 0.3
"""About how wrong a measured transfer time is, and as much as a ping's bits take, which are part of the round trip that
was taken off it and may have had another rate; transfers that are short against it count little."""
SHORTEST_TRANSFER_MS = 0.05
"""No measured transfer time is taken to be shorter."""
MOST_PINGS, FEWEST_PINGS = 9, 3
"""How many pings the round trip is the median of: those of the last seconds, within these bounds."""
PING_MEMORY_MS = 2000.0
FORECAST_MEMORY_MS = 1000.0
"""In a load forecast, work counts less by a factor e when it began so long ago."""
REPLAN_LEAST_MS, REPLAN_SHARE, REPLAN_TRIP_SHARE = 2.0, 0.04, 0.1
"""A scheduler begins anew when times beside its plan differ by this, this share of the deadline and of the trip."""
MOST_BUSY = 0.9
"""Others are not taken to keep the edge busier: near 1 the formula of their wait has no bound."""
OVERHEADS_KEPT, PROFILE_COUNTS = 15, 3
"""What a task costs beyond all that is counted apart is the median of so many; the profile counts like so many."""
NEGLIGIBLE_MS = 0.25
"""A difference from the profile's below this is the profile's own error."""
MOST_OFFLOAD_MS = 5.0
"""What takes so much longer than profiled is no handling of a frame: the link has changed."""
SOONER_SHARE = 0.1
"""An answer that is there sooner by this share of its deadline is worth looking for at another edge."""


@jitable
def rate_after(rate: float, updated_ms: float, start_ms: float, end_ms: float, bits: float) -> float:
    """The believed rate after one more transfer: its first bit could leave at the start, its last had at the end.

    ``rate``, last measured at ``updated_ms``, is what was believed before; 0 is nothing. An end before the start tells
    how wrong the times are at least.
    """
    took_ms = max(end_ms - start_ms, SHORTEST_TRANSFER_MS)
    sample = bits / took_ms
    if rate <= 0:
        return sample
    pause = max((end_ms - updated_ms) / RATE_MEMORY_MS, 1.0)
    noise_ms = TIMING_NOISE_MS + PING_BITS / rate + max(start_ms - end_ms, 0.0)
    weight = (1.0 - (1.0 - RATE_WEIGHT) ** pause) * took_ms / (took_ms + noise_ms)
    return float(rate + weight * (sample - rate))


@jitable
def rate_bound(sent_ms: float, bits: float, now_ms: float, spent_ms: float) -> float:
    """What the rate can be at most while a frame is unanswered: at any higher one it would have been answered.

    The frame's first bit could leave at ``sent_ms``; ``spent_ms`` is round trip and time at the edge.
    """
    away_ms = now_ms - sent_ms - spent_ms
    return bits / away_ms if away_ms > 0 else math.inf


@jitable
def has_moved(rtt_ms: float, planned_ms: float, deadline_ms: float) -> bool:
    """Whether a round trip differs noticeably from the one that a scheduler plans with."""
    least_ms = max(REPLAN_LEAST_MS, REPLAN_SHARE * deadline_ms)
    return abs(rtt_ms - planned_ms) > max(least_ms, REPLAN_TRIP_SHARE * planned_ms)


@jitable
def outdated_pings(received_ms: Any, count: int, now_ms: float) -> int:
    """How many of the oldest of ``count`` pings (in order) no longer count, now that one more is answered."""
    outdated = 0
    while outdated < count:
        left = count - outdated + 1
        aged = left > FEWEST_PINGS and now_ms - received_ms[outdated] > PING_MEMORY_MS
        if left <= MOST_PINGS and not aged:
            break
        outdated += 1
    return outdated


@jitable
def median_of(values: Any, count: int) -> float:
    """The median of the first ``count`` values, of which there are few."""
    return 0.5 * (_in_order(values, count, (count - 1) // 2) + _in_order(values, count, count // 2))


@jitable
def _in_order(values: Any, count: int, place: int) -> float:
    """The value at this place in ascending order."""
    for i in range(count):
        smaller, equal = 0, 0
        for j in range(count):
            smaller += values[j] < values[i]
            equal += values[j] == values[i]
        if smaller <= place < smaller + equal:
            return float(values[i])
    return math.nan


@jitable
def left_at(answered_ms: float, edge_total_ms: float, rtt_ms: float) -> float:
    """When the last bit of an answered frame had left, which spent ``edge_total_ms`` at the edge."""
    return answered_ms - edge_total_ms - rtt_ms


@jitable
def reported_at(received_ms: float, rtt_ms: float) -> float:
    """When the edge made a report that has just been received."""
    return received_ms - 0.5 * rtt_ms


@jitable
def is_at_edge(sent_ms: float, ping_ms: float) -> bool:
    """Whether a frame handed to the link at ``sent_ms`` is known to be at the edge by an answer to a later ping."""
    return sent_ms < ping_ms


@jitable
def due_at_edge(reported_ms: float, longest_ms: float, edge_ms: float) -> float:
    """When a frame that the edge has should be done: with all of the load reported, which it is part of."""
    return reported_ms + max(longest_ms, edge_ms)


@jitable
def faded(value: float, age_ms: float) -> float:
    """What is left in a forecast, so much later, of a load or of a residual."""
    return value * math.exp(-age_ms / FORECAST_MEMORY_MS)


@jitable
def begun(work_ms: float) -> tuple[float, float]:
    """What a task that begins adds to a forecast: to the load (ms per ms), and to the residual (ms).

    The load is work that begins per time. The residual is what is left of begun work at a random moment on average:
    half the second moment of a task's work, times the tasks per time.
    """
    return work_ms / FORECAST_MEMORY_MS, 0.5 * work_ms * work_ms / FORECAST_MEMORY_MS


@jitable
def worker_free(reported_ms: float, backlog_ms: float, now_ms: float, others_load: float, workers: int) -> float:
    """When a worker is free of what was reported, ``others_load`` ms per ms having come from others since.

    The fluid limit of a queue: the others' work comes at a steady rate, shared out over the workers, and each worker
    does 1 ms per ms while it has any.
    """
    came_ms = min(others_load / workers, 1.0) * max(now_ms - reported_ms, 0.0)
    return float(max(reported_ms + backlog_ms + came_ms, now_ms))


@jitable
def unseen_wait(others_load: float, others_residual_ms: float, workers: int) -> float:
    """How long an own frame will wait at the edge, on average, for work of others that no report holds yet.

    One worker: the mean wait of an M/G/1 queue by Pollaczek and Khinchine, which is the mean work left of tasks begun
    over the share of time that is free. Several: Sakasegawa's approximation for M/G/c, which with one is the same.
    """
    busy = min(others_load / workers, MOST_BUSY)
    if busy <= 0.0:
        return 0.0
    exponent = math.sqrt(2.0 * (workers + 1.0)) - 1.0
    mean_residual_ms = others_residual_ms / others_load
    return float(mean_residual_ms * busy**exponent / (workers * (1.0 - busy)))


@jitable_inline
def project_frame(
    worker_free_ms: Any,
    uplink_free_ms: float,
    ready_ms: float,
    transfer_ms: float,
    edge_ms: float,
    rtt_ms: float,
    reported_ms: float,
) -> float:
    """When the uplink would be free after one more own frame.

    ``worker_free_ms`` (W,) is changed where the edge's report cannot have counted it: it takes the worker that is free
    first.
    """
    free_ms = float(stage_end(ready_ms, uplink_free_ms, transfer_ms))
    arrive_ms = half_way(free_ms, rtt_ms)
    if arrive_ms > reported_ms:
        first = 0
        for worker in range(1, len(worker_free_ms)):
            if worker_free_ms[worker] < worker_free_ms[first]:
                first = worker
        worker_free_ms[first] = float(stage_end(arrive_ms, worker_free_ms[first], edge_ms))
    return free_ms


@jitable_inline
def hold_up(worker_free_ms: Any, before: int, due_ms: float, now_ms: float) -> int:
    """A frame at the edge that is overdue keeps one more worker busy for as long as it is overdue; 1 if it is.

    ``before`` frames are overdue besides; ``worker_free_ms`` (W,) is changed.
    """
    overdue_ms = now_ms - due_ms
    if overdue_ms <= 0 or before >= len(worker_free_ms):
        return 0
    worker_free_ms[before] = float(stage_start(worker_free_ms[before], now_ms + overdue_ms))
    return 1
