"""Play a schedule of faults and hold the runtime to what it promises; the same schedule gives the same log.

Held to in every run: each task that was taken has exactly one outcome, by a stated time; each answer is the one of its
own frame, exit and partition; where the device was told that the edge is gone, nothing is sent from 50 ms or half a
deadline later on; everything that could grow stays within a bound; and when all is well again, the edge is used again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from fault_hosts import DeviceHost, EdgeHost, label, numbered_package
from fault_kinds import BEGIN
from fault_network import FaultyLink
from fault_schedules import SILENT, Fault, Schedule, shrunk
from virtual_cases import Cycle, profile

from hasten.core.rescue import GRACE_MS
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasks import Arrival, Outcome, Reason, Task
from hasten.runtime.virtual.loop import VirtualClock, run_virtual
from hasten.schedulers import make_scheduler

START_MS = 2000.0
"""All have connected by then; times of faults count from here."""
BY_MS = GRACE_MS + 250.0
"""A task's outcome is known so long after its deadline at the latest."""
LOCAL_MS, LOCAL_SHARE = 50.0, 0.5
"""Where the edge is known to be gone, decisions are for the device from then, or this share of the deadline, on."""
RETURN_MS = 40_000.0
"""The edge is used again so long after the last fault at the latest."""
ANSWERS = 3
"""So many answers of the edge in turn, in time, are its being used."""
LOOK_EVERY_MS = 25.0
BOUNDS = {
    "open tasks": 16, "flights": 24, "transfers": 24, "pings": 12, "jobs": 12, "kinds of notes": 12,
    "tasks at the edge": 16, "tasks run at once": 8, "tickets": 16, "guests": 8, "last starts": 24, "unsent bytes": 60_000,
}  # fmt: skip
"""What nothing may exceed in these worlds."""
NETWORK = profile()


@dataclass
class Played:
    """What came of a schedule."""

    schedule: Schedule
    broken: list[str]
    """Promises that were not kept."""
    log: str
    """Every outcome, note and fault, one a line."""
    tasks: list[Task]
    back_ms: float
    """How long after the last fault all devices used the edge again."""
    latest_ms: float
    """How long after its deadline the last outcome of a task was known."""
    sizes: dict[str, int]
    """The most there ever was of what could grow."""

    def during(self) -> list[Task]:
        """The tasks that came while something was wrong."""
        spans = [(START_MS + fault.at_ms, START_MS + fault.ends_ms) for fault in self.schedule.faults]
        return [task for task in self.tasks if any(start <= task.arrived_ms < end for start, end in spans)]


@dataclass
class _Stream:
    """What is known of one device's tasks."""

    device: DeviceHost
    rate_hz: float
    given: dict[int, float] = field(default_factory=dict)
    """Frame -> time of arrival, ms."""
    told: dict[int, int] = field(default_factory=dict)
    """Frame -> how many outcomes it had."""
    next_ms: float = START_MS
    waiting: Arrival | None = None
    off: bool = False
    in_turn: int = 0
    back_ms: float | None = None


