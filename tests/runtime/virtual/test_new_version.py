"""A new version of the package while edge and devices are at work, in virtual time, at random moments.

Each task has one outcome, and its answer is that of its own frame by the version that took it: that before up to the
moment of the switch, the new one from then on, whether edge or device goes first.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from fault_hosts import CLASSES, EdgeHost, MortalClock, NumberedRunner, label, numbered_package
from fault_network import FaultyLink
from virtual_cases import Cycle, profile

from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.line import AgentLine
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.tasks import Arrival, Outcome
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.served import Computed, Served
from hasten.runtime.edge.services import LINGERS_MS
from hasten.runtime.virtual.loop import VirtualClock, run_virtual
from hasten.runtime.virtual.machine import VirtualCompute, shared_machine
from hasten.runtime.virtual.stand_in import number_in
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.tasks import Status

RATE_HZ, SECONDS, DEADLINE_MS = 20.0, 20.0, 300.0
SWITCHES = ((2.0, 12.0), (3.0, 14.0))
"""Edge and device change between these seconds."""
PAIRS = [(4, 0), (4, 2), (3, 1), (4, 4)]


def versions():
    """Two versions of a package, which answer otherwise."""
    return [numbered_package(profile(name=name)) for name in ("before", "after")]


class Runner(NumberedRunner):
    def __init__(self, network, shift):
        super().__init__(network)
        self.shift = shift

    def outputs(self, partition, exit_, tensors):
        return {name: np.roll(array, self.shift) for name, array in super().outputs(partition, exit_, tensors).items()}


class Workers:
    """The edge's, which answer for each version as its devices do."""

    count = 1

    def __init__(self, clock, shifts):
        self.clock, self.shifts = clock, shifts

    def start(self):
        pass

    def execute(self, worker, request, done):
        mark = number_in(bytes(request.tensors.args[0]))
        class_index, confidence = label(mark & (1 << 28) - 1, mark >> 28, request.exit)
        class_index = (class_index + self.shifts[request.served.digest]) % CLASSES
        took_ms = request.served.edge_ms(request.cut, request.exit)
        computed = Computed(Status.DONE, class_index, confidence, 0.0, took_ms)
        self.clock.call_at(self.clock.now_ms() + took_ms, lambda: done(computed))


class World:
    """One device, one edge, and who changes what when."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.clock = VirtualClock(asyncio.get_running_loop())
        self.packages = versions()
        self.host = EdgeHost(self.clock, self.packages[0], 1, 1)
        shifts = {bytes.fromhex(package.digest): 7 * i for i, package in enumerate(self.packages)}
        self.host.core._workers = Workers(self.host.clock, shifts)
        self.link = FaultyLink(self.clock, self.host.accept, lambda size: [size])
        self.compute = VirtualCompute(self.clock)
        self.told = {}
        self.switched_ms = None

    @asynccontextmanager
    async def opened(self, prepared):
        number = self.packages.index(prepared.package)
        hello = Hello(bytes.fromhex(prepared.package.digest), b"", "device")
        agent = DeviceAgent(
            prepared.package,
            Runner(prepared.package.profile, 7 * number),
            Cycle(PAIRS),
            AgentSettings(DEADLINE_MS, RATE_HZ),
            lambda user: Uplink(self.link, hello, user, self.clock.now_ms, self.rng.random),
            machine=shared_machine(MortalClock(self.clock), self.compute, 0.0, number),
        )
        await agent.prepare()
        yield agent
        await agent.close()

    def prepared(self, number):
        package = self.packages[number]
        inputs = package.manifest.cuts[0].tensors
        package.manifest.inputs = inputs
        return SimpleNamespace(package=package, times=package.profile)

    def tell(self, prepared):
        version = self.packages.index(prepared.package)

        def ended(task):
            assert task.number not in self.told
            self.told[task.number] = (version, task)

        return ended

    async def play(self):
        edge_s, device_s = (self.rng.uniform(*span) for span in SWITCHES)
        core, loop = self.host.core, asyncio.get_running_loop()

        async def change_edge():
            await asyncio.sleep(edge_s)
            core.services.add(Served(self.packages[1], runner=object()))
            core.services.retire(bytes.fromhex(self.packages[0].digest), self.host.clock.now_ms())

        async def change_device(line):
            await asyncio.sleep(device_s)
            await line.switch(self.prepared(1))
            self.switched_ms = self.clock.now_ms()

        async with AgentLine(self.prepared(0), self.opened) as line:
            start_ms = self.clock.now_ms()
            async with line.taking(start_ms, TaskLog(None), self.tell):
                changes = [loop.create_task(change_edge()), loop.create_task(change_device(line))]
                for number in itertools.count():
                    at_ms = self.clock.now_ms() - start_ms
                    if at_ms > 1000.0 * SECONDS:
                        break
                    frame = np.array([[number]], np.uint32)
                    line.take(Arrival(at_ms, number, [frame], None), number)
                    await asyncio.sleep(self.rng.expovariate(RATE_HZ))
                await asyncio.gather(*changes)
            self.number = number
        return core


@pytest.mark.parametrize("seed", range(30))
def test_each_task_is_answered_once_by_the_version_that_took_it(seed):
    async def main():
        world = World(seed)
        core = await world.play()
        assert sorted(world.told) == list(range(world.number))
        for version, task in world.told.values():
            assert version == (task.arrived_ms >= world.switched_ms), "taken by the version that was there"
            if task.answered:
                right, _ = label(task.arrival.sample, task.answered_partition, task.answered_exit)
                assert task.class_index == (right + 7 * version) % CLASSES
        last = [task for _, task in sorted(world.told.values(), key=lambda told: told[1].number)[-40:]]
        assert sum(task.wire_bytes > 0 and task.outcome is Outcome.ON_TIME for task in last) > 10, "the edge is used"
        assert [served.package for served in core.services.all] == world.packages
        await asyncio.sleep(LINGERS_MS / 1000.0)
        core.let_go()
        assert core.services.all[0].package is world.packages[1] and len(core.services.all) == 1

    run_virtual(main())
