"""What running alike tasks at once is worth at an edge, and who should pick the exit; in virtual time.

Times are measured first, on this computer: the digits network's segments by batch size, as ``hasten profile --as edge``
does it (processor time; decoding included). Or they come from a profile (``--profile``). Then ten devices send tasks at
random moments to one worker, whose queue, admission and batches are the runtime's own (``hasten.runtime.edge``).

First the share of tasks answered in time by load (work that comes per time, one by one), with batches and one by one,
where all tasks are of one segment and where they are of eight; deadlines are 10 and 40 times the mean service, by
halves.

Then who picks the exit, all tasks offloaded whole: the devices (each the best exit whose predicted answer is in time by
the edge's report, as ``greedy``; nothing where none is), also where the report counts what waits in the batches that it
would be run in now; or the edge in the manner of EdgeServing (arXiv 2605.05527), which keeps a queue and picks exit and
batch by what the choice does to all that wait. The paper's stability score was not at hand: here the impact of a choice
is how many tasks it makes late, those in the batch and those left that could not be in time any more by their quickest
exit; of the choices with the least impact the most accurate exit is taken, of those the least time per task. It drops
nothing that could be in time, and what cannot be is dropped when that is known.

Last whole scenarios (``edge: {batch: ...}``) with device and link: in virtual time, whose agents and edge are the
runtime's, and simulated. All tasks at the edge (``fixed``), or as ``greedy`` chooses among edge and a slow device.

Usage: python benchmarks/edge_batches.py [--profile PROFILE.json] [--seeds N] [--tasks N]
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from edge_order import EventClock, OneWorker
from numpy.typing import NDArray

from hasten.api import simulate_batch
from hasten.core.edge_batches import WINDOW
from hasten.core.profile import Profile, SegmentBatches, read_profile
from hasten.core.scenario import Scenario, scenario_from
from hasten.fidelity.profiling import measure
from hasten.networks.default import build_default
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.served import Computed, Request
from hasten.runtime.edge.together import companions
from hasten.runtime.virtual.cluster import run_virtual_scenario
from hasten.runtime.wire.tasks import EdgeAnswer, Status
from hasten.study.statistics import interval

DEVICES = 10
LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
DEADLINES = (10.0, 40.0)
"""In mean services."""
EXIT_DEADLINE = 20.0
EDGE_MS = 10.0
"""What a whole network takes at the edge of whole scenarios, if not longer."""
MIXED = 8
"""Segments of the mixed case."""


class Segments:
    """What an edge serves, from a profile alone: its segments' times, alone and at once."""

    slowdown = 1.0

    def __init__(self, profile: Profile) -> None:
        self.digest = hashlib.sha256(profile.name.encode()).digest()
        self._batches = {(it.partition, it.exit): it for it in profile.edge_batches or ()}

    def warm(self) -> None:
        """Nothing to warm up."""

    def has(self, cut: int, exit_: int) -> bool:
        """Whether it was measured."""
        return (cut, exit_) in self._batches

    def edge_ms(self, cut: int, exit_: int, may_stop: bool = False) -> float:
        """Alone."""
        return self._batches[cut, exit_].ms[0]

    def batch_sizes(self, cut: int, exit_: int, may_stop: bool = False) -> tuple[int, ...]:
        """Those measured."""
        return self._batches[cut, exit_].sizes

    def batch_factor(self, cut: int, exit_: int, count: int) -> float:
        """At once over alone; the next larger size counts."""
        found = self._batches[cut, exit_]
        return found.ms[int(np.searchsorted(found.sizes, count))] / found.ms[0]

    @property
    def segments(self) -> list[tuple[int, int]]:
        """(cut, exit) of all."""
        return list(self._batches)


class Alone(Segments):
    """The same one by one."""

    def batch_sizes(self, cut: int, exit_: int, may_stop: bool = False) -> tuple[int, ...]:
        """One."""
        return (1,)


class MeasuredWorker(OneWorker):
    """Takes as long as measured, for one task and for several."""

    def execute(self, worker: int, request: Request, done: Callable[[Any], None]) -> None:
        """Answer a task after its time."""
        self.execute_together(worker, [request], lambda computed: done(computed[0]))

    def execute_together(self, worker: int, requests: Sequence[Request], done: Callable[[Any], None]) -> None:
        """Answer several after theirs."""
        first = requests[0]
        alone_ms = first.served.edge_ms(first.cut, first.exit) or 0.0
        took_ms = alone_ms * (first.served.batch_factor(first.cut, first.exit, len(requests)) if requests[1:] else 1.0)
        computed = [Computed(Status.DONE, 0, 1.0, 0.0, alone_ms) for _ in requests]
        self._clock.call_at(self._clock.now_ms() + took_ms, lambda: done(computed))


