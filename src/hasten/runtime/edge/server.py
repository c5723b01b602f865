"""The edge node's server: TCP (or TLS) connections around an :class:`~hasten.runtime.edge.core.EdgeCore`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from hasten.core.edge_order import ServiceOrder, earliest_deadline
from hasten.core.errors import InputError
from hasten.core.profile import Profile
from hasten.runtime.clock import SystemClock
from hasten.runtime.edge.connection import EdgeConnection
from hasten.runtime.edge.connections import ConnectionLimits, Connections, Guest
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.listening import Acceptor, listen
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.served import EdgeRunner, Served
from hasten.runtime.edge.tokens import Tokens, digest_of
from hasten.runtime.edge.workers import WorkerThreads
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code
from hasten.split.executor import DEFAULT_MEMORY_BYTES, Executor
from hasten.split.package import Package

CHECK_EVERY_MS = 500.0
"""Silent connections are looked for so often."""
DRAIN_S, LAST_WORDS_S = 0.5, 0.2
"""An edge that ends waits so long for what runs, then so long for its answers to leave."""


@dataclass(frozen=True)
class EdgeAccess:
    """Who may come to an edge, and how much each may ask of it.

    Attributes:
        tokens: whom the edge lets in.
        tls: how it speaks TLS; None: it does not.
        limits: of connections.
        quota: of each device.
    """

    tokens: Tokens = field(default_factory=Tokens)
    tls: ssl.SSLContext | None = None
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    quota: Quota = field(default_factory=Quota)


class EdgeServer:
    """A listening edge node; :func:`start_edge` makes it.

    Attributes:
        host: where it listens.
        port: likewise.
        core: what it serves.
        connections: who is connected.
        quota: of each device, or whoever else asks.
        closed: whether it ends, or has ended.
    """

    def __init__(self, core: EdgeCore, host: str, port: int, access: EdgeAccess) -> None:
        listening = listen(host, port)
        self.host, self.port = host, int(listening[0].getsockname()[1])
        self.core = core
        self.connections = Connections(access.limits, core.clock, core.notes)
        self.closed = False
        self._tokens, self.quota, tls = access.tokens, access.quota, access.tls
        self._acceptors = [Acceptor(sock, self.connections, self._connection, tls, core.notes) for sock in listening]
        self._check()

    def _connection(self, guest: Guest) -> EdgeConnection:
        return EdgeConnection(self.core, self.connections, guest, self._tokens, self.quota)

    def admits(self, token: str) -> bool:
        """Whether a token is accepted here; from any thread."""
        known = self._tokens.name_of(digest_of(token.encode())) is not None
        if not known:
            self.connections.ended[Code.TOKEN.name.lower()] += 1
        return known

    def _check(self) -> None:
        if not self.closed:
            self.core.clock.call_at(self.core.clock.now_ms() + CHECK_EVERY_MS, self._check)
            self.connections.check()
            self.core.check()
            if self._tokens.refresh(partial(self.core.notes.tell, "tokens")):
                self.connections.check_tokens(lambda token: self._tokens.name_of(token) is not None)

    async def close(self) -> None:
        """Stop listening, answer what runs, refuse what waits, close connections, end the workers."""
        self.closed = True
        for acceptor in self._acceptors:
            await acceptor.close()
        loop, idle = asyncio.get_running_loop(), asyncio.Event()

        def when_idle() -> None:
            loop.call_soon_threadsafe(idle.set)

        self.core.drain("the edge is about to end", when_idle)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await idle.wait()
        for guest in self.connections.everybody():
            self.connections.end(guest, Code.CLOSING, "the edge ends")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while self.connections.everybody():
                    await asyncio.sleep(0.005)
        await asyncio.to_thread(self.core.close, 0.0 if not idle.is_set() else DRAIN_S)
        await asyncio.to_thread(self.core.clock.close)


def real_core(
    packages: Sequence[Package],
    workers: int = 1,
    slowdown: float = 1.0,
    profiles: Sequence[Profile] | None = None,
    runners: Sequence[EdgeRunner] | None = None,
    notes: Notes | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    order: ServiceOrder = earliest_deadline,
) -> EdgeCore:
    """An edge's core on this machine's clock and threads; to be made in a running event loop.

    Args:
        packages: what is served.
        workers: how many tasks run at a time, each on one thread.
        slowdown: this edge plays a machine so many times slower.
        profiles: replace the packages' own, one per package.
        runners: replace what executes segments, one per package.
        notes: told what an operator should know; by default nobody is.
        memory_bytes: limit for the segments that are kept ready, shared evenly by the packages.
        order: of service; by default earliest deadline first.

    Raises:
        InputError: a number is out of range, or a profile is of another network.
    """
    times = profiles if profiles is not None else [package.profile for package in packages]
    share = memory_bytes // max(len(packages), 1)
    run = runners or [Executor(package, memory_bytes=share, role="edge") for package in packages]
    served = [
        Served(package, runner, slowdown, profile)
        for package, runner, profile in zip(packages, run, times, strict=True)
    ]
    threads = WorkerThreads(workers)
    return EdgeCore(served, threads, SystemClock(asyncio.get_running_loop()), order=order, notes=notes)


async def start_edge(
    core: EdgeCore, host: str = "127.0.0.1", port: int = 0, access: EdgeAccess | None = None
) -> EdgeServer:
    """Start serving ``core``; port 0 takes a free one. A port in use is an :class:`InputError`."""
    await asyncio.to_thread(core.start)
    try:
        return EdgeServer(core, host, port, access or EdgeAccess())
    except InputError:
        await asyncio.to_thread(core.close)
        await asyncio.to_thread(core.clock.close)
        raise
