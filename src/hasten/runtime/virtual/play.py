"""One device against one edge in virtual time, from a profile alone: no package, no network is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import Scheduler
from hasten.core.profile import Profile
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.device.uplink import Uplink, UplinkUser
from hasten.runtime.virtual.edge import VirtualEdge
from hasten.runtime.virtual.loop import run_virtual
from hasten.runtime.virtual.machine import Law, virtual_machine
from hasten.runtime.virtual.network import VirtualLink
from hasten.runtime.wire.frames import Hello
from hasten.split.manifest import Cut, TensorSpec

CLASSES = 10
DIGEST = bytes(32)
FRAME = np.zeros((1, 1), np.uint8)


class StandIn:
    """Computes nothing: class 1."""

    def prefix(self, partition: int, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Nothing crosses."""
        return [FRAME]

    def finish(self, partition: int, exit_: int, tensors: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        """Class 1, almost surely."""
        logits = np.zeros(CLASSES, dtype=np.float32)
        logits[1] = 9.0
        return logits


@dataclass
class World:
    """What a played fault may lay hands on.

    ``link`` and ``edge`` are there also for a device that works alone: nothing leads to them.
    """

    agent: DeviceAgent
    link: VirtualLink
    edge: VirtualEdge
    at: Callable[[float, Callable[[], object]], None]
    """``at(ms, call)``: call something so long after the first task could arrive."""
    notes: list[str]


def stand_in_package(profile: Profile) -> Any:
    """What an agent and an edge ask of a package, from its profile."""
    sizes = [profile.input_bytes, *(block.output_bytes for block in profile.blocks)]
    cuts = tuple(
        Cut(name=f"cut{p}", tensors=(TensorSpec(name="x", shape=(size,), dtype="uint8"),), payload_bytes=size)
        for p, size in enumerate(sizes)
    )
    manifest = SimpleNamespace(cuts=cuts, classes=CLASSES)
    return SimpleNamespace(profile=profile, manifest=manifest, digest=DIGEST.hex())


def play(
    profile: Profile,
    scheduler: Scheduler,
    settings: AgentSettings,
    times_ms: Iterable[float],
    setting: Callable[[World], None] | None = None,
    *,
    edge: bool = True,
    workers: int = 1,
    edge_slowdown: float = 1.0,
    law: Law = lambda planned_ms: planned_ms,
    log: TaskLog | None = None,
    runner: Any = None,
) -> tuple[list[dict[str, Any]], World]:
    """Run a stream of tasks; return the records in order of number, and the world they ran in.

    ``setting`` is called before the agent connects: link, edge and faults are to be set there.
    """

    async def main() -> tuple[list[dict[str, Any]], World]:
        machine = virtual_machine(law)
        clock = machine.clock
        package = stand_in_package(profile)
        far = VirtualEdge(clock, package, workers, edge_slowdown)
        link = VirtualLink(clock, far)
        notes: list[str] = []
        hello = Hello(DIGEST, b"", "virtual")

        def connect(user: UplinkUser) -> Uplink:
            return Uplink("edge", 1, hello, None, user, link, clock.now_ms, lambda: 0.5)

        agent = DeviceAgent(
            package,
            runner or StandIn(),
            scheduler,
            settings,
            connect if edge else None,
            on_note=notes.append,
            machine=machine,
        )
        start_ms = clock.now_ms() + START_MS
        world = World(agent, link, far, lambda ms, call: clock.call_at(start_ms + ms, call), notes)  # type: ignore[arg-type]
        if setting is not None:
            setting(world)
        written = log or TaskLog(None, keep=True)
        await agent.prepare()
        try:
            await agent.run((Arrival(at_ms, 0, FRAME, 1) for at_ms in times_ms), start_ms, written)
        finally:
            await agent.close()
        return sorted(written.records, key=lambda record: int(record["task"])), world

    return run_virtual(main())


START_MS = 5000.0
"""Connecting and warming up are over by then."""
