"""The observation of :mod:`hasten.features.observation`, compiled: what environments and batches of views share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, FloatArray, IntArray, useful_limit_ms
from hasten.core.options import OptionTable
from hasten.features.layout import EDGE_FEATURES, STATE_FEATURES, EdgeFeature, StateFeature
from hasten.features.observation import (
    deadline_rates,
    moving_average,
    nominal_gaps_ms,
    rate_share,
    time_share,
)


class Setting(NamedTuple):
    """What never changes: M streams with J options each. Options are (M, J), times in ms, sizes in bits."""

    device_ms: FloatArray
    payload_bits: FloatArray
    edge_ms: FloatArray
    worth: FloatArray
    deadline_ms: FloatArray
    """This and the following, (M,)."""
    per_deadline: FloatArray
    """1 / deadline."""
    deadline_share: FloatArray
    """Share of the longest deadline."""
    useful_ms: FloatArray
    """Latency beyond which an answer is worthless."""
    deadline_rate: FloatArray
    nominal_gap_ms: FloatArray
    nominal_any_gap_ms: float
    workers: int
    others: int
    """Other streams, at least 1 to divide by."""
    time_weight: float
    late_gain: float
    fade: float
    edge: IntArray
    """(M, J): where each option sends to; 0 for local ones."""


class Memory(NamedTuple):
    """What B rows remember of arrivals and rates, and of the decision that each observed last."""

    arrival_ms: FloatArray
    """(B, M): last arrival of each stream."""
    gap_ms: FloatArray
    """(B, M): moving average of the gaps between them."""
    any_arrival_ms: FloatArray
    any_gap_ms: FloatArray
    rate: FloatArray
    """(B, M): moving average of the rate feature; NaN before the first decision."""
    stream: IntArray
    """(B,): stream of the task to be decided, and what its decision sees."""
    device_wait_ms: FloatArray
    uplink_wait_ms: FloatArray
    edge_wait_ms: FloatArray
    rtt_ms: FloatArray
    rate_bits_per_ms: FloatArray
    further_rate: FloatArray
    """(B, M, E - 1): moving averages as ``rate``, of further edges."""
    further_link: FloatArray
    """(B, E - 1, 4): what is seen of these: waits of uplink and edge, round trip, rate."""


class Sighted(NamedTuple):
    """What one decision sees, in ms."""

    stream: int
    now_ms: float
    device_wait_ms: float
    uplink_wait_ms: float
    workers_free_ms: FloatArray
    """(W,), ascending."""
    devices_free_ms: FloatArray
    """(M,)"""
    since_ms: float
    """What the last two are counted from: now, or 0 where they are backlogs."""
    rtt_ms: float
    """What nobody's backlog tells of waits at the edge included."""
    rate_bits_per_ms: float


def new_setting(context: Context, options: OptionTable) -> Setting:
    """The facts of a run in which action j is option j of this table."""
    gaps_ms, any_gap_ms = nominal_gaps_ms(context.rate_hz)
    deadline_ms = context.deadline_ms
    time_weight, late_gain, fade = context.gain_terms
    return Setting(
        device_ms=options.device_ms,
        payload_bits=options.payload_bits,
        edge_ms=options.edge_ms,
        worth=options.worth,
        deadline_ms=deadline_ms,
        per_deadline=1.0 / deadline_ms,
        deadline_share=deadline_ms / deadline_ms.max(),
        useful_ms=useful_limit_ms(context),
        deadline_rate=deadline_rates(options, deadline_ms),
        nominal_gap_ms=gaps_ms,
        nominal_any_gap_ms=float(any_gap_ms),
        workers=int(context.workers),
        others=max(len(deadline_ms) - 1, 1),
        time_weight=float(time_weight),
        late_gain=float(late_gain),
        fade=float(fade),
        edge=options.edge,
    )


def new_memory(rows: int, streams: int, edges: int = 1) -> Memory:
    """Of rows that have not begun."""
    return Memory(
        arrival_ms=np.zeros((rows, streams)),
        gap_ms=np.zeros((rows, streams)),
        any_arrival_ms=np.zeros(rows),
        any_gap_ms=np.zeros(rows),
        rate=np.zeros((rows, streams)),
        stream=np.zeros(rows, dtype=np.int64),
        device_wait_ms=np.zeros(rows),
        uplink_wait_ms=np.zeros(rows),
        edge_wait_ms=np.zeros(rows),
        rtt_ms=np.zeros(rows),
        rate_bits_per_ms=np.zeros(rows),
        further_rate=np.zeros((rows, streams, edges - 1)),
        further_link=np.zeros((rows, edges - 1, 4)),
    )


@compiled
def forget(b: int, memory: Memory, setting: Setting) -> None:
    """Let row ``b`` begin: as if tasks had come one nominal gap ago."""
    for m in range(len(setting.nominal_gap_ms)):
        memory.gap_ms[b, m] = setting.nominal_gap_ms[m]
        memory.arrival_ms[b, m] = -setting.nominal_gap_ms[m]
        memory.rate[b, m] = np.nan
        for i in range(memory.further_rate.shape[2]):
            memory.further_rate[b, m, i] = np.nan
    memory.any_arrival_ms[b], memory.any_gap_ms[b] = -setting.nominal_any_gap_ms, setting.nominal_any_gap_ms


