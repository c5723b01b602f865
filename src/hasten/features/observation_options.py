"""What every option of a decision would come to, compiled: the latencies, gains and mask of an observation.

The rest of it is in :mod:`hasten.features.observation_kernel`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, inlined
from hasten.core.decision import IntArray
from hasten.core.gain import task_gain
from hasten.core.timing import predict_latency
from hasten.features.layout import STATE_FEATURES
from hasten.features.observation import gain_feature, time_share
from hasten.features.observation_kernel import Memory, Setting


@compiled
def foresee(
    rows: IntArray, observation: NDArray[np.float32], mask: NDArray[np.int8], memory: Memory, setting: Setting
) -> None:
    """Predict latency and gain of every option of the decisions of ``rows`` (B,), and mask the worthless ones.

    Decision i is the last one of row ``rows[i]`` of the memory and fills row i of the other arrays. A function of its
    own over many rows, with no other loop in it, so that it compiles to vector instructions.
    """
    options = setting.worth.shape[1]
    late_gain = setting.late_gain
    for i in range(len(rows)):
        b = rows[i]
        m, out, allowed = memory.stream[b], observation[i], mask[i]
        device_ms, payload_bits, edge_ms = setting.device_ms[m], setting.payload_bits[m], setting.edge_ms[m]
        worth, per_deadline, useful_ms = setting.worth[m], setting.per_deadline[m], setting.useful_ms[m]
        device_wait_ms, uplink_wait_ms = memory.device_wait_ms[b], memory.uplink_wait_ms[b]
        edge_wait_ms, rate_bits_per_ms, rtt_ms = memory.edge_wait_ms[b], memory.rate_bits_per_ms[b], memory.rtt_ms[b]
        feasible = 0
        for j in range(options):
            latency_ms = predict_latency(
                device_wait_ms,
                uplink_wait_ms,
                edge_wait_ms,
                device_ms[j],
                payload_bits[j],
                edge_ms[j],
                rate_bits_per_ms,
                rtt_ms,
            )
            useful = latency_ms <= useful_ms
            out[STATE_FEATURES + j] = time_share(latency_ms, per_deadline)
            out[STATE_FEATURES + options + j] = gain_feature(worth[j] if useful else late_gain)
            allowed[j] = useful
            feasible |= useful
        allowed[options] = 1 - feasible


@inlined
def timed_gain(m: int, j: int, latency_ms: float, setting: Setting) -> float:
    """The gain of stream ``m``'s option ``j`` with this latency, where it depends on time."""
    worth, deadline_ms = setting.worth[m, j], setting.deadline_ms[m]
    return float(task_gain(worth, latency_ms, deadline_ms, setting.time_weight, setting.late_gain, setting.fade))


@compiled
def weigh(rows: IntArray, observation: NDArray[np.float32], memory: Memory, setting: Setting) -> None:
    """Where the gain depends on time, predict it from the latency after all."""
    options = setting.worth.shape[1]
    for i in range(len(rows)):
        b = rows[i]
        m = memory.stream[b]
        for j in range(options):
            latency_ms = predict_latency(
                memory.device_wait_ms[b],
                memory.uplink_wait_ms[b],
                memory.edge_wait_ms[b],
                setting.device_ms[m, j],
                setting.payload_bits[m, j],
                setting.edge_ms[m, j],
                memory.rate_bits_per_ms[b],
                memory.rtt_ms[b],
            )
            observation[i, STATE_FEATURES + options + j] = gain_feature(timed_gain(m, j, latency_ms, setting))


@compiled
def write_options(
    rows: IntArray, observation: NDArray[np.float32], mask: NDArray[np.int8], memory: Memory, setting: Setting
) -> None:
    """Complete the observations and masks of decisions by what every option would come to: see :func:`foresee`."""
    foresee(rows, observation, mask, memory, setting)
    if setting.time_weight > 0 or setting.fade > 0:
        weigh(rows, observation, memory, setting)
    if memory.further_link.shape[1] > 0:
        foresee_elsewhere(rows, observation, mask, memory, setting)


@compiled
def foresee_elsewhere(
    rows: IntArray, observation: NDArray[np.float32], mask: NDArray[np.int8], memory: Memory, setting: Setting
) -> None:
    """The same of options at further edges, which :func:`foresee` takes to be at edge 0."""
    options = setting.worth.shape[1]
    for i in range(len(rows)):
        b = rows[i]
        m, out, allowed = memory.stream[b], observation[i], mask[i]
        feasible = 0
        for j in range(options):
            if setting.edge[m, j] > 0:
                link = memory.further_link[b, setting.edge[m, j] - 1]
                latency_ms = predict_latency(
                    memory.device_wait_ms[b],
                    link[0],
                    link[1],
                    setting.device_ms[m, j],
                    setting.payload_bits[m, j],
                    setting.edge_ms[m, j],
                    link[3],
                    link[2],
                )
                gain = setting.late_gain
                allowed[j] = latency_ms <= setting.useful_ms[m]
                if setting.time_weight > 0 or setting.fade > 0:
                    gain = timed_gain(m, j, latency_ms, setting)
                elif allowed[j] == 1:
                    gain = setting.worth[m, j]
                out[STATE_FEATURES + j] = time_share(latency_ms, setting.per_deadline[m])
                out[STATE_FEATURES + options + j] = gain_feature(gain)
            feasible |= allowed[j]
        allowed[options] = 1 - feasible
