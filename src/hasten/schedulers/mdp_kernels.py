"""The compiled part of ``schedulers.mdp_values``, and the look-ahead of a decision.

Grids are (n + 1, n + 1, n + 1, beliefs), by the backlog of device, uplink and edge in cells and by belief node. Options
are (J, 4): device ms, bits, edge ms, worth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.core.gain import GainTerms, task_gain
from hasten.core.options import DROP
from hasten.core.timing import ON_TIME_TOLERANCE_MS, Waits, predict_latency, stage_ends

FloatArray = NDArray[np.float64]


class GridRules(NamedTuple):
    """What a problem on a grid is, in numbers that do not depend on the state."""

    rate_bits_per_ms: float
    rtt_ms: float
    deadline_ms: float
    limit_ms: float
    """Latency beyond which an answer is worthless."""
    step_ms: float
    """Width of a grid cell, the same on all backlogs."""
    gain_terms: GainTerms


class Gap(NamedTuple):
    """What one grid step of waiting does, for each belief node."""

    weights: FloatArray
    """(3, beliefs): arrival rate over the step (per step), its probability of an arrival, of none."""
    nodes: NDArray[np.int64]
    """(3, beliefs): lower node of the belief at an arrival at the step's start, at its end, and without arrival."""
    shares: FloatArray
    """(3, beliefs): share of the upper node in each."""


class BeliefStates(NamedTuple):
    """What is known at B decisions."""

    device_ms: FloatArray
    """(B,): backlogs, that of the edge (B, 1)."""
    uplink_ms: FloatArray
    edge_ms: FloatArray
    rate_bits_per_ms: FloatArray
    """(B,), likewise the belief in the first arrival state."""
    belief: FloatArray


@compiled
def _reachable(uplink: int, edge: int) -> bool:
    """An uplink backlog is followed by at least as much at the edge; one more cell is kept for interpolation."""
    return edge >= uplink - 1


@compiled
def growth_bounds(value: FloatArray, previous: FloatArray) -> tuple[float, float]:
    """Least and greatest growth of the value over a sweep: they enclose the optimal mean gain on the grid."""
    n = value.shape[0]
    lowest, highest = np.inf, -np.inf
    for i in range(n):
        for j in range(n):
            for k in range(max(j - 1, 0), n):
                for b in range(value.shape[3]):
                    growth = value[i, j, k, b] - previous[i, j, k, b]
                    lowest, highest = min(lowest, growth), max(highest, growth)
    return lowest, highest


@compiled
def _try(
    waits: Waits,
    option: FloatArray,
    rate_bits_per_ms: float,
    after: FloatArray,
    rules: GridRules,
    found: FloatArray,
) -> float:
    """Gain of an option at these backlogs, and in ``found`` (beliefs,) the values of the backlogs that it leaves.

    An option that would be useless by its end has gain minus infinity, and ``found`` is left alone.
    """
    device_ms, uplink_ms, edge_ms = waits
    latency_ms = predict_latency(
        device_ms, uplink_ms, edge_ms, option[0], option[1], option[2], rate_bits_per_ms, rules.rtt_ms
    )
    if latency_ms > rules.limit_ms + ON_TIME_TOLERANCE_MS:
        return -np.inf
    device_end, uplink_end, edge_end = device_ms + option[0], uplink_ms, edge_ms
    if option[1] > 0:
        device_end, uplink_end, edge_end = stage_ends(
            device_ms, uplink_ms, edge_ms, option[0], option[1], option[2], rate_bits_per_ms, rules.rtt_ms
        )
    _interpolate(after, device_end / rules.step_ms, uplink_end / rules.step_ms, edge_end / rules.step_ms, found)
    time_weight, late_gain, fade = rules.gain_terms
    gain: float = task_gain(option[3], latency_ms, rules.deadline_ms, time_weight, late_gain, fade)
    return gain


@compiled
def decide_all(
    after: FloatArray,
    value: FloatArray,
    choice: NDArray[np.int16],
    options: FloatArray,
    rules: GridRules,
    found: FloatArray,
) -> None:
    """Fill ``value`` with the best over all options and DROP, and ``choice`` with the option (DROP: -1).

    ``found`` (beliefs,) is room to work in.
    """
    step_ms, rate = rules.step_ms, rules.rate_bits_per_ms
    n = after.shape[0]
    beliefs = after.shape[3]
    for i in range(n):
        for j in range(n):
            for k in range(n):
                if not _reachable(j, k):
                    continue
                for b in range(beliefs):
                    value[i, j, k, b] = rules.gain_terms.late_gain + after[i, j, k, b]
                    choice[i, j, k, b] = DROP
                waits = Waits(i * step_ms, j * step_ms, k * step_ms)
                for o in range(len(options)):
                    gain = _try(waits, options[o], rate, after, rules, found)
                    if gain == -np.inf:
                        continue
                    for b in range(beliefs):
                        if gain + found[b] > value[i, j, k, b]:
                            value[i, j, k, b] = gain + found[b]
                            choice[i, j, k, b] = o