class _World:
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.clock = VirtualClock(asyncio.get_running_loop())
        self.rng = random.Random(schedule.seed + 1)
        package = numbered_package(NETWORK)
        devices = len(schedule.deadlines_ms)
        self.edges = [EdgeHost(self.clock, package, schedule.workers, devices) for _ in range(schedule.edges)]
        self.streams = []
        for number in range(devices):
            links = [
                FaultyLink(self.clock, edge.accept, self._pieces, f"edge {e}") for e, edge in enumerate(self.edges)
            ]
            settings = AgentSettings(schedule.deadlines_ms[number], schedule.rates_hz[number])
            make = partial(_scheduler, schedule.schedulers[number])
            tell, chance = partial(self.note, number), random.Random(schedule.seed + number)
            host = DeviceHost(self.clock, number, package, settings, make, links, chance, tell)
            self.streams.append(_Stream(host, schedule.rates_hz[number]))
        self.broken: list[str] = []
        self.lines: list[str] = []
        self.tasks: list[Task] = []
        self.latest_ms = 0.0
        self.sizes: dict[str, int] = dict.fromkeys(BOUNDS, 0)
        self.stalled_ms = 0.0
        self.well_ms = START_MS + max((fault.ends_ms for fault in schedule.faults), default=0.0)
        self.jobs: set[asyncio.Task[None]] = set()
        self.over = False
        asyncio.get_running_loop().set_exception_handler(self._failed)

    def _pieces(self, size: int) -> list[int]:
        """Segments as a network might cut them."""
        if size < 2 or self.rng.random() < 0.8:
            return [size]
        first = self.rng.randrange(1, size)
        return [first, size - first]

    def breaks(self, text: str) -> None:
        if len(self.broken) < 20 and text not in self.broken:
            self.broken.append(text)
            self.say("BROKEN", text=text)

    def say(self, what: str, **facts: Any) -> None:
        self.lines.append(json.dumps({"at_ms": round(self.clock.now_ms(), 4), "what": what} | facts))

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.breaks(f"a call failed: {context.get('exception', context['message'])!r}")

    def note(self, device: int, text: str) -> None:
        self.say("note", device=device, text=text)

    # Tasks

    def arrivals(self, stream: _Stream) -> Iterator[Arrival]:
        """Frames until the device has returned to the edge, or should have."""
        now = self.clock.now_ms()
        stream.next_ms = max(stream.next_ms, now)
        if stream.waiting is not None:
            stream.waiting = replace(stream.waiting, at_ms=max(stream.waiting.at_ms, now))
        while True:
            arrival = stream.waiting
            if arrival is None:
                if stream.back_ms is not None or stream.next_ms > self.well_ms + RETURN_MS:
                    return
                frame = stream.device.number << 20 | len(stream.given)
                arrival = Arrival(stream.next_ms, frame, [np.array([[frame]], np.uint32)], None)
                stream.given[frame] = stream.next_ms
                stream.next_ms += 1000.0 / stream.rate_hz * self.rng.uniform(0.7, 1.3)
            stream.waiting = arrival
            yield arrival
            stream.waiting = None

    def ended(self, stream: _Stream, task: Task) -> None:
        """A task's outcome."""
        if stream.off:
            return
        now, frame = self.clock.now_ms(), task.arrival.sample
        stream.told[frame] = stream.told.get(frame, 0) + 1
        self.tasks.append(task)
        name = f"frame {frame:#x}"
        if stream.told[frame] > 1:
            self.breaks(f"{name} has two outcomes")
        self.latest_ms = max(self.latest_ms, now - task.arrived_ms - task.deadline_ms - self.stalled_ms)
        if task.reason is Reason.FAILED:
            self.breaks(f"{name} failed on the device")
        if task.class_index is not None:
            self._judge(name, task)
        self._sent_to_nobody(stream, name, task)
        stream.in_turn = stream.in_turn + 1 if self._well(stream, task) else 0
        if stream.in_turn >= ANSWERS and now > self.well_ms and stream.back_ms is None:
            stream.back_ms = now - self.well_ms
        record = {key: value for key, value in task.record(0.0).items() if key != "decision_us"}
        self.say("task", device=stream.device.number, **record)

    def _judge(self, name: str, task: Task) -> None:
        right, confidence = label(task.arrival.sample, task.answered_partition, task.answered_exit)
        here = task.answered_partition == NETWORK.exits[task.answered_exit - 1].after_block
        if task.class_index != right:
            self.breaks(f"{name} has the answer of something else")
        if not here and task.confidence is not None and abs(task.confidence - confidence) > 1e-6:
            self.breaks(f"{name} has the confidence of something else")

    def _well(self, stream: _Stream, task: Task) -> bool:
        """Whether a task ended as if nothing had ever been wrong: as decided, in time, and by the edge if need be.

        By then the device may use every edge again.
        """
        agent = stream.device.agent
        best = task.wire_bytes > 0 or task.answered_exit == len(NETWORK.exits)
        well = task.outcome is Outcome.ON_TIME and task.fallback is None and best
        now = self.clock.now_ms()
        return well and agent is not None and all(contact.reachable(now) for contact in agent._contacts._contacts)

    def _sent_to_nobody(self, stream: _Stream, name: str, task: Task) -> None:
        bound_ms = min(LOCAL_MS, LOCAL_SHARE * task.deadline_ms)
        for fault in self.schedule.faults:
            told = fault.kind == "edge crash" or (fault.kind == "link cut" and fault.device == stream.device.number)
            told = told and fault.edge == task.edge
            start_ms, end_ms = START_MS + fault.at_ms, START_MS + fault.ends_ms
            if told and not self._silent_meanwhile(fault) and start_ms + bound_ms < task.sent_ms < end_ms:
                self.breaks(f"{name} was sent {task.sent_ms - start_ms:.0f} ms after the {fault.kind}")

    def _silent_meanwhile(self, fault: Fault) -> bool:
        """Whether the word of a fault may not have come through, or it was over before."""
        for other in self.schedule.faults:
            if other is fault or other.at_ms > fault.ends_ms or other.ends_ms + 500.0 < fault.at_ms:
                continue
            if other.kind in SILENT or other.kind in ("edge crash", "link cut", "device restart"):
                return True
        return False

    # What can grow

    def look(self) -> None:
        """Look at everything; again in a moment."""
        if self.over:
            return
        now = self.clock.now_ms()
        found: dict[str, int] = {}
        for edge in self.edges:
            found = _largest(found, _held(edge))
        for stream in self.streams:
            agent = stream.device.agent
            if agent is None or stream.off:
                continue
            found = _largest(found, _grown(stream.device))
            for task in agent._endings.open.values():
                if now > task.arrived_ms + task.deadline_ms + BY_MS + self.stalled_ms:
                    self.breaks(f"frame {task.arrival.sample:#x} has no outcome in time")
        self.sizes = _largest(self.sizes, found)
        for what, most in BOUNDS.items():
            if found.get(what, 0) > most:
                self.breaks(f"more than {most} {what}")
        self.clock.call_at(now + LOOK_EVERY_MS, self.look)

    # Faults

    def set_faults(self) -> None:
        for fault in self.schedule.faults:
            self.clock.call_at(START_MS + fault.at_ms, partial(self._begin, fault))

    def _begin(self, fault: Fault) -> None:
        self.say("fault", text=str(fault))
        undo = BEGIN[fault.kind](self, fault, self.streams[fault.device])
        if undo is not None:
            self.clock.call_at(START_MS + fault.ends_ms, undo)

    def spawn(self, coroutine: Any) -> None:
        job = asyncio.get_running_loop().create_task(coroutine)
        self.jobs.add(job)

    async def start(self, stream: _Stream) -> None:
        stream.off = False
        await stream.device.start(self.arrivals(stream), partial(self.ended, stream))

    async def play(self) -> None:
        for stream in self.streams:
            await self.start(stream)
        self.set_faults()
        self.look()
        limit_s = (self.well_ms + RETURN_MS + 10_000.0) / 1000.0
        loop = asyncio.get_running_loop()
        while loop.time() < limit_s and not all(stream.device.ended for stream in self.streams):
            await asyncio.sleep(0.1)
        if self.jobs:
            await asyncio.wait(self.jobs)
        self._close()
        for stream in self.streams:
            await stream.device.stop()
        self.over = True

    def _close(self) -> None:
        """What can be said at the end."""
        for job in self.jobs:
            if job.exception() is not None:
                self.breaks(f"starting or ending a device failed: {job.exception()!r}")
        for stream in self.streams:
            device, number = stream.device, stream.device.number
            failure = device.failure()
            if failure is not None:
                self.breaks(f"device {number} failed: {failure}")
            elif not device.ended:
                self.breaks(f"device {number} does not come to an end")
            if stream.back_ms is None:
                self.breaks(f"device {number} does not return to the edge")
            for frame, at_ms in stream.given.items():
                if frame not in stream.told and frame != (stream.waiting.sample if stream.waiting else None):
                    self.breaks(f"frame {frame:#x} of {at_ms:.0f} ms has no outcome")


