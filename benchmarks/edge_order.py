"""What the edge's order of service and its fair shares are worth, in virtual time and in the simulator.

Ten devices send tasks at random moments to one worker; tasks take 5, 10 or 20 ms, as profiled. First with mixed
deadlines, 40 or 400 ms by halves: the share of tasks answered in time by load (work that comes per time), of all and of
the two kinds, first come first served and earliest deadline first. Beside the runtime's edge the simulator serves the
very same tasks, under a fresh view: there nobody is turned away, and a task whose turn comes too late is cancelled
then. What keeping room in overload is worth by itself follows, for both orders. Next whole systems, two devices for
each deadline and duration, which send what they believe to be in time: the simulator with views of devices beside the
runtime's own agents and edge in virtual time.

Then with equal deadlines of 100 ms: Jain's index of fairness over what each of ten devices alike got answered in time;
and the share in time of the nine others when one device sends twenty times as much, with fair shares and without. Edge
and admission are the runtime's own (``hasten.runtime.edge.core``).

Usage: python benchmarks/edge_order.py [--seeds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from hasten.core import edge_admission
from hasten.core.edge_order import QUEUES, ServiceOrder, earliest_deadline
from hasten.core.scenario import Scenario, scenario_from
from hasten.fidelity.conform import predict
from hasten.runtime.edge import admission
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import QueueLimits
from hasten.runtime.edge.served import Computed, Request
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.runtime.wire.tasks import EdgeAnswer, Status
from hasten.sim import replay
from hasten.study.statistics import interval

DEVICES = 10
SERVICE_MS = (5.0, 10.0, 20.0)
LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
MIXED_MS, EQUAL_MS = (40.0, 400.0), (100.0,)
GREEDY_FACTOR = 20.0
FAR_MS = 1e5
"""What a task would take a device by itself."""
SYSTEM_SEEDS, SYSTEM_MS = range(2), 20_000.0


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


class Sent(NamedTuple):
    """A task: who sends it and when, which deadline and which duration it has."""

    at_ms: float
    device: int
    kind: int
    exit: int


def drawn(load: Sequence[float], deadlines: int, seconds: float, seed: int) -> list[Sent]:
    """The tasks of devices that each bring their part of ``load`` (devices,), one device's after the other's."""
    rng = np.random.default_rng(seed)
    mean_ms = float(np.mean(SERVICE_MS))
    sent = []
    for device, part in enumerate(load):
        at_ms = 0.0
        while (at_ms := at_ms + rng.exponential(mean_ms / part)) < 1000.0 * seconds:
            kind = int(rng.integers(deadlines))
            sent.append(Sent(at_ms, device, kind, int(rng.integers(len(SERVICE_MS)))))
    return sent


def in_time(
    order: ServiceOrder,
    load: Sequence[float],
    deadlines_ms: Sequence[float],
    seconds: float,
    seed: int,
    keeps_room: bool | None = None,
) -> NDArray[np.float64]:
    """(devices, deadlines, 2): how many tasks of each came, and how many were answered in time; ``load`` (devices,).

    ``keeps_room`` replaces what the edge does with this order.
    """
    clock = EventClock()
    network: Any = Network()
    core = EdgeCore([network], OneWorker(clock), clock, order=order)
    if keeps_room is not None:
        core._admission = admission.Admission(core._queue, QueueLimits(), core._carried, keeps_room)
    counted = np.zeros((len(load), len(deadlines_ms), 2))

    def send(task: Sent, carried: CarriedWork, request: Request) -> None:
        def reply(ticket: object, outcome: object) -> None:
            done = isinstance(outcome, EdgeAnswer) and outcome.status is Status.DONE
            counted[task.device, task.kind, 1] += done and clock.now_ms() <= request.latest_ms

        counted[task.device, task.kind, 0] += 1
        core.submit(request, reply, carried)

    carried = [CarriedWork() for _ in load]
    for task in drawn(load, len(deadlines_ms), seconds, seed):
        request = Request(network, 0, task.exit, list, 1000, task.at_ms + deadlines_ms[task.kind])
        clock.call_at(task.at_ms, partial(send, task, carried[task.device], request))
    clock.run()
    return counted


def far_profile(folder: Path, durations_ms: Sequence[float]) -> str:
    """A file: exits that take so long at the edge, hopelessly long on the device, and next to nothing of a link."""
    block = {"device_ms": FAR_MS, "edge_ms": 0.0, "output_bytes": 1}
    profile = {
        "schema": "hasten.profile/1", "name": "far", "source": "made up", "input_bytes": 1,
        "blocks": [block | {"name": f"block {i}"} for i in range(len(durations_ms))],
        "exits": [
            {"name": f"exit {i}", "after_block": i, "accuracy": 1.0, "device_ms": 0.0, "edge_ms": took_ms}
            for i, took_ms in enumerate(durations_ms, start=1)
        ],
    }  # fmt: skip
    path = folder / f"far-{len(durations_ms)}-{durations_ms[0]:g}.json"
    path.write_text(json.dumps(profile))
    return str(path)


def mixed_scenario(streams: list[dict[str, object]], queue: str, view: str) -> Scenario:
    """An edge with one worker behind links that take no time."""
    rate = {"kind": "constant", "mbps": 1e6}
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": streams,
            "uplink": {"topology": "dedicated", "order": "ready", "rate": rate},
            "edge": {"queue": queue},
            "view": {"kind": view},
            "horizon_ms": SYSTEM_MS,
        }
    )


def simulated(queue: str, load: Sequence[float], seconds: float, seed: int, folder: Path) -> NDArray[np.float64]:
    """As :func:`in_time` of deadlines of 40 and 400 ms, by the simulator: the very same tasks."""
    profile, rare = far_profile(folder, SERVICE_MS), {"kind": "poisson", "rate_hz": 1e-3}
    streams = [
        {"name": f"{device} within {it:g}", "profile": profile, "deadline_ms": it, "arrivals": rare}
        for device in range(len(load))
        for it in MIXED_MS
    ]
    scenario = mixed_scenario(streams, queue, "fresh")
    sent = sorted(drawn(load, len(MIXED_MS), seconds, seed))
    stream = np.array([len(MIXED_MS) * task.device + task.kind for task in sent])
    realization = replace(
        scenario.realize(seed),
        arrival_ms=np.array([task.at_ms for task in sent]),
        stream=stream,
        rate_factor=np.ones(len(sent)),
    )
    option = np.array([scenario.options.index(0, task.exit + 1, 0) for task in sent])
    on_time = replay(scenario, realization, option).on_time
    counts = [np.bincount(stream, weight, len(streams)) for weight in (np.ones(len(sent)), on_time)]
    return np.stack(counts, axis=-1).reshape(len(load), len(MIXED_MS), 2)


def share(counted: NDArray[np.float64]) -> float:
    """In per cent."""
    return float(100.0 * counted[..., 1].sum() / counted[..., 0].sum())


def what_keeping_room_is_worth(seeds: range, seconds: float) -> None:
    print("\nin time of all at the edge, room kept in overload or not")
    print(f"{'load':>5}" + "".join(f"{f'{queue}, {kept}':>20}" for queue in QUEUES for kept in ("room kept", "not")))
    for load in LOADS:
        even, cells = [load / DEVICES] * DEVICES, ""
        for order in QUEUES.values():
            for kept in (True, False):
                runs = [in_time(order, even, MIXED_MS, seconds, seed, kept) for seed in seeds]
                cells += f"{np.mean([share(run) for run in runs]):20.1f}"
        print(f"{load:5.1f}{cells}", flush=True)


def mixed_deadlines(seeds: range, seconds: float) -> None:
    print("deadlines of 40 and 400 ms: in time of all, of the two kinds")
    heads = [f"{queue}, {world}" for queue in QUEUES for world in ("edge", "simulator")]
    print(f"{'load':>5}" + "".join(f"{head:>21}" for head in heads) + "  ratio of all (edge), 95 % interval")
    with tempfile.TemporaryDirectory() as folder:
        for load in LOADS:
            even = [load / DEVICES] * DEVICES
            cells, all_in_time = "", {}
            for queue, order in QUEUES.items():
                edge = [in_time(order, even, MIXED_MS, seconds, seed) for seed in seeds]
                simulator = [simulated(queue, even, seconds, seed, Path(folder)) for seed in seeds]
                all_in_time[queue] = np.array([share(run) for run in edge])
                for runs in (edge, simulator):
                    shares = np.mean([share(run) for run in runs]), *(share(np.sum(runs, 0)[:, k]) for k in range(2))
                    cells += f"{''.join(f'{it:6.1f}' for it in shares):>21}"
            ratio = interval(all_in_time["deadline"] / all_in_time["fifo"])
            print(f"{load:5.1f}{cells}  {ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]", flush=True)


def whole_systems() -> None:
    """Two devices for each deadline and duration, which send what they believe to be in time."""
    print("\nwhole systems, the same deadlines: in time of all, of the two kinds")
    heads = [f"{queue}, {world}" for queue in QUEUES for world in ("virtual", "simulator")]
    print(f"{'load':>5}" + "".join(f"{head:>21}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        for load in LOADS:
            rate_hz = 1000.0 * load / (2 * len(MIXED_MS) * sum(SERVICE_MS))
            streams: list[dict[str, object]] = [
                {
                    "name": f"{took_ms:g} within {deadline_ms:g}", "count": 2,
                    "profile": far_profile(Path(folder), [took_ms]), "deadline_ms": deadline_ms,
                    "arrivals": {"kind": "poisson", "rate_hz": rate_hz},
                }
                for took_ms in SERVICE_MS
                for deadline_ms in MIXED_MS
            ]  # fmt: skip
            cells = ""
            for queue in QUEUES:
                scenario = mixed_scenario(streams, queue, "device")
                virtual = run_virtual_scenario(scenario, ["edge-only"], SYSTEM_SEEDS).complete().results
                played = predict(scenario, ["edge-only"], SYSTEM_SEEDS, lambda text, done: None)
                for results in (virtual, played):
                    on_time = np.concatenate([it.on_time for it in results])
                    deadline_ms = np.concatenate([it.deadline_ms for it in results])
                    parts = deadline_ms > 0, *(deadline_ms == within_ms for within_ms in MIXED_MS)
                    shares = [100.0 * np.mean(on_time[part]) for part in parts]
                    cells += f"{''.join(f'{it:6.1f}' for it in shares):>21}"
            print(f"{load:5.1f}{cells}", flush=True)


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
        with mock.patch.object(admission, "UNFAIR", np.inf), mock.patch.object(edge_admission, "UNFAIR", np.inf):
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
    what_keeping_room_is_worth(seeds, args.seconds)
    whole_systems()
    fairness(seeds, args.seconds)
    one_greedy_device(seeds, args.seconds)


if __name__ == "__main__":
    main()
