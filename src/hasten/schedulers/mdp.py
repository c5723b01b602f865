"""The online optimum for one stream: no scheduler without knowledge of the future has a larger long-run gain.

It covers one stream with Poisson or two-state Markov-modulated arrivals, a constant uplink rate and one edge
worker, in any topology and order (they coincide for one stream). Before a run the values of all backlogs are found
by value iteration (:mod:`hasten.schedulers.mdp_values`); a decision is then one look-ahead: the gain now plus the
interpolated value of the backlogs it leaves. The state of modulated arrivals is hidden, so the scheduler keeps an
exact belief in it from the gaps between arrivals; beyond two states it refuses. Where the view is delayed or noisy
it acts on what it sees as if that were true, and is then no longer the optimum.
"""

from __future__ import annotations

import numpy as np

from hasten.core.arrivals import MmppArrivals, PoissonArrivals
from hasten.core.decision import DEAD_LINK_BITS_PER_MS, Context, Decision, FloatArray, IntArray, View
from hasten.core.errors import InputError
from hasten.core.options import DROP
from hasten.schedulers.mdp_kernels import BeliefStates, look_ahead
from hasten.schedulers.mdp_values import COARSEST_CELLS, Problem, Values, solve
from hasten.schedulers.modulated import MAX_STATES, ModulatedArrivals

DEFAULT_CELLS = 64
BELIEFS = 17
"""Nodes on the belief of a two-state process; 33 change the mean gain in the fifth digit."""


class OnlineOptimum:
    """Acts on the values of backlogs; ``mdp:CELLS`` sets the grid (8 times a power of two, 64 by default)."""

    def __init__(self, argument: str = "") -> None:
        self.name = f"mdp:{argument}" if argument else "mdp"
        self._cells = _cells(argument)
        self.values: Values
        """What the last ``reset`` found, ``values.mean_gain`` the optimal long-run gain per arriving task."""

    def reset(self, context: Context) -> None:
        """Solve for the context's numbers, or reuse the solution if the process has had them before.

        Raises:
            InputError: the context is not one that this scheduler covers.
        """
        rates_hz, dwell_ms = _arrival_states(context)
        table, column = context.options.undominated()
        rate = max(_constant_rate(context), DEAD_LINK_BITS_PER_MS)
        device_ms, payload_bits, edge_ms, worth = (
            tuple(float(number) for number in row[0])
            for row in (table.device_ms, table.payload_bits, table.edge_ms, table.worth)
        )
        deadline_ms = float(context.deadline_ms[0])
        problem = Problem(
            device_ms,
            payload_bits,
            edge_ms,
            worth,
            deadline_ms,
            context.gain_terms,
            context.rtt_ms,
            rate,
            rates_hz,
            dwell_ms,
        )
        self.values = solve(problem, self._cells, BELIEFS if len(rates_hz) > 1 else 1)
        self._column = np.append(column[0], DROP)  # so that the kernel's DROP (-1) stays DROP
        self._found = np.empty(self.values.worth_after.shape[3])
        self._arrivals = ModulatedArrivals(rates_hz, dwell_ms)
        self._belief = np.full(context.batch, self._arrivals.first())
        self._last_ms = np.full(context.batch, np.nan)
        nothing = np.zeros(0)
        self._look_ahead(
            BeliefStates(nothing, nothing, nothing[:, None], nothing, nothing)
        )  # compiles now, not at the first task

    def decide(self, view: View) -> Decision:
        """For each decision the option (or DROP) of largest gain now plus value of what it leaves."""
        rate = np.maximum(view.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
        belief = self._updated_belief(view)
        best = self._look_ahead(BeliefStates(view.device_wait_ms, view.uplink_wait_ms, view.edge_wait_ms, rate, belief))
        return Decision(self._column[best])

    def _look_ahead(self, states: BeliefStates) -> IntArray:
        """The best undominated option (B,), or DROP."""
        best = np.empty(len(states.belief), dtype=np.int64)
        values = self.values
        look_ahead(states, values.worth_after, values.options, values.rules, self._found, best)
        return best

    def _updated_belief(self, view: View) -> FloatArray:
        """The belief (B,) at these arrivals, from the gap since each row's previous one."""
        row = view.row
        if self._arrivals.states == 1:
            return np.ones(len(row))
        belief = self._arrivals.arrived(self._belief[row], view.now_ms - self._last_ms[row])
        # The first arrival has no gap; nor does a gap of 0 out of a state without arrivals say anything.
        belief = np.where(np.isnan(belief), self._belief[row], belief)
        self._belief[row] = belief
        self._last_ms[row] = view.now_ms
        return belief


def _cells(argument: str) -> int:
    """The grid's cells from the text behind the colon."""
    if not argument:
        return DEFAULT_CELLS
    cells = int(argument) if argument.isdigit() and len(argument) < 5 else 0
    doubled = cells // COARSEST_CELLS
    if cells % COARSEST_CELLS or not 1 <= doubled <= 32 or doubled & (doubled - 1):
        raise InputError("schedulers", "mdp", argument, "8, 16, 32, 64, 128 or 256 grid cells, as in mdp:64")
    return cells


def _constant_rate(context: Context) -> float:
    if context.uplink_bits_per_ms is None:
        raise InputError("scheduler mdp", "uplink.rate", "a rate that varies or is not known", "a constant rate")
    return context.uplink_bits_per_ms


def _arrival_states(context: Context) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates and dwell times of the one stream's arrival states."""
    if context.streams != 1:
        raise InputError("scheduler mdp", "streams", context.streams, "one stream")
    if context.workers != 1:
        raise InputError("scheduler mdp", "edge.workers", context.workers, "one worker")
    arrivals = context.arrivals[0] if context.arrivals else None
    if isinstance(arrivals, PoissonArrivals):
        return (arrivals.rate_hz,), (1.0,)
    if isinstance(arrivals, MmppArrivals) and len(arrivals.rates_hz) <= MAX_STATES:
        return arrivals.rates_hz, arrivals.dwell_ms
    kind = arrivals.kind if arrivals else "unknown"
    raise InputError("scheduler mdp", "streams.arrivals", kind, "poisson, or mmpp with one or two states")
