"""Values of backlogs for one stream: the online optimum by value iteration. Compiled; used before a run, not in it.

The state at an arrival is the backlog of device, uplink and edge in ms, and for Markov-modulated arrivals the belief
in the first arrival state. An option or a drop turns it into the backlogs right after the decision; until the next
arrival one random gap G takes the same off all three: ``max(backlog - G, 0)``. With ``worth_after`` (W) the value
right after a decision and g the mean gain per task,

    V(s) = max over options j useful at s, and DROP, of  gain_j(s) + W(after_j(s)),
    W(s, b) = E[V(max(s - G, 0), belief after G) | b] - g

is solved on a grid by relative value iteration, with bounds on g after each sweep (Puterman, "Markov Decision
Processes", 1994, section 8.5).

Two properties make the grid exact enough to trust. Lowering all backlogs alike walks along a diagonal of the grid,
so the integral over the gap is a recursion from node to node. And V jumps where an option becomes useful, but such
borders lie across the diagonals, so W is continuous: only W is interpolated, and the jump is placed where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.core.errors import HastenError
from hasten.core.gain import GainTerms, task_gain, useful_until_ms
from hasten.core.options import DROP
from hasten.core.timing import ON_TIME_TOLERANCE_MS, predict_latency, stage_ends
from hasten.schedulers.modulated import ModulatedArrivals

FloatArray = NDArray[np.float64]

GAIN_TOLERANCE = 2e-5
"""Iteration stops when the mean gain per task is known to within this, on the grid."""
MAX_SWEEPS = 500
SETTLING_SWEEPS = 20
"""After so many sweeps the options that tell where the value jumps stay what they are. Where two are worth the same
they would otherwise change places for ever; so fixed, the sweeps are those of a Markov decision process and settle."""
COARSEST_CELLS = 8
MOMENT = 1e-6
LEAST_CHANCE = 1e-12
"""An arrival within one grid step is at least this likely, so that the rarest arrivals do not divide by zero."""


@dataclass(frozen=True)
class Problem:
    """One stream's decision problem in plain numbers, hashable; sequences are over J options."""

    device_ms: tuple[float, ...]
    payload_bits: tuple[float, ...]
    edge_ms: tuple[float, ...]
    worth: tuple[float, ...]
    deadline_ms: float
    gain_terms: GainTerms
    rtt_ms: float
    rate_bits_per_ms: float
    rates_hz: tuple[float, ...]
    """Arrival rate of each state of the arrival process: one (Poisson) or two."""
    dwell_ms: tuple[float, ...]


class GridRules(NamedTuple):
    """The numbers that kernels share; see :class:`Problem`."""

    rate_bits_per_ms: float
    rtt_ms: float
    deadline_ms: float
    limit_ms: float
    """Latency beyond which an answer is worthless."""
    step_ms: float
    """Width of a grid cell, the same on all backlogs."""
    time_weight: float
    late_gain: float
    fade: float


@dataclass(frozen=True)
class Values:
    """The solution on the grid."""

    worth_after: FloatArray
    """(n+1, n+1, n+1, beliefs): relative value right after a decision, by device, uplink, edge backlog and belief."""
    options: FloatArray
    """(J, 4): device ms, bits, edge ms, worth."""
    rules: GridRules
    mean_gain: float
    """The optimal long-run gain per arriving task."""
    coarse_gain: float
    """The same from half the cells: their difference tells how much the grid matters."""


