"""One device and its edge, or several, in virtual time, from a profile alone: no package, no network is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hasten.core.decision import Scheduler
from hasten.core.profile import Profile
from hasten.runtime.clock import Clock
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival
from hasten.runtime.device.uplink import Uplink, UplinkUser
from hasten.runtime.virtual.edge import VirtualEdge
from hasten.runtime.virtual.loop import run_virtual
from hasten.runtime.virtual.machine import Law, virtual_machine
from hasten.runtime.virtual.network import VirtualLink
from hasten.runtime.virtual.stand_in import FRAME, StandIn, stand_in_package
from hasten.runtime.wire.handshake import Hello


@dataclass
class PlayedWorld:
    """What a played fault may lay hands on.

    There is an edge and a link also for a device that works alone: nothing leads to them.
    """

    agent: DeviceAgent
    links: list[VirtualLink]
    edges: list[VirtualEdge]
    at: Callable[[float, Callable[[], object]], None]
    """``at(ms, call)``: call something so long after the first task could arrive."""
    notes: list[str]

    @property
    def link(self) -> VirtualLink:
        """To the first edge."""
        return self.links[0]

    @property
    def edge(self) -> VirtualEdge:
        """The first one."""
        return self.edges[0]


@dataclass(frozen=True)
class Machines:
    """What plays a device and its edges, if there are any; the edges are alike."""

    edges: int = 1
    workers: int = 1
    edge_slowdown: float = 1.0
    law: Law = lambda planned_ms: planned_ms
    """How long the device takes for what it plans with so much."""
    runner: Any = None
    """Runs the device's segments; by default all answer with class 1."""


def play(
    profile: Profile,
    scheduler: Scheduler,
    settings: AgentSettings,
    times_ms: Iterable[float],
    setting: Callable[[PlayedWorld], None] | None = None,
    machines: Machines | None = None,
    log: TaskLog | None = None,
) -> tuple[list[dict[str, Any]], PlayedWorld]:
    """Run a stream of tasks; return the records in order of number, and the world they ran in.

    ``setting`` is called before the agent connects: link, edge and faults are to be set there.
    """
    given = machines or Machines()

    async def main() -> tuple[list[dict[str, Any]], PlayedWorld]:
        machine = virtual_machine(given.law)
        clock = machine.clock
        package = stand_in_package(profile)
        count = max(given.edges, 1)
        edges = [VirtualEdge(clock, [package], given.workers, given.edge_slowdown) for _ in range(count)]
        links = [VirtualLink(clock, edge) for edge in edges]
        for number, link in enumerate(links[1:], start=2):
            link.where = f"edge {number}"
        notes: list[str] = []
        connects = [connector(package, "virtual", link, clock) for link in links[: given.edges]]
        agent = DeviceAgent(
            package,
            given.runner or StandIn(),
            scheduler,
            settings,
            connects,
            profile,
            on_note=notes.append,
            machine=machine,
        )
        start_ms = clock.now_ms() + START_MS
        world = PlayedWorld(agent, links, edges, lambda ms, call: clock.call_at(start_ms + ms, call), notes)  # type: ignore[arg-type]
        if setting is not None:
            setting(world)
        written = log or TaskLog(None, keep=True)
        await agent.prepare()
        try:
            await agent.run((Arrival(at_ms, 0, [FRAME], 1) for at_ms in times_ms), start_ms, written)
        finally:
            await agent.close()
        return sorted(written.records, key=lambda record: int(record["task"])), world

    return run_virtual(main())


START_MS = 5000.0
"""Connecting and warming up are over by then."""


def connector(package: Any, name: str, link: VirtualLink, clock: Clock) -> Callable[[UplinkUser], Uplink]:
    """Makes the uplink of the device of this name over a virtual link."""
    hello = Hello(bytes.fromhex(package.digest), b"", name)
    return lambda user: Uplink(link, hello, user, clock.now_ms, lambda: 0.5)
