"""From what somebody says of an edge to one that listens; for ``hasten edge`` and for other programs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hasten.core.edge_order import QUEUES
from hasten.core.errors import InputError
from hasten.core.profile import read_profile
from hasten.runtime.edge.connections import ConnectionLimits, fitting
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.doors import EdgeDoors
from hasten.runtime.edge.health import HealthServer
from hasten.runtime.edge.listening import free_descriptors
from hasten.runtime.edge.packages import EdgePackages, Make, PackageFolder, executing
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.ray_serve.application import Application, application_name
from hasten.runtime.edge.ray_serve.replicated import Replicated
from hasten.runtime.edge.ray_serve.scaling import replica_range
from hasten.runtime.edge.server import EdgeAccess, EdgeServer, real_core, start_edge
from hasten.runtime.edge.tls import TlsFiles, own_certificate, server_tls
from hasten.runtime.edge.tokens import Tokens
from hasten.runtime.notes import Notes
from hasten.runtime.place import parse_place
from hasten.split.executor import DEFAULT_MEMORY_BYTES
from hasten.split.package import Package, open_package

CERTIFICATE_EVERY_S = 3600.0
"""The edge looks at its own certificate so often."""


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """What an edge is to be.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        workers: tasks executed at once.
        slowdown: this edge plays a machine so many times slower.
        profile: a file with measured times, for the forecast of the backlog.
        token: devices must know it; or
        token_file: a file that holds it, or a list of tokens (:func:`hasten.runtime.edge.tokens.read_tokens`), and may
            change.
        tls_cert: certificate chain (PEM); with
        tls_key: its private key, it turns TLS on.
        client_ca: devices must show a certificate that this authority (PEM) has signed.
        max_devices: connected at a time; half of them from one address.
        memory_mb: limit for the segments that are kept ready.
        queue: the order of service, ``deadline`` (earliest first) or ``fifo``.
        metrics: ``[HOST:]PORT`` where Prometheus finds its counters.
        quota_tasks: tasks that a device may have under way,
        quota_queue: of these, that may wait,
        quota_mb: and their payloads.
        health: ``[HOST:]PORT`` where it answers whether it lives and is ready.
        watch: a folder; the packages in it are served, too, as they come and go.
        oip: ``[HOST:]PORT`` where the Open Inference Protocol is spoken over HTTP, and over gRPC at the next.
        ray: tasks are executed by replicas on this Ray cluster instead of workers here: ``local``, which starts one,
            ``auto`` or ``HOST:PORT``.
        replicas: how many, ``MIN`` or ``MIN:MAX``; ``memory_mb`` is that of each.
    """

    host: str = "127.0.0.1"
    port: int = 7700
    workers: int = 1
    slowdown: float = 1.0
    profile: str | Path | None = None
    token: str = field(default="", repr=False)
    token_file: str | Path | None = None
    tls_cert: str | Path | None = None
    tls_key: str | Path | None = None
    client_ca: str | Path | None = None
    max_devices: int = ConnectionLimits.devices
    memory_mb: int = DEFAULT_MEMORY_BYTES >> 20
    queue: str = "deadline"
    metrics: str | None = None
    quota_tasks: int = Quota.tasks
    quota_queue: int = Quota.waiting
    quota_mb: int = Quota.size_bytes >> 20
    health: str | None = None
    watch: str | Path | None = None
    oip: str | None = None
    ray: str | None = None
    replicas: str = "1"


class OpenedEdge:
    """A plan that has been checked, and the server once it was started.

    Attributes:
        packages: what is served at the start.
        served: what is served from then on, and
        server: the server, once it has started.
        health: where it tells its health, if it does.
    """

    def __init__(self, packages: Sequence[str | Path | Package], plan: EdgePlan, notes: Notes) -> None:
        """Open and check everything.

        Raises:
            InputError: a package is not intact, or a file does not fit.
        """
        if plan.queue not in QUEUES:
            raise InputError("edge", "queue", plan.queue, " or ".join(QUEUES))
        self._tls = _tls(plan)
        self._certificate = Path(plan.tls_cert).read_text(encoding="ascii", errors="ignore") if plan.tls_cert else ""
        self._quota = Quota(plan.quota_tasks, plan.quota_queue, plan.quota_mb << 20)
        if plan.token and plan.token_file:
            raise InputError("edge", "token", "a token and a file", "one of them")
        self._tokens = Tokens(plan.token, Path(plan.token_file) if plan.token_file else None)
        self._health_place = parse_place(plan.health, "--health") if plan.health is not None else None
        self.health: HealthServer | None = None
        self._doors = EdgeDoors(plan.metrics, plan.oip, _tls_files(plan))
        self._application = _application(plan)
        self._replicated: Replicated | None = None
        if isinstance(packages, str | Path | Package) or not (packages or plan.watch):
            raise InputError("edge", "packages", packages, "a list of one package or more")
        self.packages = [given if isinstance(given, Package) else open_package(given) for given in packages]
        self._folder = PackageFolder(Path(plan.watch), notes) if plan.watch is not None else None
        if self._folder is not None:
            self.packages += self._folder.opened(self.packages)
        if not self.packages:
            raise InputError("edge", "watch", str(plan.watch), "a folder with an intact package to begin with")
        self._times = read_profile(Path(plan.profile)) if plan.profile else None
        self._plan, self._notes = plan, notes
        self.server: EdgeServer
        self.served: EdgePackages
        self._keeping: list[asyncio.Task[None]] = []
        self._next_look: asyncio.TimerHandle | None = None

    async def start(self) -> EdgeServer:
        """Listen, in the running event loop.

        Raises:
            InputError: a number is out of range, or the port is taken.
        """
        try:
            return await self._started()
        except BaseException:
            if self._replicated is not None:
                await self._replicated.close()
            raise

    async def _started(self) -> EdgeServer:
        plan, notes = self._plan, self._notes
        core, make = await self._core()
        limits = fitting(plan.max_devices, free_descriptors(plan.max_devices + 2 * ConnectionLimits.strangers))
        access = EdgeAccess(self._tokens, self._tls, limits, self._quota)
        self.server = await start_edge(core, plan.host, plan.port, access)
        self.served = EdgePackages(core, plan.memory_mb << 20, make, notes)
        for shortfall in core.services.shortfalls():
            notes.tell("memory", shortfall)
        if limits.devices < plan.max_devices:
            notes.tell("limits", f"edge: takes {limits.devices} devices: there are no more file descriptors")
        self._tell_certificate()
        try:
            if self._health_place is not None:
                self.health = await HealthServer.open(self._health_place, self.server)
            await asyncio.to_thread(self._doors.open, self.server)
        except BaseException:
            await self.close()
            raise
        self._keeping.append(asyncio.create_task(self.served.keep(self._folder)))
        if self._replicated is not None:
            self._keeping.append(asyncio.create_task(self._replicated.keep(core)))
        return self.server

    async def _core(self) -> tuple[EdgeCore, Make]:
        """What is served, and what makes of a package one that is served, too."""
        plan, order = self._plan, QUEUES[self._plan.queue]
        if plan.ray is not None and self._application is not None:
            self._replicated = Replicated(self._application, plan.slowdown, self._times, self._notes)
            return await self._replicated.core(plan.ray, self.packages, order), self._replicated.served
        profiles = [self._times] * len(self.packages) if self._times else None
        memory_bytes = plan.memory_mb << 20
        core = real_core(
            self.packages,
            plan.workers,
            plan.slowdown,
            profiles,
            notes=self._notes,
            memory_bytes=memory_bytes,
            order=order,
        )
        return core, executing(plan.slowdown, self._times)

    def _tell_certificate(self, before: str = "") -> None:
        """Tell what devices find of the edge's certificate, and again when that has changed: it may expire."""
        if self._plan.tls_cert is None or self._tls is None:
            return
        told = own_certificate(Path(self._plan.tls_cert), self._certificate, self._tls)
        if told != before:
            self._notes.tell("certificate", told)
        loop = asyncio.get_running_loop()
        self._next_look = loop.call_later(CERTIFICATE_EVERY_S, self._tell_certificate, told)

    @property
    def addresses(self) -> dict[str, str]:
        """Where else it can be asked, by name."""
        health = {"health": f"http://{self.health.place}/v2/health/ready"} if self.health is not None else {}
        return {**self._doors.addresses, **health}

    async def close(self) -> None:
        """Answer what runs, refuse what waits, end; its health can be asked for until then."""
        if self._next_look is not None:
            self._next_look.cancel()
        for keeping in self._keeping:
            keeping.cancel()
        doors = asyncio.create_task(asyncio.to_thread(self._doors.close))
        try:
            await self.server.close()
        finally:  # what fails to close must not keep the others open
            try:
                await doors
            finally:
                try:
                    if self._replicated is not None:
                        await self._replicated.close()
                finally:
                    if self.health is not None:
                        await self.health.close()


