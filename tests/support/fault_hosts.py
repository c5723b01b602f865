"""The two machines of a faulty world: an edge that crashes and freezes, and devices that are started again.

What they run is the runtime's own: ``EdgeCore`` and ``EdgeConnection``, ``DeviceAgent`` and ``Uplink``. Played are
clocks, processors and the network. Every answer tells what it is of: frame, exit and partition, see :func:`label`.
"""

from __future__ import annotations

import asyncio
import errno
import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from fault_network import End, FaultyLink

from hasten.core.profile import Profile
from hasten.runtime.clock import Clock
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasklog import Record, TaskLog, _Writer
from hasten.runtime.device.tasks import Arrival, Task
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.connection import EdgeConnection
from hasten.runtime.edge.connections import ConnectionLimits, Connections
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.served import Computed, Refusal, Request, Served
from hasten.runtime.edge.tokens import Tokens
from hasten.runtime.notes import Notes
from hasten.runtime.virtual.loop import VirtualClock
from hasten.runtime.virtual.machine import VirtualCompute, shared_machine
from hasten.runtime.virtual.stand_in import number_in, stand_in_package
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.tasks import Status
from hasten.split.manifest import LOGITS, TensorSpec

CLASSES = 1024
CHECK_EVERY_MS = 1000.0
_CUT_BIT = 28