@lru_cache(maxsize=8)
def solve(problem: Problem, cells: int, beliefs: int) -> Values:
    """Solve with ``cells`` (8 times a power of two) per backlog and ``beliefs`` nodes (1 for one arrival state).

    Raises:
        HastenError: the iteration does not settle, because very many tasks arrive within a deadline.
    """
    arrivals = ModulatedArrivals(problem.rates_hz, problem.dwell_ms)
    options = np.array([problem.device_ms, problem.payload_bits, problem.edge_ms, problem.worth]).T.copy()
    n = COARSEST_CELLS
    after = np.zeros((n + 1, n + 1, n + 1, beliefs))
    gain = coarse_gain = 0.0
    while True:
        coarse_gain = gain
        rules = _rules(problem, n)
        after, lowest, highest = _iterate(options, rules, arrivals, after)
        if highest - lowest >= GAIN_TOLERANCE:
            raise HastenError(
                f"scheduler mdp: backlogs of up to {rules.limit_ms:g} ms settle too slowly at up to "
                f"{max(problem.rates_hz):g} arrivals per second; expected fewer arrivals within a deadline"
            )
        gain = 0.5 * (lowest + highest)
        if n >= cells:
            break
        n *= 2
        after = _refined(after)
    return Values(after, options, rules, gain, coarse_gain)


def _rules(problem: Problem, cells: int) -> GridRules:
    limit_ms = float(useful_until_ms(problem.deadline_ms, problem.gain_terms.fade))
    return GridRules(
        problem.rate_bits_per_ms, problem.rtt_ms, problem.deadline_ms, limit_ms, limit_ms / cells, *problem.gain_terms
    )


def _refined(after: FloatArray) -> FloatArray:
    """Linear interpolation to twice the cells along each backlog: a good start for the finer grid."""
    for axis in range(3):
        coarse = np.moveaxis(after, axis, 0)
        fine = np.empty((2 * len(coarse) - 1, *coarse.shape[1:]))
        fine[::2] = coarse
        fine[1::2] = 0.5 * (coarse[1:] + coarse[:-1])
        after = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(after)


def _iterate(
    options: FloatArray, rules: GridRules, arrivals: ModulatedArrivals, after: FloatArray
) -> tuple[FloatArray, float, float]:
    """Relative value iteration from ``after``; returns the new values and what encloses the mean gain on the grid."""
    beliefs = after.shape[3]
    gap, at_rest = _gap(arrivals, rules.step_ms, beliefs)
    value, previous = np.zeros_like(after), np.empty_like(after)
    choice = np.zeros(after.shape, dtype=np.int16)
    placed = np.zeros_like(choice)
    found = np.empty(beliefs)
    lowest, highest = -np.inf, np.inf
    _decide(after, value, choice, options, rules, found)
    for sweep in range(MAX_SWEEPS):
        if sweep < SETTLING_SWEEPS:
            placed[:] = choice
        value -= value[0, 0, 0, 0]
        after[0, 0, 0] = at_rest @ value[0, 0, 0]
        _wait(after, value, placed, options, rules, gap)
        previous[:] = value
        _decide(after, value, choice, options, rules, found)
        lowest, highest = _bounds(value, previous)
        if highest - lowest < GAIN_TOLERANCE:
            break
    return after, lowest, highest


class Gap(NamedTuple):
    """What one grid step of waiting does, for each belief node."""

    weights: FloatArray
    """(3, beliefs): arrival rate over the step (per step), its probability of an arrival, of none."""
    nodes: NDArray[np.int64]
    """(3, beliefs): lower node of the belief at an arrival at the step's start, at its end, and without arrival."""
    shares: FloatArray
    """(3, beliefs): share of the upper node in each."""


