"""What backlogs cost: value functions for ``priced``, learnt from sample runs before the first decision.

The value of a system's backlogs after a decision is approximated by a sum: one function of each device's backlog, one
of the uplink's and one of the edge's, all piecewise linear and shared by all streams (backlogs are measured in
deadlines). The slope of the uplink's and the edge's function is the price of a millisecond of their time at that
backlog. Policy iteration: sample runs under the current prices, then least-squares temporal differences with traces
for the long-run average (Boyan, "Technical update: least-squares temporal difference learning", Machine Learning
2002) give the next ones; the prices whose runs gained most are kept. Runs use arrivals of the scenario's own kind but
seeds of their own, and the simulator's own kernels. In ready order a task that is yet to be sent can be overtaken, so
that its predicted gain is worth less the less slack it has; by how much is learnt from the same runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hasten.core.arrivals import Arrivals, PoissonArrivals
from hasten.core.decision import DEAD_LINK_BITS_PER_MS, BoolArray, Context, FloatArray, IntArray, View, useful_limit_ms
from hasten.core.gain import task_gain
from hasten.core.rates import RateTrace, rate_trace
from hasten.core.scenario import Realization
from hasten.core.timing import half_way, stage_ends
from hasten.sim.arrays import Rules, new_log, new_state, pack_links, pack_tasks
from hasten.sim.steps import commit, finish, observe

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
NODES = np.array([0.0, 0.05, 0.12, 0.22, 0.35, 0.5, 0.7, 1.0, 1.5])
"""Backlogs, in deadlines, where the slopes change; beyond the last the value stays."""
SLACK_NODES = np.array([0.0, 0.03, 0.08, 0.15, 0.25, 0.4, 0.6])
"""Predicted slack, in deadlines. In ready order later decisions may overtake a task that is still to be sent."""
TRUST_PRIOR = 5.0
"""Gain's worth of tasks that keep what they promise, added to each node's statistics."""
TRACE = 0.8
RIDGE = 1e-3
TIE_PER_MS = 1e-9
"""Among options of equal score the earliest is taken."""
DEVICE, UPLINK, EDGE = range(3)


@dataclass(frozen=True)
class Prices:
    """What backlogs cost and how far predictions can be trusted."""

    at_node: FloatArray
    """(3, nodes): value of a backlog of a device, an uplink and the edge, against an empty one (0), never positive."""
    trust: FloatArray
    """(slack nodes,): share of the predicted gain of a task sent with this slack that it brings on average."""

    def of(self, resource: int, backlog: FloatArray) -> FloatArray:
        """Value of a backlog, measured in deadlines, of one resource."""
        value: FloatArray = np.interp(backlog, NODES, self.at_node[resource])
        return value

    def scaled(self, part: int, factor: float) -> Prices:
        """The same with one resource's values, or for ``part`` 3 the distrust, multiplied."""
        if part == len(self.at_node):
            return replace(self, trust=np.clip(1.0 - factor * (1.0 - self.trust), 0.0, 1.0))
        factors = np.ones((len(self.at_node), 1))
        factors[part] = factor
        return replace(self, at_node=factors * self.at_node)

    def trusted(self, slack: FloatArray) -> FloatArray:
        """Share of the predicted gain to count on, by slack in deadlines."""
        share: FloatArray = np.interp(slack, SLACK_NODES, self.trust)
        return share


FREE = Prices(np.zeros((3, len(NODES))), np.ones(len(SLACK_NODES)))
"""Backlogs that cost nothing and predictions that hold: with these ``priced`` is greedy."""


@dataclass
class Effects:
    """What each option of B decisions would do, (B, J): ends in ms from now, and gain above dropping."""

    device_ms: FloatArray
    uplink_ms: FloatArray
    edge_ms: FloatArray
    """When the worker that serves the task is free again."""
    latency_ms: FloatArray
    gain: FloatArray
    slack: FloatArray
    """Latency that is left until the answer is worthless, in deadlines; negative for options that are too late."""
    sends: BoolArray

    def of(self, some: Any) -> Effects:
        """Those of some of the decisions, or of some options of them."""
        parts = (self.device_ms, self.uplink_ms, self.edge_ms, self.latency_ms, self.gain, self.slack, self.sends)
        return Effects(*(part[some] for part in parts))


