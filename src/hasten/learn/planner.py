"""Hindsight: an actor that knows a run's arrivals and rates and plans, from whatever backlogs it finds, what is best.

Plans come from the offline solver's label-setting search over windows of known arrivals, as a beam. They are
made as if in grant order, so in ready order they are good, not best. Of other streams' own uplinks no backlog is seen.
Where devices choose among several edges, so do plans.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, FloatArray, IntArray, View
from hasten.core.options import DROP
from hasten.learn.collect import Mask, Observation
from hasten.learn.domain import Runs
from hasten.learn.interruption import check_interrupt
from hasten.offline.exact.search import beam_search
from hasten.offline.instance import Costs, Instance, Rates, among_edges, costs_of, rates_of, tasks_of
from hasten.sim.ways import pack_ways

WINDOW = 20
"""Arrivals planned at once."""
USED = 8
"""Decisions of a plan that are used: what comes near its end does not matter to it."""
BEAM = 48
UNPLANNED = -2


class Planner:
    """Decides the given runs by plans; makes a new one when the last is used up or was not followed."""

    clairvoyant = True
    teaches = True

    def __init__(self, runs: Runs) -> None:
        self._scenario, self._realizations = runs.scenario, runs.realizations

    def reset(self, context: Context, column: IntArray) -> None:
        """Lay out costs and rates to plan with."""
        table, self._column = context.options.undominated()
        one = costs_of(table, context.deadline_ms, context.gain_terms, 0.0, 1, shared_uplink=True)
        self._costs: Costs = among_edges(one, pack_ways(self._scenario, table.edge))
        self._rates: list[Rates] = [rates_of(run.rates, self._costs) for run in self._realizations]
        self._task = np.zeros(context.batch, dtype=np.int64)
        self._plan = np.full((context.batch, USED), UNPLANNED)

    def act(self, view: View, observation: Observation, mask: Mask) -> IntArray:
        """The planned option of each decision."""
        check_interrupt()
        option = np.empty(len(view.row), dtype=np.int64)
        for i, row in enumerate(view.row):
            at = self._task[row] % USED
            if at == 0 or self._plan[row, at] == UNPLANNED:
                self._replan(view, i, int(at))
            option[i] = self._plan[row, at]
            self._task[row] += 1
        return option

    def skip(self, row: IntArray) -> None:
        """Somebody else decides these runs' next tasks: what was planned for the rest is void."""
        self._task[row] += 1
        self._plan[row] = UNPLANNED

    def _replan(self, view: View, i: int, at: int) -> None:
        """Plan decision ``i`` of the view and those after it, up to the next multiple of ``USED``."""
        row = int(view.row[i])
        run, first = self._realizations[row], int(self._task[row])
        window = slice(first, first + WINDOW)
        tasks = tasks_of(run.arrival_ms[window], run.stream[window], self._costs, self._rates[row])
        found = beam_search(Instance(self._costs, self._rates[row], tasks), BEAM, free_ms=self._free_ms(view, i))
        stream = run.stream[window]
        option = np.where(found.option == DROP, DROP, self._column[stream, np.maximum(found.option, 0)])
        planned = option[: USED - at]
        self._plan[row, at : at + len(planned)] = planned

    def _free_ms(self, view: View, i: int) -> FloatArray:
        """(M + L + W,): when each resource is free, as the view shows it."""
        device_ms = view.others_wait_ms[i].copy()
        device_ms[view.stream[i]] = view.device_wait_ms[i]
        uplink_ms = np.zeros(self._costs.links)
        for link, edge in zip(self._costs.ways.link[:, view.stream[i]], view.edges, strict=True):
            uplink_ms[link] = edge.uplink_wait_ms[i]
        workers_ms = [edge.edge_wait_ms[i] for edge in view.edges]
        return np.asarray(view.now_ms[i] + np.concatenate([device_ms, uplink_ms, *workers_ms]))