def _gap(arrivals: ModulatedArrivals, step_ms: float, beliefs: int) -> tuple[Gap, FloatArray]:
    """The tables of one step, and the matrix (beliefs, beliefs) of a whole gap that starts with all backlogs zero."""
    belief = np.linspace(0.0, 1.0, beliefs) if beliefs > 1 else np.ones(1)
    # "At once" is a moment later: an arrival from a state that brings none says that the state has just changed.
    at_once, at_end = np.full(beliefs, MOMENT * step_ms), np.full(beliefs, step_ms)
    none, quiet = arrivals.quiet(belief, at_end)
    none = np.minimum(none, 1.0 - LEAST_CHANCE)
    some = 1.0 - none
    rate = -np.log(none)
    reached = np.stack([arrivals.arrived(belief, at_once), arrivals.arrived(belief, at_end), quiet])
    place = reached * max(beliefs - 1, 0)
    nodes = np.clip(np.floor(place).astype(np.int64), 0, max(beliefs - 2, 0))
    shares = place - nodes if beliefs > 1 else np.zeros((3, beliefs))
    to_node = np.zeros((3, beliefs, beliefs))
    rows = np.arange(beliefs)
    for i in range(3):
        np.add.at(to_node[i], (rows, nodes[i]), 1.0 - shares[i])
        np.add.at(to_node[i], (rows, np.minimum(nodes[i] + 1, beliefs - 1)), shares[i])
    late = some / rate - none
    arriving = (some - late)[:, None] * to_node[0] + late[:, None] * to_node[1]
    at_rest = np.linalg.solve(np.eye(beliefs) - none[:, None] * to_node[2], arriving)
    return Gap(np.stack([rate, some, none]), nodes, shares), at_rest


@compiled
def _reachable(uplink: int, edge: int) -> bool:
    """An uplink backlog is followed by at least as much at the edge; one more cell is kept for interpolation."""
    return edge >= uplink - 1


@compiled
def _bounds(value: FloatArray, previous: FloatArray) -> tuple[float, float]:
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
    device_ms: float,
    uplink_ms: float,
    edge_ms: float,
    option: FloatArray,
    rate_bits_per_ms: float,
    after: FloatArray,
    rules: GridRules,
    found: FloatArray,
) -> float:
    """Gain of an option at these backlogs, and in ``found`` (beliefs,) the values of the backlogs that it leaves.

    An option that would be useless by its end has gain minus infinity, and ``found`` is left alone.
    """
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
    gain: float = task_gain(option[3], latency_ms, rules.deadline_ms, rules.time_weight, rules.late_gain, rules.fade)
    return gain


@compiled
def _decide(
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
                    value[i, j, k, b] = rules.late_gain + after[i, j, k, b]
                    choice[i, j, k, b] = DROP
                for o in range(len(options)):
                    gain = _try(i * step_ms, j * step_ms, k * step_ms, options[o], rate, after, rules, found)
                    if gain == -np.inf:
                        continue
                    for b in range(beliefs):
                        if gain + found[b] > value[i, j, k, b]:
                            value[i, j, k, b] = gain + found[b]
                            choice[i, j, k, b] = o


@compiled
def look_ahead(
    device_ms: FloatArray,
    uplink_ms: FloatArray,
    edge_ms: FloatArray,
    rate_bits_per_ms: FloatArray,
    belief: FloatArray,
    after: FloatArray,
    options: FloatArray,
    rules: GridRules,
    found: FloatArray,
    best: NDArray[np.int64],
) -> None:
    """Fill ``best`` (B,) with the option (or DROP) of largest gain plus value of the backlogs it leaves.

    Backlogs, rates and beliefs are (B,), ``edge_ms`` (B, 1), ``options`` (J, 4) as device ms, bits, edge ms, worth;
    ``found`` (belief nodes,) is room to work in. Between belief nodes values are interpolated.
    """
    step_ms = rules.step_ms
    top = len(found) - 1
    for a in range(len(best)):
        node = min(int(belief[a] * top), max(top - 1, 0))
        share = belief[a] * top - node
        device, uplink, edge = device_ms[a], uplink_ms[a], edge_ms[a, 0]
        _interpolate(after, device / step_ms, uplink / step_ms, edge / step_ms, found)
        best[a] = DROP
        highest = rules.late_gain + (1.0 - share) * found[node] + share * found[min(node + 1, top)]
        for o in range(len(options)):
            gain = _try(device, uplink, edge, options[o], rate_bits_per_ms[a], after, rules, found)
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
def _wait(
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