def in_time(network: Any, chosen: Sequence[tuple[int, int]], load: float, tasks: int, seed: int) -> float:
    """The share of tasks answered in time, in per cent; each is of one of the ``chosen`` segments."""
    clock, rng = EventClock(), np.random.default_rng(seed)
    core = EdgeCore([network], MeasuredWorker(clock), clock)
    mean_ms = float(np.mean([network.edge_ms(*segment) for segment in chosen]))
    devices = [CarriedWork() for _ in range(DEVICES)]
    counted = [0]

    def send(device: CarriedWork, request: Request) -> None:
        core.submit(request, count, device)

    def count(ticket: Ticket, outcome: object) -> None:
        done = isinstance(outcome, EdgeAnswer) and outcome.status is Status.DONE
        counted[0] += done and clock.now_ms() <= ticket.request.latest_ms + 1e-9

    for at_ms in np.cumsum(rng.exponential(mean_ms / load, tasks)):
        cut, exit_ = chosen[rng.integers(len(chosen))]
        latest_ms = at_ms + mean_ms * DEADLINES[rng.integers(2)]
        request = Request(network, cut, exit_, list, 1000, latest_ms)
        clock.call_at(at_ms, partial(send, devices[rng.integers(DEVICES)], request))
    clock.run()
    return 100.0 * counted[0] / tasks


def one_by_one_ms(core: EdgeCore, device: CarriedWork) -> float:
    """The wait that the edge reports."""
    return core.report(device).backlog_ms[0]


def at_once_ms(core: EdgeCore, device: CarriedWork) -> float:
    """The wait if the edge counted in the batches that those who wait now would be run in."""
    now = core.clock.now_ms()
    free_ms = now + core._slots.left_ms(now)[0]
    left = [it for it in core._queue.waiting() if it.request.latest_ms <= now + device.within_ms]
    while left:
        head = left.pop(0)
        members = companions(head, left[:WINDOW], free_ms)
        free_ms += head.factor(len(members) + 1) * head.predicted_ms
        gone = set(members)
        left = [ticket for ticket in left if ticket not in gone]
    return free_ms - now


def exits_by_devices(
    network: Any,
    accuracy: Sequence[float],
    gaps_ms: NDArray[Any],
    deadline_ms: float,
    told_ms: Callable[[EdgeCore, CarriedWork], float] = one_by_one_ms,
) -> float:
    """On-time accuracy when each device takes the best exit that the wait it is told lets it expect in time."""
    clock = EventClock()
    core = EdgeCore([network], MeasuredWorker(clock), clock)
    devices = itertools.cycle(CarriedWork() for _ in range(DEVICES))
    gained = [0.0]
    order = sorted(range(1, len(accuracy) + 1), key=lambda exit_: -accuracy[exit_ - 1])

    def send() -> None:
        device, now = next(devices), clock.now_ms()
        device.within_ms = deadline_ms
        wait_ms = told_ms(core, device)
        for exit_ in order:
            if wait_ms + network.edge_ms(0, exit_) <= deadline_ms:
                request = Request(network, 0, exit_, list, 1000, now + deadline_ms)
                core.submit(request, count, device)
                return

    def count(ticket: Ticket, outcome: object) -> None:
        request = ticket.request
        if isinstance(outcome, EdgeAnswer) and outcome.status is Status.DONE and clock.now_ms() <= request.latest_ms:
            gained[0] += accuracy[request.exit - 1]

    for at_ms in np.cumsum(gaps_ms):
        clock.call_at(float(at_ms), send)
    clock.run()
    return 100.0 * gained[0] / len(gaps_ms)


def exits_by_edge(network: Any, accuracy: Sequence[float], gaps_ms: NDArray[Any], deadline_ms: float) -> float:
    """The same when the edge picks exit and batch by the impact on all that wait."""
    clock, exits = EventClock(), range(1, len(accuracy) + 1)
    times = {(e, n): network.edge_ms(0, e) * network.batch_factor(0, e, n) for e in exits for n in (1, 2, 4, 8)}
    quickest_ms = min(times[e, 1] for e in exits)
    state = SimpleNamespace(waiting=[], busy=False, gained=0.0)

    def arrive() -> None:
        state.waiting.append(clock.now_ms() + deadline_ms)
        serve()

    def serve() -> None:
        now = clock.now_ms()
        state.waiting = [latest for latest in state.waiting if now + quickest_ms <= latest]
        if state.busy or not state.waiting:
            return
        choices = [choice for choice in times if choice[1] <= len(state.waiting)]
        exit_, count = min(choices, key=lambda choice: score(now, *choice))
        batch, state.waiting = state.waiting[:count], state.waiting[count:]
        ends_ms = now + times[exit_, count]
        state.gained += accuracy[exit_ - 1] * sum(ends_ms <= latest for latest in batch)
        state.busy = True
        clock.call_at(ends_ms, end)

    def score(now: float, exit_: int, count: int) -> tuple[float, float, float]:
        ends_ms = now + times[exit_, count]
        late = sum(ends_ms > latest for latest in state.waiting[:count])
        late += sum(ends_ms + quickest_ms > latest for latest in state.waiting[count:])
        return late, -accuracy[exit_ - 1], times[exit_, count] / count

    def end() -> None:
        state.busy = False
        serve()

    for at_ms in np.cumsum(gaps_ms):
        clock.call_at(float(at_ms), arrive)
    clock.run()
    return 100.0 * float(state.gained) / len(gaps_ms)