@inlined
def write_state(b: int, seen: Sighted, out: NDArray[np.float32], memory: Memory, setting: Setting) -> None:
    """Fill the features before those of options in ``out`` (F,), and remember the decision as row ``b``'s last."""
    m, now_ms = seen.stream, seen.now_ms
    per_deadline = setting.per_deadline[m]
    edge_wait_ms = max(seen.workers_free_ms[0] - seen.since_ms, 0.0)
    others_total_ms, others_max_ms = others_wait(seen.devices_free_ms, m, seen.since_ms)
    out[StateFeature.DEVICE_WAIT] = time_share(seen.device_wait_ms, per_deadline)
    out[StateFeature.UPLINK_WAIT] = time_share(seen.uplink_wait_ms, per_deadline)
    out[StateFeature.EDGE_WAIT] = time_share(edge_wait_ms, per_deadline)
    mean_ms = total_wait(seen.workers_free_ms, seen.since_ms) / setting.workers
    out[StateFeature.EDGE_MEAN_WAIT] = time_share(mean_ms, per_deadline)
    out[StateFeature.OTHERS_MEAN_WAIT] = time_share(others_total_ms / setting.others, per_deadline)
    out[StateFeature.OTHERS_LARGEST_WAIT] = time_share(others_max_ms, per_deadline)
    share = rate_share(seen.rate_bits_per_ms, setting.deadline_rate[m])
    average = share if np.isnan(memory.rate[b, m]) else moving_average(memory.rate[b, m], share)
    gap_ms, any_gap_ms = now_ms - memory.arrival_ms[b, m], now_ms - memory.any_arrival_ms[b]
    memory.rate[b, m] = average
    memory.gap_ms[b, m] = moving_average(memory.gap_ms[b, m], gap_ms)
    memory.any_gap_ms[b] = moving_average(memory.any_gap_ms[b], any_gap_ms)
    memory.arrival_ms[b, m] = now_ms
    memory.any_arrival_ms[b] = now_ms
    out[StateFeature.RATE] = share
    out[StateFeature.RATE_AVERAGE] = average
    out[StateFeature.DEADLINE] = setting.deadline_share[m]
    out[StateFeature.GAP] = time_share(gap_ms, per_deadline)
    out[StateFeature.GAP_AVERAGE] = time_share(memory.gap_ms[b, m], per_deadline)
    out[StateFeature.ANY_GAP] = time_share(any_gap_ms, per_deadline)
    out[StateFeature.ANY_GAP_AVERAGE] = time_share(memory.any_gap_ms[b], per_deadline)
    memory.stream[b] = m
    memory.device_wait_ms[b] = seen.device_wait_ms
    memory.uplink_wait_ms[b] = seen.uplink_wait_ms
    memory.edge_wait_ms[b] = edge_wait_ms
    memory.rtt_ms[b] = seen.rtt_ms
    memory.rate_bits_per_ms[b] = max(seen.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)


@inlined
def write_further(b: int, i: int, seen: Sighted, out: NDArray[np.float32], memory: Memory, setting: Setting) -> None:
    """Fill what is seen of the i-th further edge, after :func:`write_state`; ``seen`` is as of an only edge."""
    m, link = seen.stream, memory.further_link[b, i]
    per_deadline = setting.per_deadline[m]
    column = STATE_FEATURES + 2 * setting.worth.shape[1] + i * EDGE_FEATURES
    link[0], link[1] = seen.uplink_wait_ms, max(seen.workers_free_ms[0] - seen.since_ms, 0.0)
    link[2], link[3] = seen.rtt_ms, max(seen.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
    mean_ms = total_wait(seen.workers_free_ms, seen.since_ms) / len(seen.workers_free_ms)
    share = rate_share(seen.rate_bits_per_ms, setting.deadline_rate[m])
    before = memory.further_rate[b, m, i]
    memory.further_rate[b, m, i] = share if np.isnan(before) else moving_average(before, share)
    out[column + EdgeFeature.UPLINK_WAIT] = time_share(link[0], per_deadline)
    out[column + EdgeFeature.EDGE_WAIT] = time_share(link[1], per_deadline)
    out[column + EdgeFeature.EDGE_MEAN_WAIT] = time_share(mean_ms, per_deadline)
    out[column + EdgeFeature.RATE] = share
    out[column + EdgeFeature.RATE_AVERAGE] = memory.further_rate[b, m, i]


@inlined
def total_wait(free_ms: FloatArray, now_ms: float) -> float:
    """Sum of the backlogs of workers."""
    total_ms = 0.0
    for i in range(len(free_ms)):
        total_ms += max(free_ms[i] - now_ms, 0.0)
    return total_ms


@inlined
def others_wait(free_ms: FloatArray, own: int, now_ms: float) -> tuple[float, float]:
    """Sum of the backlogs of the other devices, and the largest."""
    total_ms, largest_ms = 0.0, 0.0
    for i in range(len(free_ms)):
        wait_ms = max(free_ms[i] - now_ms, 0.0) if i != own else 0.0
        total_ms += wait_ms
        largest_ms = max(largest_ms, wait_ms)
    return total_ms, largest_ms
