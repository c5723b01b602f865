"""An edge whose workers are replicas on Ray Serve: its core, and how their numbers are kept the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hasten.core import signals
from hasten.core.edge_order import ServiceOrder
from hasten.core.profile import Profile
from hasten.runtime.clock import SystemClock
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.ray_serve.application import Application
from hasten.runtime.edge.ray_serve.remote import RemoteServed
from hasten.runtime.edge.ray_serve.scaling import ReplicaTarget
from hasten.runtime.edge.served import Served
from hasten.runtime.edge.workers import WorkerThreads
from hasten.runtime.notes import Notes
from hasten.split.package import Package

COUNT_EVERY_S = 0.5
"""Replicas are counted, and asked for, so often."""


class Replicated:
    """Makes the core of one edge, and follows its replicas.

    Args:
        application: its replicas.
        slowdown: the edge plays a machine so many times slower.
        profile: replaces that of every package.
        notes: told when replicas come and go.
    """

    def __init__(self, application: Application, slowdown: float, profile: Profile | None, notes: Notes) -> None:
        self._application, self._allowed, self._notes = application, application.allowed, notes
        self._slowdown, self._profile = slowdown, profile
        self._target = ReplicaTarget(self._allowed)
        self._told = self._asked = self._allowed.fewest

    async def core(self, address: str, packages: Sequence[Package], order: ServiceOrder) -> EdgeCore:
        """Connect to the cluster at ``address``; the replicas are there once the core has started.

        One thread for each replica that there may be waits for its answers.

        Raises:
            InputError: the cluster is not reached.
        """
        await asyncio.to_thread(self._application.connect, address)
        signals.renew()  # Ray's print a trace before ours are called
        clock, threads = SystemClock(asyncio.get_running_loop()), WorkerThreads(self._allowed.most)
        served = [self.served(package) for package in packages]
        core = EdgeCore(served, threads, clock, order=order, notes=self._notes)
        core.resize(self._allowed.fewest)
        return core

    def served(self, package: Package, memory_bytes: int = 0) -> Served:
        """A package that is to be served, too; replicas share out their memory themselves."""
        return RemoteServed(package, self._application, self._slowdown, self._profile)

    async def keep(self, core: EdgeCore) -> None:
        """Have the core run as many tasks as there are replicas, and ask for those that are wanted; until cancelled."""
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            try:
                running = await asyncio.to_thread(self._application.count)
                core.resize(min(max(running, 1), self._allowed.most))
                if running != self._told:
                    self._told = running
                    self._notes.tell("replicas", f"edge: {running} replicas")
                backlog_ms = sum(core.report().backlog_ms)
                wanted = self._target.wanted(core.clock.now_ms(), core.counts.offered_ms, backlog_ms)
                if wanted != self._asked:
                    self._application.want(wanted)
                    self._asked = wanted
            except Exception as error:  # the cluster is not heard: its replicas may run on
                self._notes.tell("replicas", f"edge: Ray Serve is not heard: {type(error).__name__}: {error}")

    async def close(self) -> None:
        """Delete the replicas."""
        await asyncio.to_thread(self._application.close)
