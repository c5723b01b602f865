"""From what somebody says of a device to an agent that is ready for its first frame."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hasten.core.arrivals import Arrivals
from hasten.core.decision import Scheduler, can_choose_edge
from hasten.core.errors import InputError
from hasten.core.profile import Profile, read_profile
from hasten.runtime.device.address import parse_addresses
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.compute import Compute
from hasten.runtime.device.contacts import Connect
from hasten.runtime.device.dialing import Dialer, NetworkDialer, StandbyDialer
from hasten.runtime.device.events import EdgeListener
from hasten.runtime.device.machine import Machine, real_machine
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.tls import client_tls
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.same_network import require_fit
from hasten.runtime.sockets import MAX_TOKEN_BYTES
from hasten.runtime.wire.handshake import Hello
from hasten.schedulers import make_scheduler
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor
from hasten.split.package import Package, open_package

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

DEFAULT_DEADLINE_MS, DEFAULT_RATE_HZ = 100.0, 10.0


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """What a device is to be.

    Attributes:
        edge: ``HOST:PORT``, several with commas to choose from for each task, or None to work alone.
        scheduler: a name, or an object that serves this device only.
        deadline_ms: of a task, from its arrival.
        rate_hz: tasks a second as expected, for schedulers that plan with it.
        arrivals: the process that they arrive by, where it is known.
        token: the edge's.
        tls_ca: turns TLS on and names whom to trust.
        tls_cert: certificate (PEM) that the device shows to an edge that asks for one; with
        tls_key: its private key.
        profile: a file with measured times that replace the package's own.
        slowdown: this device plays a machine so many times slower.
        memory_mb: limit for what the segments need that are kept ready; what the scheduler may use comes first.
        seed: for schedulers that draw.
        outputs: have the edge send a classifier's logits, too; other outputs it always sends.
        otel: where traces of tasks go: an OTLP endpoint, or a tracer provider of OpenTelemetry.
        max_accuracy_loss: tasks may stop at an exit that they pass, if the package was built for at most such a loss.
    """

    edge: str | None = None
    scheduler: str | Scheduler = "greedy"
    deadline_ms: float = DEFAULT_DEADLINE_MS
    rate_hz: float = DEFAULT_RATE_HZ
    arrivals: Arrivals | None = None
    token: str = field(default="", repr=False)
    tls_ca: str | Path | None = None
    tls_cert: str | Path | None = None
    tls_key: str | Path | None = None
    profile: str | Path | None = None
    slowdown: float = 1.0
    memory_mb: int = DEFAULT_MEMORY_BYTES >> 20
    seed: int = 0
    outputs: bool = False
    otel: str | TracerProvider | None = None
    max_accuracy_loss: float | None = None


class PreparedDevice:
    """A plan that has been checked, with all that can be had without an event loop.

    Attributes:
        package: what runs.
        times: its profile, or the one that replaces it; with early stops where they are asked for.
    """

    def __init__(self, package: str | Path | Package, plan: DevicePlan) -> None:
        """Open and check everything.

        Raises:
            InputError: something given cannot be used. An edge that is not there is no error.
        """
        self.package = package if isinstance(package, Package) else open_package(package)
        times = read_profile(Path(plan.profile)) if plan.profile else self.package.profile
        self.times: Profile = times.stopping(plan.max_accuracy_loss)
        require_fit(self.times, self.package)
        if not 0 < plan.rate_hz < math.inf:
            raise InputError("device", "rate_hz", plan.rate_hz, "a number above 0")
        if len(plan.token.encode()) > MAX_TOKEN_BYTES:
            raise InputError("device", "token", f"{len(plan.token)} characters", f"at most {MAX_TOKEN_BYTES} bytes")
        self._settings = AgentSettings(
            plan.deadline_ms,
            plan.rate_hz,
            plan.slowdown,
            seed=plan.seed,
            arrivals=plan.arrivals,
            wants_outputs=plan.outputs,
        )
        self._addresses = parse_addresses(plan.edge) if plan.edge is not None else []
        self._tls = _tls(plan)
        self._hello = Hello(bytes.fromhex(self.package.digest), plan.token.encode(), self.package.manifest.name)
        named = isinstance(plan.scheduler, str)
        self._scheduler = make_scheduler(plan.scheduler) if isinstance(plan.scheduler, str) else plan.scheduler
        if not named and not isinstance(self._scheduler, Scheduler):
            expected = "a name such as 'greedy', or an object with name, reset and decide"
            raise InputError("device", "scheduler", plan.scheduler, expected)
        stops = self.times.confidence is not None
        self._executor = Executor(self.package, memory_bytes=plan.memory_mb << 20, role="device", stops=stops)

    @asynccontextmanager
    async def agent(
        self,
        on_note: Callable[[str], None],
        on_edge: EdgeListener | None = None,
        compute: Compute | None = None,
    ) -> AsyncIterator[DeviceAgent]:
        """An agent in the running event loop, connected, its segments ready; closed at the end.

        Args:
            on_note: told in words what an operator should know.
            on_edge: told when the edge comes, goes or cannot be reached.
            compute: a processor that serves other agents, too; by default one of its own.
        """
        machine = real_machine(compute=compute)
        try:
            # Beside the loop, in which other devices may be at work: a scheduler may need long to plan.
            agent = await asyncio.to_thread(self._make, machine, on_note, on_edge)
            await asyncio.to_thread(self._executor.warm, agent.usable())
        except BaseException:
            await machine.close()
            raise
        try:
            if shortfall := self._executor.shortfall():
                on_note(shortfall)
            if len(self._addresses) > 1 and not self._chooses:
                name = self._scheduler.name
                on_note(f"scheduler {name} knows one edge: one is used at a time, the next when it is lost")
            await agent.prepare()
            yield agent
        finally:
            await agent.close()

    def _make(self, machine: Machine, on_note: Callable[[str], None], on_edge: EdgeListener | None) -> DeviceAgent:
        agent = DeviceAgent(
            self.package,
            self._executor,
            self._scheduler,
            self._settings,
            self._connects(),
            self.times,
            on_note,
            machine,
        )
        if on_edge is not None:
            agent.listen(on_edge)
        return agent

    @property
    def _chooses(self) -> bool:
        return can_choose_edge(self._scheduler)

    def _connects(self) -> list[Connect]:
        """Of each edge that tasks may be sent to; a scheduler that knows one is given them as if they were one."""
        dialers: list[Dialer] = [NetworkDialer(host, port, self._tls) for host, port in self._addresses]
        if len(dialers) > 1 and not self._chooses:
            dialers = [StandbyDialer(dialers)]
        return [partial(Uplink, dialer, self._hello) for dialer in dialers]


def _tls(plan: DevicePlan) -> ssl.SSLContext | None:
    authority, certificate, key = (Path(it) if it else None for it in (plan.tls_ca, plan.tls_cert, plan.tls_key))
    if authority is not None:
        return client_tls(authority, certificate, key)
    if certificate is not None or key is not None:
        raise InputError("device", "tls_ca", None, "whom to trust, where a certificate is shown")
    return None
