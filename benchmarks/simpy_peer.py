"""The peer of ``simulator.py``: a lean SimPy model of a whole run in which Greedy decides every task.

The model of hasten for streams alike on a shared uplink without round trip, in either order, as a user of SimPy would
write it with speed in mind: plain Python numbers, one process for each task, backlogs by arithmetic, binary search in
the rate trace, options in order of worth so that the first group with a useful one ends the search.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import simpy

from hasten.core.options import DROP
from hasten.core.scenario import Realization, Scenario
from hasten.core.timing import ON_TIME_TOLERANCE_MS
from hasten.schedulers import make_scheduler
from hasten.sim import simulate_realizations


class SimpyGreedy:
    """``run()`` simulates once and leaves each task's ``option`` and ``finish_ms``."""

    def __init__(self, scenario: Scenario, realization: Realization) -> None:
        self.scenario, self.realization = scenario, realization
        table, column = scenario.options.undominated()
        rows = zip(
            *(a[0].tolist() for a in (table.worth, table.device_ms, table.payload_bits, table.edge_ms, column)),
            strict=True,
        )
        by_worth = groupby(sorted(rows, key=lambda row: -row[0]), key=lambda row: row[0])
        self.groups = [[row[1:] for row in group] for _, group in by_worth]
        self.arrivals, self.streams = realization.arrival_ms.tolist(), realization.stream.tolist()
        trace = realization.rates[0]
        self.from_ms, self.rates, self.sent_bits = (
            a.tolist() for a in (trace.from_ms, trace.bits_per_ms, trace.sent_bits)
        )
        self.limit = float(scenario.deadlines_ms[0]) + ON_TIME_TOLERANCE_MS
        self.devices, self.workers = len(scenario.devices), scenario.edge.workers
        self.granted = scenario.uplink.order == "grant"

    def run(self) -> int:
        """Simulate all tasks; returns their number."""
        number = len(self.arrivals)
        self.option, self.finish_ms = [DROP] * number, [np.inf] * number
        self.env = env = simpy.Environment()
        self.device = [simpy.Resource(env) for _ in range(self.devices)]
        self.uplink, self.worker = simpy.Resource(env), simpy.Resource(env, self.workers)
        self.device_free = [0.0] * self.devices
        self.uplink_free, self.worker_free = 0.0, [0.0] * self.workers
        self.to_send: list[tuple] = []
        self.to_serve: list[tuple] = []
        self.sent = self.served = None
        env.process(self.source())
        env.run()
        return number

    def source(self) -> Iterator:
        """Decide each task as it arrives."""
        env = self.env
        for k, at in enumerate(self.arrivals):
            yield env.timeout(at - env.now)
            m = self.streams[k]
            uplink_free, worker_free = (self.uplink_free, self.worker_free) if self.granted else self.projected()
            chosen = self.decide(at, self.device_free[m], uplink_free, worker_free[0])
            if chosen is None:
                continue
            x, bits, y, option = chosen
            start = max(at, self.device_free[m])
            if self.granted:
                self.grant(k, at, m, start, x, bits, y, option)
            elif start + x + y - at <= self.limit:
                self.option[k] = option
                self.device_free[m] = start + x
                if bits > 0:
                    insort(self.to_send, (start + x, k, bits, y))
                env.process(self.ready_task(k, at, m, x, bits, y))

    def decide(self, now: float, device_free: float, uplink_free: float, edge_free: float) -> tuple | None:
        """Greedy: the useful option of largest worth, ties by the earliest finish."""
        rate = self.rates[bisect_right(self.from_ms, now) - 1]
        device, uplink = max(device_free - now, 0.0), max(uplink_free - now, 0.0)
        edge = max(edge_free - now, 0.0)
        for group in self.groups:
            best, soonest = None, self.limit
            for row in group:
                end = device + row[0]
                if row[1] > 0:
                    end = max(max(end, uplink) + row[1] / rate, edge) + row[2]
                if end < soonest or (best is None and end == soonest):
                    best, soonest = row, end
            if best is not None:
                return best
        return None

    def transfer_end(self, start: float, bits: float) -> float:
        """When the integral of the rate from ``start`` on reaches ``bits``; the last rate holds for ever."""
        i = bisect_right(self.from_ms, start) - 1
        target = self.sent_bits[i] + self.rates[i] * (start - self.from_ms[i]) + bits
        j = max(bisect_right(self.sent_bits, target, i) - 1, i)
        return self.from_ms[j] + (target - self.sent_bits[j]) / self.rates[j]

    def grant(self, k: int, at: float, m: int, start: float, x: float, bits: float, y: float, option: int) -> None:
        """Reserve uplink and worker in order of decision, unless the task would finish too late."""
        done = finish = start + x
        if bits > 0:
            sent = self.transfer_end(max(done, self.uplink_free), bits)
            finish = max(sent, self.worker_free[0]) + y
        if finish - at > self.limit:
            return
        self.option[k] = option
        self.device_free[m] = done
        before = (self.sent, self.served)
        if bits > 0:
            self.uplink_free = sent
            self.worker_free[0] = finish
            self.worker_free.sort()
            self.sent, self.served = self.env.event(), self.env.event()
        self.env.process(self.granted_task(k, m, x, bits, y, before, (self.sent, self.served)))

    def granted_task(self, k: int, m: int, x: float, bits: float, y: float, before: tuple, own: tuple) -> Iterator:
        """Device, then uplink behind the task decided before; a single worker serves in that order by itself."""
        env = self.env
        with self.device[m].request() as turn:
            yield turn
            yield env.timeout(x)
        if bits > 0:
            if before[0] is not None and not before[0].processed:
                yield before[0]
            yield env.timeout(self.transfer_end(env.now, bits) - env.now)
            own[0].succeed()
            with self.worker.request() as turn:
                yield turn
                yield env.timeout(y)
        self.finish_ms[k] = env.now

    def ready_task(self, k: int, at: float, m: int, x: float, bits: float, y: float) -> Iterator:
        """Device, uplink and edge, each first come first served; cancelled where it must be late."""
        env = self.env
        with self.device[m].request() as turn:
            yield turn
            yield env.timeout(x)
        if bits > 0:
            with self.uplink.request() as turn:
                yield turn
                self.to_send = [entry for entry in self.to_send if entry[1] != k]
                if env.now + y - at > self.limit:
                    return
                self.uplink_free = self.transfer_end(env.now, bits)
                insort(self.to_serve, (self.uplink_free, k, y))
                yield env.timeout(self.uplink_free - env.now)
            with self.worker.request() as turn:
                yield turn
                self.to_serve = [entry for entry in self.to_serve if entry[1] != k]
                if env.now + y - at > self.limit:
                    return
                self.worker_free[0] = env.now + y
                self.worker_free.sort()
                yield env.timeout(y)
        self.finish_ms[k] = env.now

    def projected(self) -> tuple[float, list[float]]:
        """When uplink and workers would be free if nothing else were decided."""
        uplink_free, worker_free = self.uplink_free, self.worker_free.copy()
        arrivals, limit = self.arrivals, self.limit
        to_serve = self.to_serve.copy()
        for ready, k, bits, y in self.to_send:
            start = max(ready, uplink_free)
            if start + y - arrivals[k] <= limit:
                uplink_free = self.transfer_end(start, bits)
                insort(to_serve, (uplink_free, k, y))
        for arrive, k, y in to_serve:
            start = max(arrive, worker_free[0])
            if start + y - arrivals[k] <= limit:
                worker_free[0] = start + y
                worker_free.sort()
        return uplink_free, worker_free

    def agreement(self) -> float:
        """Share of tasks that the last run decided and finished as hasten does."""
        result = simulate_realizations(self.scenario, make_scheduler("greedy"), [self.realization])[0]
        pairs = self.scenario.options.pairs(self.realization.stream, np.array(self.option))
        same = np.isclose(self.finish_ms, result.finish_ms, rtol=0, atol=1e-6)
        return float((same & (pairs == result.decisions).all(axis=1)).mean())