def ratios(profile: Profile) -> None:
    print("time per task in a batch, of that alone; median over the segments")
    batches: tuple[SegmentBatches, ...] = profile.edge_batches or ()
    for i, size in enumerate(batches[0].sizes):
        share = [it.ms[i] / size / it.ms[0] for it in batches]
        print(f"{size:>5} {np.median(share):6.2f}   ({min(share):.2f} to {max(share):.2f})")


def batches_or_not(profile: Profile, seeds: range, tasks: int) -> None:
    together, alone = Segments(profile), Alone(profile)
    last = len(profile.exits)
    cases = {"one segment": [(0, last)], f"{MIXED} segments": together.segments[-MIXED:]}
    for name, chosen in cases.items():
        print(f"\nin time, {name}\n{'load':>5} {'one by one':>11} {'batches':>8}  ratio, 95 % interval")
        for load in LOADS:
            one, many = (np.array([in_time(it, chosen, load, tasks, s) for s in seeds]) for it in (alone, together))
            ratio = interval(many / one)
            shown = f"{one.mean():11.1f} {many.mean():8.1f}"
            print(f"{load:5.1f} {shown}  {ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")


def who_picks_the_exit(profile: Profile, seeds: range, tasks: int) -> None:
    together, alone = Segments(profile), Alone(profile)
    accuracy = [head.accuracy_at(0) for head in profile.exits]
    deepest_ms = together.edge_ms(0, len(accuracy))
    print("\non-time accuracy: the devices pick the exit (one by one, batches, batches that reports count in), or")
    print("the edge; batches over the edge")
    for load in LOADS:
        gaps = [np.random.default_rng(seed).exponential(deepest_ms / load, tasks) for seed in seeds]
        deadline_ms = EXIT_DEADLINE * deepest_ms
        counted_in = partial(exits_by_devices, told_ms=at_once_ms)
        one, many, counted, edge = (
            np.array([pick(network, accuracy, gap, deadline_ms) for gap in gaps])
            for pick, network in (
                (exits_by_devices, alone), (exits_by_devices, together),
                (counted_in, together), (exits_by_edge, together),
            )
        )  # fmt: skip
        ratio = interval(many / edge)
        shown = f"{one.mean():8.1f} {many.mean():8.1f} {counted.mean():8.1f} {edge.mean():8.1f}"
        print(f"{load:5.1f} {shown}  {ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")


def both_worlds(profile: Profile, seeds: range, tasks: int) -> None:
    last, deepest_ms = len(profile.exits), Segments(profile).edge_ms(0, len(profile.exits))
    names = f"fixed:{last},0", "greedy"
    print("\non-time accuracy of whole scenarios: in virtual time / simulated")
    print(f"{'load':>5} {'one by one: fixed':>19} {'greedy':>15} {'batches: fixed':>19} {'greedy':>15}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "profile.json"
        file.write_text(profile.model_copy(update={"task_ms": 0.0, "offload_ms": 0.0}).to_json())
        for load in LOADS[2:]:
            shown = ""
            for batch in (1, 8):
                scenario = whole(file, load, deepest_ms, batch, tasks // DEVICES)
                virtual = run_virtual_scenario(scenario, names, seeds).results
                for name in names:
                    mean = np.mean([it.on_time_accuracy for it in virtual if it.scheduler == name])
                    found = np.mean([it.on_time_accuracy for it in simulate_batch(scenario, name, seeds)])
                    shown += f"{100 * mean:11.2f} / {100 * found:5.2f}"
            print(f"{load:5.1f} {shown}")


def whole(file: Path, load: float, deepest_ms: float, batch: int, tasks: int) -> Scenario:
    """Ten devices, ten times slower than an edge that is as slow as makes a whole network 10 ms, or as it is."""
    slowdown = max(EDGE_MS / deepest_ms, 1.0)
    edge_ms = slowdown * deepest_ms
    stream = {
        "name": "device", "count": DEVICES, "profile": str(file), "deadline_ms": EXIT_DEADLINE * edge_ms,
        "slowdown": 10.0 * slowdown, "arrivals": {"kind": "poisson", "rate_hz": 1000.0 * load / edge_ms / DEVICES},
    }  # fmt: skip
    document = {
        "schema": "hasten.scenario/1", "streams": [stream], "tasks_per_stream": tasks, "view": {"kind": "device"},
        "uplink": {"topology": "dedicated", "rtt_ms": 2, "rate": {"kind": "constant", "mbps": 20}},
        "edge": {"slowdown": slowdown, "queue": "deadline", "batch": batch},
    }  # fmt: skip
    return scenario_from(document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--tasks", type=int, default=2000)
    args = parser.parse_args()
    seeds = range(args.seeds)
    profile = read_profile(args.profile) if args.profile else measure(build_default(), "edge", gap_ms=0.0).profile
    ratios(profile)
    batches_or_not(profile, seeds, args.tasks)
    who_picks_the_exit(profile, seeds, args.tasks)
    both_worlds(profile, seeds, args.tasks)


if __name__ == "__main__":
    main()
