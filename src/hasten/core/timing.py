"""The timing law: when a task's stages start and end. The only copy; simulator, solver, schedulers and agents use it.

A task passes up to three first-come-first-served resources: its stream's device, an uplink, an edge worker. Each is
described by the time from which it is free, so a whole system state is a handful of numbers. All functions are
pure and work elementwise on numpy arrays, or on scalars inside compiled kernels. Times are in milliseconds on any
common clock, sizes in bits, rates in bits per millisecond (= kbit/s).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.jit import jitable, jitable_inline, larger, select

FloatArray = NDArray[np.float64]

ON_TIME_TOLERANCE_MS = 1e-6
"""Slack of the deadline comparison, so that equal sums in another order of addition are equally on time."""

ROUNDING = 1e-12
"""Share of an integral over the rate that rounding may add: a remainder this small must not wait for a next burst."""

NEAR_STEPS = 8
"""Steps of a rate trace that are tried one by one before a binary search."""


class Waits(NamedTuple):
    """Backlogs in ms of what a task passes through: how long until each has done all that is committed to it."""

    device_ms: Any
    uplink_ms: Any
    edge_ms: Any

    def for_options(self) -> Waits:
        """Arrays (B,) as columns (B, 1), which broadcast over options (B, J)."""
        return Waits(self.device_ms[:, None], self.uplink_ms[:, None], self.edge_ms[:, None])


@jitable_inline
def stage_start(ready_ms: Any, free_ms: Any) -> Any:
    """When a first-come-first-served stage starts: once the task is ready and the resource is free."""
    return larger(ready_ms, free_ms)


@jitable
def stage_end(ready_ms: Any, free_ms: Any, service_ms: Any) -> Any:
    """When a first-come-first-served stage ends."""
    return stage_start(ready_ms, free_ms) + service_ms


@jitable
def device_done(device_wait_ms: Any, device_ms: Any) -> Any:
    """When a device is done with its part of a task, from now, behind its backlog."""
    return device_wait_ms + device_ms


@jitable
def half_way(time_ms: Any, rtt_ms: Any) -> Any:
    """When what leaves at ``time_ms`` is at the other end: half a round trip later, and no link is occupied by it."""
    return time_ms + 0.5 * rtt_ms


@jitable
def edge_ends(sent_ms: Any, worker_free_ms: Any, edge_ms: Any, rtt_ms: Any) -> tuple[Any, Any]:
    """When the edge is done with what has been sent by ``sent_ms``, and when its answer is back."""
    edge_end_ms = stage_end(half_way(sent_ms, rtt_ms), worker_free_ms, edge_ms)
    return edge_end_ms, half_way(edge_end_ms, rtt_ms)


@jitable_inline
def offload_ends(
    device_end_ms: Any,
    uplink_free_ms: Any,
    worker_free_ms: Any,
    payload_bits: Any,
    edge_ms: Any,
    rtt_ms: Any,
    transfer: Any,
    *way: Any,
) -> tuple[Any, Any, Any]:
    """When uplink and edge are done with a task that its device hands over, and when the answer is back.

    ``transfer(start_ms, payload_bits, *way)`` tells when a transfer ends: :func:`sent_at_rate`, or
    :func:`transfer_end` and the arrays that it reads.
    """
    sent_ms = transfer(stage_start(device_end_ms, uplink_free_ms), payload_bits, *way)
    edge_end_ms, answer_ms = edge_ends(sent_ms, worker_free_ms, edge_ms, rtt_ms)
    return sent_ms, edge_end_ms, answer_ms


@jitable
def sent_at_rate(start_ms: Any, payload_bits: Any, rate_bits_per_ms: Any) -> Any:
    """When a transfer at a constant rate ends."""
    return start_ms + payload_bits / rate_bits_per_ms


@jitable
def is_on_time(latency_ms: Any, deadline_ms: Any) -> Any:
    """Whether an answer this long after arrival meets the (relative) deadline."""
    return latency_ms <= deadline_ms + ON_TIME_TOLERANCE_MS


@jitable
def stage_ends(
    device_wait_ms: Any,
    uplink_wait_ms: Any,
    edge_wait_ms: Any,
    device_ms: Any,
    payload_bits: Any,
    edge_ms: Any,
    rate_bits_per_ms: Any,
    rtt_ms: Any,
) -> tuple[Any, Any, Any]:
    """When device, uplink and edge would be done with an offloaded task, from now; see :func:`predict_latency`."""
    device_end = device_done(device_wait_ms, device_ms)
    sent, edge_end, _ = offload_ends(
        device_end, uplink_wait_ms, edge_wait_ms, payload_bits, edge_ms, rtt_ms, sent_at_rate, rate_bits_per_ms
    )
    return device_end, sent, edge_end


@jitable
def predict_latency(
    device_wait_ms: Any,
    uplink_wait_ms: Any,
    edge_wait_ms: Any,
    device_ms: Any,
    payload_bits: Any,
    edge_ms: Any,
    rate_bits_per_ms: Any,
    rtt_ms: Any,
) -> Any:
    """Latency of an option seen from now, at a constant rate: device, uplink, edge in tandem.

    The waits are the backlogs of the three resources; half of ``rtt_ms`` passes on the way up, without occupying
    the uplink, and half on the way back. An option without payload ends on the device. Arguments broadcast.
    """
    device_end = device_done(device_wait_ms, device_ms)
    _, _, answer = offload_ends(
        device_end, uplink_wait_ms, edge_wait_ms, payload_bits, edge_ms, rtt_ms, sent_at_rate, rate_bits_per_ms
    )
    return select(payload_bits > 0, answer, device_end)


@jitable
def step_at(offset_ms: float, from_ms: FloatArray) -> int:
    """Index of the step (S,) in force at ``offset_ms`` >= 0; quick where steps are about equally long."""
    last = len(from_ms) - 1
    i = int(min(offset_ms / from_ms[last], 1.0) * last) if last > 0 else 0
    for _ in range(NEAR_STEPS):
        if from_ms[i] > offset_ms:
            i -= 1
        elif i < last and from_ms[i + 1] <= offset_ms:
            i += 1
        else:
            return i
    return int(np.searchsorted(from_ms, offset_ms, side="right")) - 1


@jitable
def transfer_end(
    start_ms: float,
    payload_bits: float,
    from_ms: FloatArray,
    bits_per_ms: FloatArray,
    sent_bits: FloatArray,
    period_ms: float,
) -> float:
    """When a transfer that starts at ``start_ms`` ends: the integral of the rate over it equals its size.

    The rate is piecewise constant: ``bits_per_ms[i]`` from ``from_ms[i]`` on, ``sent_bits[i]`` the integral up to
    there (the arrays of :class:`hasten.core.rates.RateTrace`, each (S,)). It repeats after ``period_ms``; an
    infinite period holds the last rate. Returns infinity when the rate stays zero.
    """
    if payload_bits <= 0:
        return start_ms
    last = len(from_ms) - 1
    if last == 0:  # a constant rate
        return start_ms + payload_bits / bits_per_ms[0] if bits_per_ms[0] > 0 else np.inf
    periodic = np.isfinite(period_ms)
    cycle_bits = sent_bits[last] + bits_per_ms[last] * (period_ms - from_ms[last]) if periodic else np.inf
    if cycle_bits <= 0:
        return np.inf
    cycle_start_ms = np.floor(start_ms / period_ms) * period_ms if periodic else 0.0
    offset_ms = max(start_ms - cycle_start_ms, 0.0)  # rounding may find the next cycle just before it starts
    i = step_at(offset_ms, from_ms)
    target_bits = sent_bits[i] + bits_per_ms[i] * (offset_ms - from_ms[i]) + payload_bits
    slack_bits = ROUNDING * target_bits
    j = i
    if periodic:
        cycles = np.ceil((target_bits - slack_bits) / cycle_bits) - 1
        if cycles > 0:
            target_bits -= cycles * cycle_bits
            cycle_start_ms += cycles * period_ms
            j = 0
    # The first step at whose end the target is reached: seldom far, and past stretches without rate.
    for _ in range(NEAR_STEPS):
        if j == last or sent_bits[j + 1] >= target_bits - slack_bits:
            break
        j += 1
    if j < last and sent_bits[j + 1] < target_bits - slack_bits:
        j = max(int(np.searchsorted(sent_bits, target_bits - slack_bits, side="left")) - 1, 0)
    if bits_per_ms[j] <= 0:
        return np.inf
    return float(cycle_start_ms + from_ms[j] + (target_bits - sent_bits[j]) / bits_per_ms[j])


@jitable
def rate_at(now_ms: float, from_ms: FloatArray, bits_per_ms: FloatArray, period_ms: float) -> float:
    """The rate in force at ``now_ms``, bits per millisecond; arguments as in :func:`transfer_end`."""
    last = len(from_ms) - 1
    if last == 0:  # a constant rate
        return float(bits_per_ms[0])
    offset_ms = max(now_ms - np.floor(now_ms / period_ms) * period_ms, 0.0) if np.isfinite(period_ms) else now_ms
    return float(bits_per_ms[step_at(offset_ms, from_ms)])
