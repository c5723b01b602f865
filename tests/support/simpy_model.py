"""A slow, obvious second implementation of the queueing semantics, in SimPy.

It shares nothing with the compiled one but the option table: transfers step through the rate piece by piece, and what
a decision would lead to is found by running the whole model again with that task added.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import simpy

TOLERANCE_MS = 1e-6


def slow_rate(trace, now_ms):
    """Rate in force, found by walking through the pieces of one period."""
    offset = now_ms % trace.period_ms if np.isfinite(trace.period_ms) else now_ms
    rate = trace.bits_per_ms[0]
    for start, value in zip(trace.from_ms, trace.bits_per_ms, strict=True):
        if start <= offset:
            rate = value
    return rate


def slow_transfer_ms(trace, start_ms, bits):
    """Time until ``bits`` are through, piece by piece; infinity when the rate stays zero."""
    now, left = start_ms, bits
    periodic = np.isfinite(trace.period_ms)
    if periodic and not (trace.bits_per_ms > 0).any():
        return np.inf
    while True:
        cycle = np.floor(now / trace.period_ms + 1e-15) if periodic else 0
        base = cycle * trace.period_ms if periodic else 0.0
        starts = [base + t for t in trace.from_ms]
        index = max(i for i, t in enumerate(starts) if t <= now + 1e-9)
        last = index == len(starts) - 1
        end = (base + trace.period_ms if periodic else np.inf) if last else starts[index + 1]
        rate = trace.bits_per_ms[index]
        if rate > 0 and now + left / rate <= end:
            return now + left / rate - start_ms
        if np.isinf(end):
            return np.inf
        left -= rate * (end - now)
        now = end


@dataclass
class Outcome:
    """What became of one task in one run of the model."""

    finish_ms: float = np.inf
    device: tuple | None = None
    uplink: tuple | None = None
    edge: tuple | None = None
    worker: int | None = None


@dataclass
class Ends:
    """When each resource has done everything that it was given."""

    device: list
    uplink: list
    worker: list


@dataclass
class Queueing:
    """Tasks are added one by one in order of decision; ``run`` starts from an empty system each time."""

    scenario: object
    realization: object
    tasks: list = field(default_factory=list)
    """(k, option, worker reserved in grant order)"""

    def __post_init__(self):
        s = self.scenario
        self.options = s.options
        self.streams = len(s.devices)
        self.workers = s.edge.workers
        self.shared = s.uplink.topology == "shared"
        self.grant = s.uplink.order == "grant"
        self.by_deadline = s.edge.queue == "deadline"
        self.rtt = s.uplink.rtt_ms
        fade = s.gain.terms()[2]
        self.limit = [d * (1 + fade) + TOLERANCE_MS for d in s.deadlines_ms]

    def link_of(self, stream):
        return 0 if self.shared else stream

    def run(self, seen_by=None):
        """Outcomes by task and the resources' ends after everything that was added.

        ``seen_by`` (time, latest answer): of an edge that serves by deadline, without what would begin after that time
        and has its turn after a task that must be answered by then.
        """
        env = simpy.Environment()
        self.env = env
        self.seen_by = seen_by if self.by_deadline and seen_by is not None else (np.inf, np.inf)
        links = 1 if self.shared else self.streams
        self.outcomes = {k: Outcome() for k, _, _ in self.tasks}
        self.ends = Ends([0.0] * self.streams, [0.0] * links, [0.0] * self.workers)
        self.devices = [simpy.Resource(env) for _ in range(self.streams)]
        self.uplinks = [simpy.Resource(env) for _ in range(links)]
        self.idle_workers = simpy.PriorityResource(env, capacity=self.workers)
        self.uplink_turn = [[] for _ in range(links)]
        self.worker_turn = [[] for _ in range(self.workers)]
        env.process(self.arrivals())
        env.run()
        if not self.grant:
            self.number_workers()
        return self.outcomes, self.ends

    def arrivals(self):
        for k, option, worker in self.tasks:
            at = self.realization.arrival_ms[k]
            if at > self.env.now:
                yield self.env.timeout(at - self.env.now)
            self.env.process(self.task(k, option, worker))

    def task(self, k, option, worker):
        env, outcome, table = self.env, self.outcomes[k], self.options
        stream = int(self.realization.stream[k])
        arrival, limit = self.realization.arrival_ms[k], self.limit[stream]
        x, s, y = (a[stream, option] for a in (table.device_ms, table.payload_bits, table.edge_ms))
        takes_x, takes_y, later = x, y, 0.0
        if (noise := self.realization.noise) is not None:  # what is foreseen stays x and y
            takes_x, takes_y = x * noise.device_factor[k], y * noise.edge_factor[k, 0]
            later = (noise.offload_extra_ms if s > 0 else noise.local_extra_ms)[k]
        link = self.link_of(stream)
        sent, served = env.event(), env.event()
        before_uplink = before_worker = None
        if self.grant and s > 0:  # reserve the turns at the decision
            before_uplink = self.uplink_turn[link][-1] if self.uplink_turn[link] else None
            before_worker = self.worker_turn[worker][-1] if self.worker_turn[worker] else None
            self.uplink_turn[link].append(sent)
            self.worker_turn[worker].append(served)
        with self.devices[stream].request() as turn:
            yield turn
            start = env.now
            ahead = x + (y + self.rtt if s > 0 else 0)
            if not self.grant and start + ahead - arrival > limit:
                return
            yield env.timeout(takes_x)
            outcome.device = (start, env.now)
            self.ends.device[stream] = env.now
        if s == 0:
            outcome.finish_ms = env.now + later
            return
        if self.grant:
            if before_uplink is not None:
                yield before_uplink
            yield from self.transfer(outcome, link, s)
            sent.succeed()
            yield env.timeout(self.rtt / 2)
            if before_worker is not None:
                yield before_worker
            yield from self.serve(outcome, takes_y)
            self.ends.worker[worker] = env.now
            outcome.worker = worker
            served.succeed()
        else:
            with self.uplinks[link].request() as turn:
                yield turn
                if env.now + y + self.rtt - arrival > limit:
                    return
                yield from self.transfer(outcome, link, s)
            yield env.timeout(self.rtt / 2)
            latest = arrival + limit
            with self.idle_workers.request(priority=latest if self.by_deadline else 0) as turn:
                yield turn
                if env.now > self.seen_by[0] and latest > self.seen_by[1]:
                    return
                if env.now + y + self.rtt / 2 - arrival > limit:
                    return
                yield from self.serve(outcome, takes_y)
        outcome.finish_ms = outcome.edge[1] + self.rtt / 2 + later

    def transfer(self, outcome, link, bits):
        start = self.env.now
        takes = slow_transfer_ms(self.realization.rates[link], start, bits)
        if np.isinf(takes):
            outcome.uplink = (start, np.inf)
            self.ends.uplink[link] = np.inf
            yield self.env.event()
        yield self.env.timeout(takes)
        outcome.uplink = (start, self.env.now)
        self.ends.uplink[link] = self.env.now

    def serve(self, outcome, edge_ms):
        start = self.env.now
        yield self.env.timeout(edge_ms)
        outcome.edge = (start, self.env.now)

    def number_workers(self):
        """Which worker served whom does not matter; in order of start each takes the one that is free earliest."""
        for outcome in sorted((o for o in self.outcomes.values() if o.edge), key=lambda o: o.edge[0]):
            worker = int(np.argmin(self.ends.worker))
            self.ends.worker[worker] = outcome.edge[1]
            outcome.worker = worker

    def add(self, k, option):
        """Add a decision; in grant order one that ends too late is dropped instead. Returns what was executed."""
        if option < 0:
            return -1
        _, ends = self.run()
        self.tasks.append((k, option, int(np.argmin(ends.worker))))
        if self.grant:
            outcomes, _ = self.run()
            stream = self.realization.stream[k]
            if not outcomes[k].finish_ms - self.realization.arrival_ms[k] <= self.limit[stream]:
                self.tasks.pop()
                return -1
        return option

    def predicted_latency(self, view, stream, option):
        """Latency seen from a decision, from the waits (device, uplink, first worker) and the rate in ``view``."""
        x = self.options.device_ms[stream, option]
        s = self.options.payload_bits[stream, option]
        y = self.options.edge_ms[stream, option]
        ready = view["device"] + x
        if s == 0:
            return ready
        if view["rate"] <= 0:
            return np.inf
        sent = max(ready, view["uplink"]) + s / view["rate"]
        return max(sent + self.rtt / 2, view["edge"][0]) + y + self.rtt / 2


def simulate_slowly(scenario, realization, option, plan=False):
    """Outcomes, executed options and views of a run with given decisions; ``plan``: without the rule's prediction."""
    model = Queueing(scenario, realization)
    age = scenario.view.age_ms
    arrival, stream = realization.arrival_ms, realization.stream
    executed, views, history = [], [], []
    for k in range(len(option)):
        now, m = arrival[k], int(stream[k])
        link = model.link_of(m)
        _, fresh = model.run(seen_by=(now, now + model.limit[m]))
        visible = fresh
        if age > 0:
            visible = Ends([0.0] * model.streams, [0.0] * len(fresh.uplink), [0.0] * model.workers)
            for i in range(k):
                if arrival[i] <= now - age:
                    visible = history[i]
        uplink = (visible if model.shared else fresh).uplink[link]
        view = {
            "device": max(fresh.device[m] - now, 0),
            "uplink": max(uplink - now, 0),
            "edge": sorted(max(w - now, 0) for w in visible.worker),
            "others": [max((fresh if i == m else visible).device[i] - now, 0) for i in range(model.streams)],
            "rate": slow_rate(realization.rates[link], max(now - age, 0)) * realization.rate_factor[k],
        }
        views.append(view)
        j = int(option[k])
        if not plan and not model.grant and j >= 0 and not model.predicted_latency(view, m, j) <= model.limit[m]:
            j = -1
        executed.append(model.add(k, j))
        _, after = model.run()
        history.append(after)
    outcomes, _ = model.run()
    finish = np.array([outcomes[k].finish_ms if k in outcomes else np.inf for k in range(len(option))])
    return finish, np.array(executed, dtype=np.int64), views, outcomes