class Choice:
    """The rule of ``priced``: gain, plus the value of the backlogs that an option leaves, less that of now."""

    def __init__(self, context: Context) -> None:
        self._context = context
        table, self.column = context.options.undominated()
        self._device_ms, self._bits, self._edge_ms = table.device_ms, table.payload_bits, table.edge_ms
        self._worth = table.worth
        self._limit_ms = useful_limit_ms(context)
        self._longest_ms = float(context.deadline_ms.max())

    def effects(
        self, stream: IntArray, device_ms: FloatArray, uplink_ms: FloatArray, edge_ms: FloatArray, rate: FloatArray
    ) -> Effects:
        """Run every option through the timing law from backlogs (B,) at ``rate`` (B,) bits per ms."""
        context = self._context
        bits = self._bits[stream]
        sends = bits > 0
        waits = device_ms[:, None], uplink_ms[:, None], edge_ms[:, None]
        costs = self._device_ms[stream], bits, self._edge_ms[stream]
        device_end, sent, edge_end = stage_ends(*waits, *costs, rate[:, None], context.rtt_ms)
        latency = np.where(sends, half_way(edge_end, context.rtt_ms), device_end)
        deadline = context.deadline_ms[stream][:, None]
        gain = task_gain(self._worth[stream], latency, deadline, *context.gain_terms) - context.gain_terms[1]
        return Effects(
            device_ms=device_end,
            uplink_ms=np.where(sends, sent, uplink_ms[:, None]),
            edge_ms=np.where(sends, edge_end, edge_ms[:, None]),
            latency_ms=latency,
            gain=gain,
            slack=(self._limit_ms[stream][:, None] - latency) / deadline,
            sends=sends,
        )

    def choose(
        self,
        stream: IntArray,
        device_ms: FloatArray,
        uplink_ms: FloatArray,
        edge_wait_ms: FloatArray,
        effects: Effects,
        prices: Prices,
    ) -> tuple[IntArray, IntArray]:
        """The best option's place (B,) among the undominated ones, and its column in the context's table, or DROP."""
        deadline = self._context.deadline_ms[stream][:, None]
        workers = edge_wait_ms.shape[1]
        total_ms = edge_wait_ms.sum(axis=1, keepdims=True)
        edge_ms = (total_ms + effects.edge_ms - edge_wait_ms[:, :1]) / workers
        lasting = self._longest_ms
        change = (
            prices.of(DEVICE, effects.device_ms / deadline)
            - prices.of(DEVICE, device_ms[:, None] / deadline)
            + prices.of(UPLINK, effects.uplink_ms / lasting)
            - prices.of(UPLINK, uplink_ms[:, None] / lasting)
            + prices.of(EDGE, edge_ms / lasting)
            - prices.of(EDGE, total_ms / (workers * lasting))
        )
        gain = np.where(effects.sends, effects.gain * prices.trusted(effects.slack), effects.gain)
        net = gain + change - TIE_PER_MS * effects.latency_ms
        net = np.where(effects.slack >= 0.0, net, -np.inf)
        best = net.argmax(axis=1)
        rows = np.arange(len(best))
        return best, np.where(net[rows, best] > 0.0, self.column[stream, best], -1)


_known: dict[tuple[object, ...], Prices] = {}


def learn_prices(context: Context, rate_bits_per_ms: float) -> Prices:
    """Find prices for a context at one rate of the uplink, or recall them; the same numbers give the same prices."""
    rate_bits_per_ms = max(rate_bits_per_ms, DEAD_LINK_BITS_PER_MS)
    options = context.options
    arrays = (
        options.device_ms,
        options.payload_bits,
        options.edge_ms,
        options.worth,
        context.deadline_ms,
        context.rate_hz,
    )
    key = (
        *(array.tobytes() for array in arrays),
        *(str(arrivals) for arrivals in context.arrivals),
        context.gain_terms,
        context.rtt_ms,
        context.workers,
        context.shared_uplink,
        context.ready_order,
        context.streams,
        rate_bits_per_ms,
    )
    if key not in _known:
        while len(_known) >= MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = _search(context, rate_bits_per_ms)
    return _known[key]


def _search(context: Context, rate_bits_per_ms: float) -> Prices:
    """Policy iteration, then scaling.

    The best prices of policy iteration are then scaled, one resource at a time, as long as the runs gain more: a sum
    of functions of single backlogs is not the true value, and may do better a little off its least-squares fit.
    """
    runs = _SampleRuns(context, rate_bits_per_ms)
    free_gain, prices = runs.evaluate(FREE)
    best, best_gain = FREE, -np.inf
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
    return best if best_gain > free_gain else FREE


