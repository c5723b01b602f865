"""The edge node's server: TCP (or TLS) connections around an :class:`~hasten.runtime.edge_core.EdgeCore`.

One connection per device. A broken frame ends the connection it came on, with a word why; a task that cannot be done
is refused and the connection goes on. Other connections notice neither.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError
from hasten.core.profile import read_profile
from hasten.runtime.edge_core import EdgeCore, Refusal, Served, Ticket
from hasten.runtime.pace import now_ms
from hasten.runtime.sockets import prepare_socket, read_token, run_loop
from hasten.runtime.wire import (
    EDGE_BEFORE_HELLO,
    Answer,
    Code,
    Frame,
    FrameParser,
    Kind,
    Welcome,
    WireError,
    answer_frame,
    edge_limits,
    parse_hello,
    parse_submit,
    pong_frame,
    refuse_frame,
    submit_body_bytes,
    welcome_frame,
)
from hasten.split.executor import DEFAULT_MEMORY_BYTES
from hasten.split.package import open_package

MAX_UNSENT_BYTES = 1 << 20
"""A device that does not read its answers is cut off when so many bytes wait for it."""


class EdgeConnection(asyncio.BufferedProtocol):
    """One device's connection."""

    def __init__(self, core: EdgeCore, token: str, open_connections: set[EdgeConnection]) -> None:
        self._core = core
        self._token = token.encode()
        self._open = open_connections
        self._parser = FrameParser(EDGE_BEFORE_HELLO)
        self._served: Served | None = None
        self._tickets: dict[int, Ticket] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport
        prepare_socket(transport.get_extra_info("socket"))
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the queue: nobody waits for these answers any more."""
        self._open.discard(self)
        for ticket in self._tickets.values():
            ticket.abandoned = True
        self._tickets.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where received bytes go."""
        return self._parser.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the frames that are complete."""
        try:
            for frame in self._parser.received(nbytes):
                self._handle(frame)
        except WireError as error:
            self._close_with(0, error.code, str(error))

    def close(self) -> None:
        """Close after what is already written."""
        self._transport.close()

    def _handle(self, frame: Frame) -> None:
        if frame.kind is Kind.SUBMIT:
            self._submit(frame)
        elif frame.kind is Kind.PING:
            self._write(pong_frame(frame.task, now_ms(), self._core.report()))
        else:
            self._welcome(frame)

    def _welcome(self, frame: Frame) -> None:
        hello = parse_hello(frame.body)
        if not hmac.compare_digest(hello.token, self._token):
            self._close_with(0, Code.TOKEN, "HELLO: got another token than this edge's, expected the shared one")
            return
        served = self._core.served(hello.digest)
        if served is None:
            text = f"HELLO: got package {hello.digest.hex()[:16]}..., expected one of the packages served here"
            self._close_with(0, Code.PACKAGE, text)
            return
        self._served = served
        self._parser.limits = edge_limits(submit_body_bytes((), served.max_submit_bytes))
        self._write(welcome_frame(Welcome(now_ms(), self._core.slowdown, self._core.workers)))

    def _submit(self, frame: Frame) -> None:
        assert self._served is not None  # SUBMIT is not among the kinds accepted before HELLO
        task = frame.task
        try:
            submit = parse_submit(frame.body)
            ticket = self._core.submit(
                self._served, submit.cut, submit.exit, submit.rest, submit.latest_ms, self._replier(task)
            )
        except WireError as error:
            self._write(refuse_frame(task, error.code, str(error)))
        else:
            self._tickets[task] = ticket

    def _replier(self, task: int) -> Callable[[Answer | Refusal], None]:
        def reply(outcome: Answer | Refusal) -> None:
            try:
                self._loop.call_soon_threadsafe(self._answer, task, outcome)
            except RuntimeError:
                return  # the server has closed

        return reply

    def _answer(self, task: int, outcome: Answer | Refusal) -> None:
        ticket = self._tickets.pop(task, None)
        if ticket is None:
            return  # the device has gone
        if isinstance(outcome, Refusal):
            self._write(refuse_frame(task, outcome.code, outcome.text))
            return
        # What is neither decoding nor computing was waiting, the way back from the worker included: so all that the
        # device sees beyond these times is the network's.
        outcome.clock_ms = now_ms()
        here_us = int((outcome.clock_ms - ticket.arrived_ms) * 1000.0)
        outcome.queue_us = max(here_us - outcome.compute_us - outcome.decode_us, 0)
        self._write(answer_frame(task, outcome))

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._transport.abort()

    def _close_with(self, task: int, code: Code, text: str) -> None:
        self._write(refuse_frame(task, code, text))
        self._transport.close()


@dataclass(frozen=True)
class EdgeServer:
    """A listening edge node."""

    host: str
    port: int
    core: EdgeCore
    _server: asyncio.Server
    _connections: set[EdgeConnection]

    async def close(self) -> None:
        """Stop listening, close connections, end the workers."""
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.to_thread(self.core.close)


async def start_edge(
    core: EdgeCore, host: str = "127.0.0.1", port: int = 0, token: str = "", tls: ssl.SSLContext | None = None
) -> EdgeServer:
    """Start serving ``core``; port 0 takes a free one. A port in use is an :class:`InputError`."""
    loop = asyncio.get_running_loop()
    connections: set[EdgeConnection] = set()
    await asyncio.to_thread(core.start)
    try:
        server = await loop.create_server(lambda: EdgeConnection(core, token, connections), host, port, ssl=tls)
    except OSError as error:
        await asyncio.to_thread(core.close)
        raise InputError("edge", "port", port, f"a free port on {host} ({_reason(error)})") from None
    bound = server.sockets[0].getsockname()[1]
    return EdgeServer(host, bound, core, server, connections)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A TLS context for the edge from PEM files; :class:`InputError` when they cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(certificate, "certificate", str(key), f"a PEM certificate and its key ({error})") from None
    return context


def serve_edge(
    packages: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 7700,
    workers: int = 1,
    slowdown: float = 1.0,
    profile: Path | None = None,
    token_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    memory_mb: int = DEFAULT_MEMORY_BYTES >> 20,
) -> None:
    """Serve packages until interrupted: ``hasten edge``. Prints one line when it listens.

    Raises:
        InputError: a package is not intact, a number is out of range, the port is taken, or a file does not fit.
    """
    if (tls_cert is None) != (tls_key is None):
        raise InputError("edge", "tls", str(tls_cert or tls_key), "a certificate and a key, or neither")
    tls = server_tls(tls_cert, tls_key) if tls_cert and tls_key else None
    opened = [open_package(path) for path in packages]
    times = read_profile(profile) if profile else None
    core = EdgeCore(opened, workers, slowdown, [times] * len(opened) if times else None, memory_bytes=memory_mb << 20)
    token = read_token(token_file)

    async def serve() -> None:
        server = await start_edge(core, host, port, token, tls)
        for shortfall in core.shortfalls():
            print(shortfall, file=sys.stderr, flush=True)
        names = ", ".join(package.manifest.name for package in opened)
        print(f"edge serves {names} on {server.host}:{server.port}", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    run_loop(serve())