def _application(plan: EdgePlan) -> Application | None:
    if plan.ray is None:
        if plan.replicas != EdgePlan.replicas:
            raise InputError("edge", "replicas", plan.replicas, "a Ray cluster with it (ray)")
        return None
    if plan.workers != EdgePlan.workers:
        raise InputError("edge", "workers", plan.workers, "replicas in the place of workers with ray")
    return Application(application_name(plan.port), replica_range(plan.replicas), plan.memory_mb << 20)


def _tls(plan: EdgePlan) -> ssl.SSLContext | None:
    cert, key, files = plan.tls_cert, plan.tls_key, _tls_files(plan)
    if (cert is None) != (key is None):
        raise InputError("edge", "tls", str(cert or key), "a certificate and a key, or neither")
    if files is not None:
        return server_tls(files.certificate, files.key, files.client_ca)
    if plan.client_ca is not None:
        raise InputError("edge", "client-ca", str(plan.client_ca), "it with a certificate of the edge's own (tls-cert)")
    return None


def _tls_files(plan: EdgePlan) -> TlsFiles | None:
    if not (plan.tls_cert and plan.tls_key):
        return None
    return TlsFiles(Path(plan.tls_cert), Path(plan.tls_key), Path(plan.client_ca) if plan.client_ca else None)