class _SampleRuns:
    """The same arrivals for every round of policy iteration: R runs of K decisions over M streams."""

    def __init__(self, context: Context, rate_bits_per_ms: float) -> None:
        self._rows = len(context.deadline_ms)
        self._streams = max(context.streams, self._rows)
        self._context = context
        self._choice = Choice(context)
        # More streams share more, so that fewer runs tell as much.
        self._runs = int(np.clip(RUNS * 8 // self._streams, 24, RUNS))
        steady = rate_trace(np.zeros(1), np.array([rate_bits_per_ms]))
        links = 1 if context.shared_uplink else self._streams
        self._realizations = [self._draw(run, (steady,) * links) for run in range(self._runs)]
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

    def evaluate(self, prices: Prices) -> tuple[float, Prices]:
        """Mean gain above dropping of acting on ``prices``, and the prices that acting so suggests."""
        log = self._run(prices)
        counted = slice(self._decisions // 5, None)  # the start, from an empty system, only warms up
        average = float(log.gain[counted].mean())
        return average, Prices(self._fit_values(log, counted, average), _fit_trust(log, counted))

    def _run(self, prices: Prices) -> _Log:
        """Simulate all runs under the prices."""
        context, number = self._context, self._decisions
        rules = self._rules()
        tasks = pack_tasks([_first_tasks(realization, number) for realization in self._realizations])
        slots = self._runs * number
        state = new_state(rules, self._runs, slots, number, context.workers)
        log = new_log(rules, self._runs, slots, context.workers)
        links = pack_links(self._realizations)
        row = np.arange(self._runs)
        view = _new_view(row, context.workers, self._streams)
        found = _Log.empty(number, self._runs)
        deadline_ms = context.deadline_ms[np.arange(self._streams) % self._rows]
        for k in range(number):
            observe(
                k,
                row,
                view.now_ms,
                view.stream,
                view.device_wait_ms,
                view.uplink_wait_ms,
                view.edge_wait_ms,
                view.rate_bits_per_ms,
                view.others_wait_ms,
                rules,
                tasks,
                links,
                state,
                log,
            )
            stream = view.stream % self._rows
            effects = self._choice.effects(
                stream, view.device_wait_ms, view.uplink_wait_ms, view.edge_wait_ms[:, 0], view.rate_bits_per_ms
            )
            best, option = self._choice.choose(
                stream, view.device_wait_ms, view.uplink_wait_ms, view.edge_wait_ms, effects, prices
            )
            taken = option >= 0
            commit(k, row, option, False, rules, tasks, links, state, log)
            after = effects.of((row, np.maximum(best, 0)))
            device_ms = view.others_wait_ms.copy()
            device_ms[row, view.stream] = np.where(taken, after.device_ms, view.device_wait_ms)
            uplink_ms = np.where(taken, after.uplink_ms, view.uplink_wait_ms)
            edge_ms = view.edge_wait_ms.sum(axis=1) + np.where(taken, after.edge_ms - view.edge_wait_ms[:, 0], 0.0)
            lasting_ms = context.deadline_ms.max()
            found.features[k] = np.concatenate(
                [
                    _features(device_ms / deadline_ms),
                    _features(uplink_ms[:, None] / lasting_ms),
                    _features(edge_ms[:, None] / (context.workers * lasting_ms)),
                ],
                axis=1,
            )
            found.sends[k] = taken & after.sends
            found.slack[k] = after.slack
            found.predicted[k] = np.where(taken, after.gain, 0.0)
        finish(rules, tasks, links, state)
        stream, option = tasks.stream % self._rows, np.maximum(state.option, 0)
        latency_ms = np.where(state.option >= 0, state.finish_ms - tasks.arrival_ms, np.inf)
        worth, terms = context.options.worth[stream, option], context.gain_terms
        gain = task_gain(worth, latency_ms, context.deadline_ms[stream], *terms) - terms[1]
        found.gain[:] = gain.reshape(self._runs, number).T
        return found

    def _rules(self) -> Rules:
        """What the simulator needs to know of the context."""
        context = self._context
        row = np.arange(self._streams) % self._rows
        time_weight, late_gain, fade = context.gain_terms
        return Rules(
            device_ms=context.options.device_ms[row],
            payload_bits=context.options.payload_bits[row],
            edge_ms=context.options.edge_ms[row],
            worth=context.options.worth[row],
            deadline_ms=context.deadline_ms[row],
            useful_ms=useful_limit_ms(context)[row],
            rtt_ms=float(context.rtt_ms),
            shared=context.shared_uplink,
            ready=context.ready_order and self._streams > 1,
            age_ms=0.0,
            time_weight=float(time_weight),
            late_gain=float(late_gain),
            fade=float(fade),
        )

    def _fit_values(self, log: _Log, counted: slice, average: float) -> FloatArray:
        """Least-squares temporal differences with traces: (3, nodes)."""
        features, gain = log.features[counted], log.gain[counted]
        size = features.shape[2]
        matrix, target = np.zeros((size, size)), np.zeros(size)
        trace = np.zeros(features.shape[1:])
        for k in range(len(features) - 1):
            trace = TRACE * trace + features[k]
            matrix += trace.T @ (features[k] - features[k + 1])
            target += trace.T @ (gain[k + 1] - average)
        ridge = RIDGE * max(float(np.trace(matrix)) / size, 1.0)
        weight = np.linalg.solve(matrix + ridge * np.eye(size), target)
        at_node = np.concatenate([np.zeros((3, 1)), weight.reshape(3, -1)], axis=1)
        return np.minimum.accumulate(at_node, axis=1)  # a fuller queue is never worth more


@dataclass
class _Log:
    """What sample runs leave behind, (K, R) unless said otherwise."""

    features: FloatArray
    """(K, R, F): of the backlogs after each decision."""
    gain: FloatArray
    """What became of each task, above dropping it."""
    predicted: FloatArray
    sends: BoolArray
    slack: FloatArray

    @classmethod
    def empty(cls, decisions: int, runs: int) -> _Log:
        """Room for all decisions."""
        size = 3 * (len(NODES) - 1)
        return cls(
            np.zeros((decisions, runs, size)),
            np.zeros((decisions, runs)),
            np.zeros((decisions, runs)),
            np.zeros((decisions, runs), dtype=np.bool_),
            np.zeros((decisions, runs)),
        )


def _first_tasks(realization: Realization, number: int) -> Realization:
    """The first tasks of a realization."""
    return replace(
        realization,
        arrival_ms=realization.arrival_ms[:number],
        stream=realization.stream[:number],
        rate_factor=realization.rate_factor[:number],
    )


def _fit_trust(log: _Log, counted: slice) -> FloatArray:
    """(slack nodes,): share of the predicted gain that tasks that were sent with this much slack did bring."""
    sends = log.sends[counted]
    slack, gain, predicted = log.slack[counted][sends], log.gain[counted][sends], log.predicted[counted][sends]
    nearest = np.abs(slack[:, None] - SLACK_NODES).argmin(axis=1)
    brought = np.bincount(nearest, gain, len(SLACK_NODES)) + TRUST_PRIOR
    promised = np.bincount(nearest, predicted, len(SLACK_NODES)) + TRUST_PRIOR
    trust: FloatArray = np.clip(brought / promised, 0.0, 1.0)
    return np.maximum.accumulate(trust)  # more slack is never worse


def _new_view(row: IntArray, workers: int, streams: int) -> View:
    """A view of one decision in each row, for the simulator to fill."""
    rows = len(row)
    return View(
        row=row,
        now_ms=np.zeros(rows),
        stream=np.zeros(rows, dtype=np.int64),
        device_wait_ms=np.zeros(rows),
        uplink_wait_ms=np.zeros(rows),
        edge_wait_ms=np.zeros((rows, workers)),
        rate_bits_per_ms=np.zeros(rows),
        others_wait_ms=np.zeros((rows, streams)),
    )


def _features(backlog: FloatArray) -> FloatArray:
    """(R, nodes - 1): hat functions of each backlog (R, n) at all nodes but the first, summed over n."""
    place = np.clip(np.searchsorted(NODES, backlog, side="right") - 1, 0, len(NODES) - 2)
    part = np.minimum((backlog - NODES[place]) / (NODES[place + 1] - NODES[place]), 1.0)
    hats = np.zeros((len(backlog), len(NODES)))
    rows = np.repeat(np.arange(len(backlog)), backlog.shape[1])
    np.add.at(hats, (rows, place.ravel()), 1.0 - part.ravel())
    np.add.at(hats, (rows, place.ravel() + 1), part.ravel())
    return hats[:, 1:]