def label(frame: int, partition: int, exit_: int) -> tuple[int, float]:
    """Class and confidence of a frame after ``partition`` blocks on the device, answered by ``exit_``."""
    mixed = ((frame | partition << _CUT_BIT) * 2654435761 + exit_ * 40503) % 4294967291
    return mixed % CLASSES, 0.5 + (mixed // CLASSES % 1000) / 4000.0


def numbered_package(profile: Profile) -> Any:
    """A stand-in package of many classes."""
    package = stand_in_package(profile)
    logits = (TensorSpec(name=LOGITS, shape=(CLASSES,), dtype="float32"),)
    package.manifest.classes, package.manifest.outputs = CLASSES, lambda exit_: logits
    return package


class NumberedRunner:
    """The device's segments: tensors carry the frame's number and the cut they are of."""

    def __init__(self, profile: Profile) -> None:
        self._after = [exit_.after_block for exit_ in profile.exits]

    def prefix(self, partition: int, inputs: Sequence[Any]) -> list[Any]:
        """The same frame, after so many blocks."""
        frame = int(inputs[0][0, 0])
        assert frame >> _CUT_BIT == 0, "the input has been through blocks already"
        return [np.array([[frame | partition << _CUT_BIT]], np.uint32)]

    def outputs(self, partition: int, exit_: int, tensors: Sequence[Any]) -> Any:
        """The exit's answer to the frame."""
        frame = int(tensors[0][0, 0])
        assert frame >> _CUT_BIT == partition, "tensors of another cut"
        logits = np.zeros(CLASSES, np.float32)
        logits[label(frame & (1 << _CUT_BIT) - 1, self._after[exit_ - 1], exit_)[0]] = 20.0
        return {LOGITS: logits}


class MortalClock:
    """One process's clock: what is due when it is frozen waits, and what is due when it has ended never comes."""

    def __init__(self, clock: VirtualClock, offset_ms: float = 0.0) -> None:
        self.offset_ms = offset_ms
        self.frozen = False
        self._clock, self._ended = clock, False
        self._waits: list[Callable[[], None]] = []

    def now_ms(self) -> float:
        return self.offset_ms + self._clock.now_ms()

    def call_at(self, when_ms: float, call: Callable[[], None], rank: int = 0) -> None:
        self._clock.call_at(when_ms - self.offset_ms, lambda: self._due(call), rank)

    def _due(self, call: Callable[[], None]) -> None:
        if self.frozen:
            self._waits.append(call)
        elif not self._ended:
            call()

    def thaw(self) -> None:
        self.frozen = False
        waits, self._waits = self._waits, []
        for call in waits:
            self._due(call)

    def close(self) -> None:
        self._ended = True


class _NumberedWorkers:
    def __init__(self, host: EdgeHost, clock: Clock, count: int) -> None:
        self.count = count
        self._host, self._clock = host, clock

    def start(self) -> None:
        """Nothing to get ready."""

    def execute(self, worker: int, request: Request, done: Callable[[Computed | Refusal], None]) -> None:
        self.execute_together(worker, [request], lambda computed: done(computed[0]))

    def execute_together(
        self, worker: int, requests: Sequence[Request], done: Callable[[list[Computed | Refusal]], None]
    ) -> None:
        first = requests[0]
        alone_ms = self._host.service(first.served.edge_ms(first.cut, first.exit) or 0.0)
        factor = first.served.batch_factor(first.cut, first.exit, len(requests)) if len(requests) > 1 else 1.0
        computed: list[Computed | Refusal] = []
        for request in requests:
            mark = number_in(bytes(request.tensors.args[0]))  # type: ignore[attr-defined]
            frame, cut = mark & (1 << _CUT_BIT) - 1, mark >> _CUT_BIT
            computed.append(Computed(Status.DONE, *label(frame, cut, request.exit), 0.0, alone_ms))
        self._host.most_at_once = max(self._host.most_at_once, len(requests))
        self._clock.call_at(self._clock.now_ms() + factor * alone_ms, lambda: done(computed))

    def close(self, wait_s: float) -> None:
        """Nothing to end."""


class _NoRunner:
    def finish(self, partition: int, exit_: int, tensors: object) -> Any:
        raise NotImplementedError


class EdgeHost:
    """The edge's machine and, while it runs, the edge.

    Attributes:
        service: what work profiled at so many ms takes.
        most_at_once: the largest batch.
    """

    def __init__(self, clock: VirtualClock, package: Any, workers: int, devices: int) -> None:
        self.service: Callable[[float], float] = lambda profiled_ms: profiled_ms
        self.running = False
        self.most_at_once = 0
        self._clock, self._package, self._workers = clock, package, workers
        self._limits = ConnectionLimits(devices=2 * devices)  # half of them from one address
        self._starts = 0
        self._ends: list[End] = []
        self.start()

    def start(self) -> None:
        """A new process; its clock has begun at another time."""
        if self.running:
            return
        self.running = True
        self._starts += 1
        self.clock = MortalClock(self._clock, 1e6 * self._starts)
        self.notes: list[str] = []
        notes = Notes(self.notes.append, self.clock.now_ms)
        served = Served(self._package, runner=_NoRunner())
        workers = _NumberedWorkers(self, self.clock, self._workers)
        self.core = EdgeCore([served], workers, self.clock, notes=notes)
        self.guests = Connections(self._limits, self.clock, notes)
        self._check()

    def _check(self) -> None:
        self.clock.call_at(self.clock.now_ms() + CHECK_EVERY_MS, self._check)
        self.guests.check()
        self.core.check()

    def accept(self, end: End) -> bool:
        """A device has connected."""
        if not self.running:
            return False
        self._ends = [other for other in self._ends if not other.closed] + [end]
        end.reads = not self.clock.frozen
        end.protocol = EdgeConnection(self.core, self.guests, self.guests.arrived("device", 1), Tokens())
        end.protocol.connection_made(end)
        return True

    def crash(self, silently: bool) -> None:
        """The process ends; its system tells the devices, unless it is gone as well."""
        self.running = False
        self.clock.close()
        for end in self._ends:
            if not end.closed and silently:
                end.vanish()
            elif not end.closed:
                end.carry(None)
                end.closed = True

    def restart(self) -> None:
        """It is there again; to what comes on connections of before its system says that there are none."""
        for end in self._ends:
            end.silent = False
        self.start()

    def freeze(self) -> None:
        """The process stands still; its system goes on accepting."""
        self.clock.frozen = True
        for end in self._ends:
            end.reads = False

    def thaw(self) -> None:
        """It goes on."""
        self.clock.thaw()
        for end in self._ends:
            end.reads = True
            end.read()

    @property
    def connections(self) -> list[EdgeConnection]:
        """Those of the present process."""
        return [end.protocol for end in self._ends if not end.closed]


class _Disk(io.StringIO):
    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


class _InPlaceWriter(_Writer):
    """The log's writer without its thread."""

    def __init__(self, disk: _Disk, trouble: Callable[[str], None]) -> None:
        self._path, self._what, self._file, self._trouble = None, "task log", disk, trouble  # type: ignore[assignment]
        self._works = True

    def put(self, record: Record) -> None:
        self._works = self._works and self._write(record)

    def close(self) -> None:
        """Nothing waits."""


class DiskLog(TaskLog):
    """A task log on a disk that may be full."""

    def __init__(self, disk: _Disk) -> None:
        super().__init__(None, keep=True)
        self._writer = _InPlaceWriter(disk, self._trouble)


class DeviceHost:
    """One device's machine: its disk and, while it runs, its agent.

    Attributes:
        agent: the present one; None while the device is off.
    """

    def __init__(
        self,
        clock: VirtualClock,
        number: int,
        package: Any,
        settings: AgentSettings,
        make_scheduler: Callable[[], Any],
        links: Sequence[FaultyLink],
        chance: random.Random,
        on_note: Callable[[str], None],
    ) -> None:
        self.number, self.links, self.settings = number, links, settings
        self.disk = _Disk()
        self.on_note = on_note
        self.agent: DeviceAgent | None = None
        self.log: DiskLog | None = None
        self._base, self._package, self._make, self._chance = clock, package, make_scheduler, chance
        self._clock = MortalClock(clock)
        self._run: asyncio.Task[None] | None = None

    async def start(self, arrivals: Iterator[Arrival], on_task: Callable[[Task], object]) -> None:
        """Start an agent that takes ``arrivals`` (times from 0 on)."""
        clock = self._clock = MortalClock(self._base)
        machine = shared_machine(clock, VirtualCompute(clock), 0.0, self.number)  # type: ignore[arg-type]
        hello = Hello(bytes.fromhex(self._package.digest), b"", f"device {self.number}")
        self.agent = agent = DeviceAgent(
            self._package,
            NumberedRunner(self._package.profile),
            self._make(),
            self.settings,
            [
                lambda user, link=link: Uplink(link, hello, user, clock.now_ms, self._chance.random)  # type: ignore[misc]
                for link in self.links
            ],
            on_note=self.on_note,
            machine=machine,
        )
        await agent.prepare()
        if self.agent is not agent:
            return  # the power has gone meanwhile
        self.log = DiskLog(self.disk)
        self._run = asyncio.create_task(agent.run(arrivals, 0.0, self.log, on_task))

    @property
    def ended(self) -> bool:
        """Whether its stream has come to its end."""
        return self._run is not None and self._run.done()

    def failure(self) -> str | None:
        """What its run raised."""
        error = self._run.exception() if self._run is not None and self.ended and not self._run.cancelled() else None
        return None if error is None else repr(error)

    async def stop(self) -> None:
        """End in order: tasks that are here get a moment."""
        agent, run = self.agent, self._run
        self.agent = self._run = None  # before the next one starts, which may be while this one ends
        if run is not None:
            run.cancel()
            await asyncio.wait([run])
        if agent is not None:
            await agent.close()

    async def kill(self, silently: bool) -> None:
        """End at once; the system tells the edge, unless it is gone as well."""
        self._clock.close()
        for end in [end for link in self.links for end in link.near_ends()]:
            if silently:
                end.vanish()
            else:
                end.abort()
        await self.stop()