def _held(edge: EdgeHost) -> dict[str, int]:
    """How much there is of what could grow at an edge."""
    return {
        "tasks at the edge": len(edge.core._queue),
        "tasks run at once": edge.most_at_once,
        "guests": len(edge.guests.everybody()),
        "last starts": len(edge.core._last_starts._entries),
        "tickets": max((len(connection._tickets) for connection in edge.connections), default=0),
    }


def _grown(device: DeviceHost) -> dict[str, int]:
    """How much there is of what could grow on a device."""
    agent = device.agent
    assert agent is not None  # checked by the caller
    contacts = agent._contacts._contacts
    compute: Any = agent._machine.compute
    return {
        "open tasks": len(agent._endings.open),
        "flights": max(len(contact._flights._waiting) for contact in contacts),
        "transfers": max(len(contact._backlogs._transfers) for contact in contacts),
        "pings": max(len(contact._prober._pending) for contact in contacts),
        "jobs": len(compute.jobs),
        "kinds of notes": len(agent._teller._told),
        "unsent bytes": max((end._unsent_bytes for link in device.links for end in link.near_ends()), default=0),
    }


def _largest(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return one | {key: max(one.get(key, 0), count) for key, count in other.items()}


def _scheduler(name: str) -> Any:
    return Cycle([(4, 0), (4, 2), (3, 1), (2, 2), (4, 3)]) if name == "cycle" else make_scheduler(name)


def play_faults(schedule: Schedule) -> Played:
    """Play a schedule from beginning to end."""

    async def main() -> _World:
        world = _World(schedule)
        await world.play()
        return world

    world = run_virtual(main())
    back_ms = max((RETURN_MS if it.back_ms is None else it.back_ms for it in world.streams), default=0.0)
    log = "\n".join(world.lines)
    return Played(schedule, world.broken, log, world.tasks, back_ms, world.latest_ms, world.sizes)


def fails(schedule: Schedule, faults: Sequence[Fault]) -> bool:
    """Whether a promise is broken when these faults are all there are."""
    return bool(play_faults(replace(schedule, faults=tuple(faults))).broken)


def told(played: Played) -> str:
    """In words, for a run that broke a promise: how to have it again, and the least faults that break one."""
    schedule = played.schedule
    least = shrunk(schedule.faults, partial(fails, schedule))
    edges = "" if schedule.edges == 1 else f"{schedule.edges} edges, "
    world = (
        f"{edges}deadlines {schedule.deadlines_ms} ms, rates {schedule.rates_hz} Hz, {', '.join(schedule.schedulers)}"
    )
    lines = [f"seed {schedule.seed}: {'; '.join(played.broken[:3])}", f"{world}, {schedule.workers} workers"]
    return "\n  ".join(lines + [str(fault) for fault in least])
