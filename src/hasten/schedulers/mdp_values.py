"""Values of backlogs for one stream: the online optimum by value iteration, used before a run, not in it.

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

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.core.gain import GainTerms, useful_until_ms
from hasten.schedulers.mdp_kernels import Gap, GridRules, decide_all, growth_bounds, wait_all
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
        problem.rate_bits_per_ms, problem.rtt_ms, problem.deadline_ms, limit_ms, limit_ms / cells, problem.gain_terms
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
    decide_all(after, value, choice, options, rules, found)
    for sweep in range(MAX_SWEEPS):
        if sweep < SETTLING_SWEEPS:
            placed[:] = choice
        value -= value[0, 0, 0, 0]
        after[0, 0, 0] = at_rest @ value[0, 0, 0]
        wait_all(after, value, placed, options, rules, gap)
        previous[:] = value
        decide_all(after, value, choice, options, rules, found)
        lowest, highest = growth_bounds(value, previous)
        if highest - lowest < GAIN_TOLERANCE:
            break
    return after, lowest, highest


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
