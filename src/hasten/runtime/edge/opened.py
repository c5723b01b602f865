"""From what somebody says of an edge to one that listens; for ``hasten edge`` and for other programs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hasten.core.errors import InputError
from hasten.core.profile import read_profile
from hasten.runtime.edge.connections import ConnectionLimits, fitting
from hasten.runtime.edge.doors import EdgeDoors
from hasten.runtime.edge.listening import free_descriptors
from hasten.runtime.edge.queue import QUEUES
from hasten.runtime.edge.server import EdgeServer, real_core, server_tls, start_edge
from hasten.runtime.notes import Notes
from hasten.split.executor import DEFAULT_MEMORY_BYTES
from hasten.split.package import Package, open_package


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """What an edge is to be.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        workers: tasks executed at once.
        slowdown: this edge plays a machine so many times slower.
        profile: a file with measured times, for the forecast of the backlog.
        token: devices must know it.
        tls_cert: certificate chain (PEM); with
        tls_key: its private key, it turns TLS on.
        max_devices: connected at a time; half of them from one address.
        memory_mb: limit for the segments that are kept ready.
        queue: the order of service, ``deadline`` (earliest first) or ``fifo``.
        metrics: ``[HOST:]PORT`` where Prometheus finds its counters.
    """

    host: str = "127.0.0.1"
    port: int = 7700
    workers: int = 1
    slowdown: float = 1.0
    profile: str | Path | None = None
    token: str = field(default="", repr=False)
    tls_cert: str | Path | None = None
    tls_key: str | Path | None = None
    max_devices: int = ConnectionLimits.devices
    memory_mb: int = DEFAULT_MEMORY_BYTES >> 20
    queue: str = "deadline"
    metrics: str | None = None


class OpenedEdge:
    """A plan that has been checked, and the server once it was started.

    Attributes:
        packages: what is served.
        server: the server, once it has started.
    """

    def __init__(self, packages: Sequence[str | Path | Package], plan: EdgePlan, notes: Notes) -> None:
        """Open and check everything.

        Raises:
            InputError: a package is not intact, or a file does not fit.
        """
        if plan.queue not in QUEUES:
            raise InputError("edge", "queue", plan.queue, " or ".join(QUEUES))
        cert, key = plan.tls_cert, plan.tls_key
        if (cert is None) != (key is None):
            raise InputError("edge", "tls", str(cert or key), "a certificate and a key, or neither")
        self._tls = server_tls(Path(cert), Path(key)) if cert and key else None
        if isinstance(packages, str | Path | Package) or not packages:
            raise InputError("edge", "packages", packages, "a list of packages")
        self.packages = [given if isinstance(given, Package) else open_package(given) for given in packages]
        self._times = read_profile(Path(plan.profile)) if plan.profile else None
        self._plan, self._notes = plan, notes
        self._doors = EdgeDoors(plan.metrics)
        self.server: EdgeServer

    async def start(self) -> EdgeServer:
        """Listen, in the running event loop.

        Raises:
            InputError: a number is out of range, or the port is taken.
        """
        plan, notes = self._plan, self._notes
        profiles = [self._times] * len(self.packages) if self._times else None
        core = real_core(
            self.packages,
            plan.workers,
            plan.slowdown,
            profiles,
            notes=notes,
            memory_bytes=plan.memory_mb << 20,
            order=QUEUES[plan.queue],
        )
        limits = fitting(plan.max_devices, free_descriptors(plan.max_devices + 2 * ConnectionLimits.strangers))
        self.server = await start_edge(core, plan.host, plan.port, plan.token, self._tls, limits)
        for shortfall in core.shortfalls():
            notes.tell("memory", shortfall)
        if limits.devices < plan.max_devices:
            notes.tell("limits", f"edge: takes {limits.devices} devices: there are no more file descriptors")
        try:
            await asyncio.to_thread(self._doors.open, self.server)
        except BaseException:
            await self.server.close()
            raise
        return self.server

    @property
    def addresses(self) -> dict[str, str]:
        """Where else it can be asked, by name."""
        return self._doors.addresses

    async def close(self) -> None:
        """Answer what runs, refuse what waits, end."""
        await asyncio.to_thread(self._doors.close)
        await self.server.close()