@compiled
def look_ahead(
    states: BeliefStates,
    after: FloatArray,
    options: FloatArray,
    rules: GridRules,
    found: FloatArray,
    best: NDArray[np.int64],
) -> None:
    """Fill ``best`` (B,) with the option (or DROP) of largest gain plus value of the backlogs it leaves.

    ``options`` are (J, 4) as device ms, bits, edge ms, worth; ``found`` (belief nodes,) is room to work in. Between
    belief nodes values are interpolated.
    """
    step_ms = rules.step_ms
    top = len(found) - 1
    for a in range(len(best)):
        node = min(int(states.belief[a] * top), max(top - 1, 0))
        share = states.belief[a] * top - node
        waits = Waits(states.device_ms[a], states.uplink_ms[a], states.edge_ms[a, 0])
        _interpolate(after, waits.device_ms / step_ms, waits.uplink_ms / step_ms, waits.edge_ms / step_ms, found)
        best[a] = DROP
        highest = rules.gain_terms.late_gain + (1.0 - share) * found[node] + share * found[min(node + 1, top)]
        for o in range(len(options)):
            gain = _try(waits, options[o], states.rate_bits_per_ms[a], after, rules, found)
            if gain == -np.inf:
                continue
            total = gain + (1.0 - share) * found[node] + share * found[min(node + 1, top)]
            if total > highest:
                highest, best[a] = total, o


@compiled
def _interpolate(after: FloatArray, device: float, uplink: float, edge: float, found: FloatArray) -> None:
    """Trilinear interpolation for all beliefs at once, at backlogs in grid cells; beyond the grid its edge counts."""
    last = after.shape[0] - 2
    device, uplink, edge = min(device, last + 1.0), min(uplink, last + 1.0), min(edge, last + 1.0)
    i, j, k = min(int(device), last), min(int(uplink), last), min(int(edge), last)
    found[:] = 0.0
    for corner in range(8):
        di, dj, dk = corner >> 2, (corner >> 1) & 1, corner & 1
        share = abs(1 - di - (device - i)) * abs(1 - dj - (uplink - j)) * abs(1 - dk - (edge - k))
        if share > 0.0:
            for b in range(len(found)):
                found[b] += share * after[i + di, j + dj, k + dk, b]


@compiled
def wait_all(
    after: FloatArray,
    value: FloatArray,
    placed: NDArray[np.int16],
    options: FloatArray,
    rules: GridRules,
    gap: Gap,
) -> None:
    """Fill ``after`` from ``value``: integrate over the gap along the diagonals, one grid step at a time.

    From a node to its neighbour one step lower the value is linear, unless the neighbour's option (``placed``) is not
    yet useful at the node: then it jumps at the moment the option becomes useful.
    """
    step_ms = rules.step_ms
    n = after.shape[0]
    for i in range(n):
        for j in range(n):
            for k in range(n):
                if not _reachable(j, k) or i + j + k == 0:
                    continue
                li, lj, lk = max(i - 1, 0), max(j - 1, 0), max(k - 1, 0)
                for b in range(after.shape[3]):
                    high = _at_belief(value, i, j, k, gap.nodes[0, b], gap.shares[0, b])
                    low = _at_belief(value, li, lj, lk, gap.nodes[1, b], gap.shares[1, b])
                    later = _at_belief(after, li, lj, lk, gap.nodes[2, b], gap.shares[2, b])
                    per_step, some, none = gap.weights[0, b], gap.weights[1, b], gap.weights[2, b]
                    o = placed[li, lj, lk, gap.nodes[1, b]]
                    late_ms = 0.0
                    if o != DROP:
                        late_ms = predict_latency(
                            i * step_ms,
                            j * step_ms,
                            k * step_ms,
                            options[o, 0],
                            options[o, 1],
                            options[o, 2],
                            rules.rate_bits_per_ms,
                            rules.rtt_ms,
                        )
                        late_ms -= rules.limit_ms
                    if late_ms > ON_TIME_TOLERANCE_MS:
                        before = 1.0 - np.exp(-per_step * min(late_ms / step_ms, 1.0))
                        passed = before * high + (some - before) * low
                    else:
                        second = some / per_step - none
                        passed = (some - second) * high + second * low
                    after[i, j, k, b] = passed + none * later


@compiled
def _at_belief(grid: FloatArray, i: int, j: int, k: int, node: int, share: float) -> float:
    """A grid's number between two belief nodes."""
    upper = min(node + 1, grid.shape[3] - 1)
    number: float = (1.0 - share) * grid[i, j, k, node] + share * grid[i, j, k, upper]
    return number
