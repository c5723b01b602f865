"""What the edge's order of service and its fair shares are worth, in virtual time.

Ten devices send tasks at random moments to one worker; tasks take 5, 10 or 20 ms, as profiled. First with mixed
deadlines, 40 or 400 ms by halves: the share of tasks answered in time by load (work that comes per time), of all and of
the two kinds, first come first served and earliest deadline first. Then with equal deadlines of 100 ms: Jain's index of
fairness over what each of ten devices alike got answered in time; and the share in time of the nine others when one
device sends twenty times as much, with fair shares and without. Edge and admission are the runtime's own
(``hasten.runtime.edge.core``).

Usage: python benchmarks/edge_order.py [--seeds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from hasten.runtime.edge import admission
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import ServiceOrder, earliest_deadline, first_come
from hasten.runtime.edge.served import Computed, Request
from hasten.runtime.wire.tasks import EdgeAnswer, Status
from hasten.study.statistics import interval

DEVICES = 10
SERVICE_MS = (5.0, 10.0, 20.0)
LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
MIXED_MS, EQUAL_MS = (40.0, 400.0), (100.0,)
GREEDY_FACTOR = 20.0
ORDERS: dict[str, ServiceOrder] = {"first come": first_come, "deadline": earliest_deadline}


class EventClock:
    """Time that jumps from call to call."""

    def __init__(self) -> None:
        self.time_ms = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> float:
        """The time."""
        return self.time_ms

    def call_at(self, when_ms: float, call: Callable[[], None]) -> None:
        """Note a call."""
        heapq.heappush(self._due, (when_ms, next(self._order), call))

    def close(self) -> None:
        """Nothing is left."""
        self._due.clear()

    def run(self) -> None:
        """Make the calls that are due, and those that they set."""
        while self._due:
            when_ms, _, call = heapq.heappop(self._due)
            self.time_ms = max(self.time_ms, when_ms)
            call()


class OneWorker:
    """Tasks take as long as profiled."""

    count = 1

    def __init__(self, clock: EventClock) -> None:
        self._clock = clock

    def start(self) -> None:
        """Nothing to get ready."""

    def execute(self, worker: int, request: Request, done: Callable[[Any], None]) -> None:
        """Answer a task after its time."""
        took_ms = SERVICE_MS[request.exit]
        computed = Computed(Status.DONE, 0, 1.0, 0.0, took_ms)
        self._clock.call_at(self._clock.now_ms() + took_ms, lambda: done(computed))

    def close(self, wait_s: float) -> None:
        """Nothing is left."""


class Network:
    """A package that the edge serves, as far as the order of service concerns it."""

    digest, slowdown = b"", 1.0

    def warm(self) -> None:
        """Nothing to warm up."""

    def has(self, cut: int, exit_: int) -> bool:
        """Anything goes."""
        return True

    def edge_ms(self, cut: int, exit_: int, may_stop: bool = False) -> float:
        """A task's time, by its exit."""
        return SERVICE_MS[exit_]

    def batch_sizes(self, cut: int, exit_: int, may_stop: bool = False) -> tuple[int, ...]:
        """One by one."""
        return (1,)


def in_time(
    order: ServiceOrder, load: Sequence[float], deadlines_ms: Sequence[float], seconds: float, seed: int
) -> NDArray[np.float64]:
    """(devices, deadlines, 2): how many tasks of each came, and how many were answered in time; ``load`` (devices,)."""
    clock = EventClock()
    network: Any = Network()
    core = EdgeCore([network], OneWorker(clock), clock, order=order)
    counted = np.zeros((len(load), len(deadlines_ms), 2))
    rng = np.random.default_rng(seed)
    mean_ms = float(np.mean(SERVICE_MS))

    def send(device: int, kind: int, carried: CarriedWork, request: Request) -> None:
        def reply(ticket: object, outcome: object) -> None:
            done = isinstance(outcome, EdgeAnswer) and outcome.status is Status.DONE
            counted[device, kind, 1] += done and clock.now_ms() <= request.latest_ms

        counted[device, kind, 0] += 1
        core.submit(request, reply, carried)

    for device, share in enumerate(load):
        carried = CarriedWork()
        at_ms = 0.0
        while (at_ms := at_ms + rng.exponential(mean_ms / share)) < 1000.0 * seconds:
            kind = int(rng.integers(len(deadlines_ms)))
            latest_ms = at_ms + deadlines_ms[kind]
            request = Request(network, 0, int(rng.integers(len(SERVICE_MS))), list, 1000, latest_ms)
            clock.call_at(at_ms, partial(send, device, kind, carried, request))
    clock.run()
    return counted


def share(counted: NDArray[np.float64]) -> float:
    """In per cent."""
    return float(100.0 * counted[..., 1].sum() / counted[..., 0].sum())


def mixed_deadlines(seeds: range, seconds: float) -> None:
    print("deadlines of 40 and 400 ms: in time of all, of the two kinds")
    print(f"{'load':>5} {'first come':>18} {'deadline':>18}  ratio of all, 95 % interval")
    for load in LOADS:
        even = [load / DEVICES] * DEVICES
        runs = {name: [in_time(it, even, MIXED_MS, seconds, seed) for seed in seeds] for name, it in ORDERS.items()}
        all_in_time = {name: np.array([share(run) for run in found]) for name, found in runs.items()}
        ratio = interval(all_in_time["deadline"] / all_in_time["first come"])
        cells = [
            f"{all_in_time[name].mean():6.1f}" + "".join(f"{share(np.sum(found, 0)[:, k]):6.1f}" for k in range(2))
            for name, found in runs.items()
        ]
        print(f"{load:5.1f} {cells[0]:>18} {cells[1]:>18}  {ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")


def fairness(seeds: range, seconds: float) -> None:
    print(f"\nequal deadlines, devices alike\n{'load':>5} {'in time':>8} {'fairness index':>15}")
    for load in LOADS:
        runs = [in_time(earliest_deadline, [load / DEVICES] * DEVICES, EQUAL_MS, seconds, seed) for seed in seeds]
        index = np.mean([run[..., 1].sum() ** 2 / (DEVICES * (run[:, 0, 1] ** 2).sum()) for run in runs])
        print(f"{load:5.1f} {np.mean([share(run) for run in runs]):8.1f} {index:15.4f}")


def one_greedy_device(seeds: range, seconds: float) -> None:
    print(f"\none device sends {GREEDY_FACTOR:.0f} times as much: in time of the others, and of it")
    print(f"{'load':>5} {'others':>7} {'it':>6}   without fair shares: {'others':>7} {'it':>6}")
    for load in LOADS:
        part = load / (DEVICES - 1 + GREEDY_FACTOR)
        loads = [part] * (DEVICES - 1) + [GREEDY_FACTOR * part]
        fair = [in_time(earliest_deadline, loads, EQUAL_MS, seconds, seed) for seed in seeds]
        with mock.patch.object(admission, "UNFAIR", np.inf):
            unfair = [in_time(earliest_deadline, loads, EQUAL_MS, seconds, seed) for seed in seeds]
        others, it, others_0, it_0 = (
            np.mean([share(run[part]) for run in runs])
            for runs in (fair, unfair)
            for part in (slice(0, DEVICES - 1), slice(DEVICES - 1, DEVICES))
        )
        print(f"{load:5.1f} {others:7.1f} {it:6.1f}   {'':20} {others_0:7.1f} {it_0:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    seeds = range(args.seeds)
    mixed_deadlines(seeds, args.seconds)
    fairness(seeds, args.seconds)
    one_greedy_device(seeds, args.seconds)


if __name__ == "__main__":
    main()
