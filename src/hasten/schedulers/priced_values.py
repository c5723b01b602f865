"""What backlogs cost: value functions for ``priced``, learnt from sample runs before the first decision.

The value of a system's backlogs after a decision is approximated by a sum: one function of each device's backlog, one
of each uplink's and one of each edge's, all piecewise linear and shared by all streams (backlogs are measured in
deadlines). The slope of the uplink's and the edge's function is the price of a millisecond of their time at that
backlog. Policy iteration: sample runs under the current prices, then least-squares temporal differences with traces
for the long-run average (Boyan, "Technical update: least-squares temporal difference learning", Machine Learning
2002) give the next ones; the prices whose runs gained most are kept. Runs use arrivals of the scenario's own kind but
seeds of their own, and the simulator's own kernels, calibration curves of kept promises included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hasten.core.arrivals import Arrivals, PoissonArrivals
from hasten.core.calibration import prior_shares
from hasten.core.decision import DEAD_LINK_BITS_PER_MS, BoolArray, Context, FloatArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.rates import RateTrace, rate_trace
from hasten.core.scenario import Realization
from hasten.schedulers.priced_fit import SampleLog, backlog_features, fit_values
from hasten.schedulers.priced_rule import BacklogPrices, Effects, PricedRule, free
from hasten.sim.arrays import Rules, new_log, new_state, pack_links, pack_tasks
from hasten.sim.beliefs import new_beliefs
from hasten.sim.edge_batches import no_batches
from hasten.sim.needs import TaskNeeds, pack_needs
from hasten.sim.promises import new_promises, promise, recall
from hasten.sim.steps import commit, finish, observe
from hasten.sim.ways import ways_of
from hasten.sim.world import World, new_view

SAMPLE_SEED = 2_000_000
ROUNDS = 6
"""Policy iterations."""
MOST_KNOWN = 64
"""Solutions that a process remembers."""
SCALES = (0.3, 2.0, 0.6, 1.4)
"""What the search multiplies prices by, in turn."""
DECISIONS = 500
"""Decisions of each sample run; the first fifth warms up."""
RUNS = 128


_known: dict[tuple[object, ...], BacklogPrices] = {}


class SteadyEdge(NamedTuple):
    """An edge, and a link to it whose rate stays."""

    rtt_ms: float
    workers: int
    rate_bits_per_ms: float


def learn_prices(context: Context, edges: Sequence[SteadyEdge]) -> BacklogPrices:
    """Find prices for a context with these edges, or recall them; the same numbers give the same prices."""
    edges = [edge._replace(rate_bits_per_ms=max(edge.rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)) for edge in edges]
    options = context.options
    arrays = (
        options.device_ms,
        options.payload_bits,
        options.edge_ms,
        options.worth,
        options.edge,
        context.deadline_ms,
        context.rate_hz,
    )
    key = (
        *(array.tobytes() for array in arrays),
        *(str(arrivals) for arrivals in context.arrivals),
        context.gain_terms,
        context.shared_uplink,
        context.ready_order,
        context.streams,
        *edges,
    )
    if key not in _known:
        while len(_known) >= MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = _search(context, edges)
    return _known[key]


def _search(context: Context, edges: Sequence[SteadyEdge]) -> BacklogPrices:
    """Policy iteration, then scaling.

    The best prices of policy iteration are then scaled, one resource at a time, as long as the runs gain more: a sum
    of functions of single backlogs is not the true value, and may do better a little off its least-squares fit.
    """
    runs, nothing = _SampleRuns(context, edges), free(len(edges))
    free_gain, prices = runs.evaluate(nothing)
    best = replace(nothing, shares=prices.shares)
    best_gain, _ = runs.evaluate(best)
    for _ in range(ROUNDS):
        gain, following = runs.evaluate(prices)
        if gain > best_gain:
            best, best_gain = prices, gain
        prices = following
    for factor in SCALES:
        for part in range(len(best.at_node) + 1):
            scaled = best.scaled(part, factor)
            gain, _ = runs.evaluate(scaled)
            if gain > best_gain:
                best, best_gain = scaled, gain
    return best if best_gain > free_gain else nothing


class _SampleRuns:
    """The same arrivals for every round of policy iteration: R runs of K decisions over M streams."""

    def __init__(self, context: Context, edges: Sequence[SteadyEdge]) -> None:
        self._edges = edges
        self._rows = len(context.deadline_ms)
        self._streams = max(context.streams, self._rows)
        self._context = context
        self._rule = PricedRule(context)
        # More streams share more, so that fewer runs tell as much.
        self._runs = int(np.clip(RUNS * 8 // self._streams, 24, RUNS))
        links = 1 if context.shared_uplink else self._streams
        steady = [rate_trace(np.zeros(1), np.array([edge.rate_bits_per_ms])) for edge in edges for _ in range(links)]
        self._realizations = [self._draw(run, tuple(steady)) for run in range(self._runs)]
        self._decisions = min(realization.tasks for realization in self._realizations)

    def _draw(self, run: int, rates: tuple[RateTrace, ...]) -> Realization:
        """The first tasks of a run over all streams."""
        context, rng = self._context, np.random.default_rng([SAMPLE_SEED, run])
        share = context.rate_hz / context.rate_hz.sum() * self._rows / self._streams
        times = []
        for m in range(self._streams):
            count = int(np.ceil(1.5 * DECISIONS * share[m % self._rows])) + 8
            times.append(self._process(m % self._rows).times(rng, count, np.inf, rng.random(), None))
        covered_ms = min(float(t[-1]) for t in times)
        arrival_ms = np.concatenate(times)
        stream = np.repeat(np.arange(self._streams), [len(t) for t in times])
        order = np.lexsort((stream, arrival_ms))
        order = order[arrival_ms[order] <= covered_ms][:DECISIONS]
        return Realization(run, arrival_ms[order], stream[order], rates, np.ones(len(order)))

    def _process(self, row: int) -> Arrivals:
        """A stream's arrivals where they are known and need no file, else Poisson ones of its rate."""
        if self._context.arrivals and self._context.arrivals[row].kind in ("poisson", "periodic", "mmpp"):
            return self._context.arrivals[row]
        return PoissonArrivals(kind="poisson", rate_hz=float(self._context.rate_hz[row]))

    def evaluate(self, prices: BacklogPrices) -> tuple[float, BacklogPrices]:
        """Mean gain above dropping of acting on ``prices``, and the prices that acting so suggests."""
        log = self._run(prices)
        counted = slice(self._decisions // 5, None)  # the start, from an empty system, only warms up
        average = float(log.gain[counted].mean())
        return average, BacklogPrices(fit_values(log, counted, average), log.shares)

    def _run(self, prices: BacklogPrices) -> SampleLog:
        """Simulate all runs under the prices."""
        context, number = self._context, self._decisions
        rules = self._rules()
        tasks = pack_tasks([realization.part(slice(number)) for realization in self._realizations])
        slots = self._runs * number
        state = new_state(rules, self._runs, slots, number)
        log = new_log(rules, self._runs, slots, rules.ways.workers)
        beliefs = new_beliefs(rules, self._runs, slots, number)
        world = World(rules, tasks, pack_links(self._realizations), state, log, beliefs)
        row = np.arange(self._runs)
        view, arrays = new_view(row, rules)
        edges = len(self._edges)
        prior = np.tile(prior_shares(edges), (self._streams, 1, 1))
        promises = new_promises(prior, self._runs, slots) if rules.ready else None  # else they are exact
        view.kept_share = shares = np.tile(prior_shares(edges), (self._runs, 1, 1))
        found = SampleLog.empty(number, self._runs, edges)
        for k in range(number):
            observe(k, arrays, world)
            seen = replace(view, stream=view.stream % self._rows)
            effects = self._rule.effects(seen)
            if promises is not None:
                recall(k, row, shares, promises, world)
            best, option = self._rule.choose(seen, effects, prices)
            if promises is not None:
                promise(k, arrays, option, promises, world)
            taken = option >= 0
            commit(k, row, option, False, world)
            found.features[k] = self._features(view, effects.of((row, np.maximum(best, 0))), taken)
        finish(world)
        if promises is not None:
            found.shares = promises.share.mean(axis=(0, 1))
        stream, option = tasks.stream % self._rows, np.maximum(state.option, 0)
        latency_ms = np.where(state.option >= 0, state.finish_ms - tasks.arrival_ms, np.inf)
        worth, terms = context.options.worth[stream, option], context.gain_terms
        gain = task_gain(worth, latency_ms, context.deadline_ms[stream], *terms) - terms.late_gain
        found.gain[:] = gain.reshape(self._runs, number).T
        return found

    def _features(self, view: View, after: Effects, taken: BoolArray) -> FloatArray:
        """(R, F): of the backlogs after one decision of each run, with these effects where a task is ``taken`` (R,)."""
        row, deadline_ms = np.arange(self._runs), self._context.deadline_ms
        device_ms = view.others_wait_ms.copy()
        device_ms[row, view.stream] = np.where(taken, after.device_ms, view.device_wait_ms)
        found = [backlog_features(device_ms / deadline_ms[np.arange(self._streams) % self._rows])]
        for seen, sent_ms, served_ms in zip(view.edges, after.uplink_ms, after.edge_ms, strict=True):
            uplink_ms = np.where(taken, sent_ms, seen.uplink_wait_ms)
            edge_ms = seen.edge_wait_ms.sum(axis=1) + np.where(taken, served_ms - seen.edge_wait_ms[:, 0], 0.0)
            lasting_ms = deadline_ms.max()
            found.append(backlog_features(uplink_ms[:, None] / lasting_ms))
            found.append(backlog_features(edge_ms[:, None] / (seen.edge_wait_ms.shape[1] * lasting_ms)))
        return np.concatenate(found, axis=1)

    def _rules(self) -> Rules:
        """What the simulator needs to know of the context; tasks are taken to go all the way."""
        context = self._context
        row = np.arange(self._streams) % self._rows
        time_weight, late_gain, fade = context.gain_terms
        table = replace(context.options, stops=None)
        needs = pack_needs(table)
        link = np.zeros_like(row) if context.shared_uplink else np.arange(self._streams)
        links = link + (int(link.max()) + 1) * np.arange(len(self._edges))[:, None]
        rtt_ms, workers = [edge.rtt_ms for edge in self._edges], [edge.workers for edge in self._edges]
        return Rules(
            device_ms=table.device_ms[row],
            payload_bits=table.payload_bits[row],
            edge_ms=table.edge_ms[row],
            worth=table.worth[row],
            deadline_ms=context.deadline_ms[row],
            needs=TaskNeeds(needs.until, *(values[row] for values in needs[1:])),
            ways=ways_of(table.edge[row], links, rtt_ms, workers),
            batches=no_batches(sum(workers)),
            useful_ms=useful_limit_ms(context)[row],
            rtt_ms=float(context.rtt_ms),
            shared=context.shared_uplink,
            ready=context.ready_order and self._streams > 1,
            age_ms=0.0,
            time_weight=float(time_weight),
            late_gain=float(late_gain),
            fade=float(fade),
        )
