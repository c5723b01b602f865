"""The device's connection to an edge: connect, introduce, send, receive, and connect again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any, Protocol

from hasten.core.errors import InputError
from hasten.runtime.pace import now_ms
from hasten.runtime.sockets import prepare_socket
from hasten.runtime.wire import (
    DEVICE_LIMITS,
    Answer,
    Frame,
    FrameParser,
    Hello,
    Kind,
    LoadReport,
    Refuse,
    Welcome,
    WireError,
    hello_frame,
    parse_answer,
    parse_pong,
    parse_refuse,
    parse_welcome,
    ping_frame,
)

CONNECT_TIMEOUT_S = 2.0
COPY_BELOW_BYTES = 16 * 1024
"""Copying less than this into one piece is faster than writing two."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.1, 2.0


class UplinkUser(Protocol):
    """Who is told what comes from the edge; all calls are made in the event loop."""

    def edge_connected(self, welcome: Welcome) -> None:
        """The edge has accepted this device."""

    def edge_lost(self, reason: str) -> None:
        """The connection, accepted before, is gone."""

    def edge_answered(self, task: int, answer: Answer) -> None:
        """An answer."""

    def edge_refused(self, task: int, refuse: Refuse) -> None:
        """A task was refused."""

    def edge_ponged(self, sequence: int, clock_ms: float, report: LoadReport) -> None:
        """The answer to a ping."""


class Uplink:
    """Keeps one connection to the edge open.

    Attributes:
        connected: whether the edge has welcomed this device on the present connection.
        heard_ms: when anything last came from the edge.
        trouble: why there is no connection, in words; empty while there is one.
    """

    def __init__(self, host: str, port: int, hello: Hello, tls: ssl.SSLContext | None, user: UplinkUser) -> None:
        self.connected = False
        self.heard_ms = 0.0
        self.trouble = "not connected yet"
        self._host, self._port, self._hello, self._tls, self._user = host, port, hello, tls, user
        self._transport: Any = None
        self._settled = asyncio.Event()
        self._gone = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Begin to keep a connection; return whether the first attempt succeeded."""
        self._keeper = asyncio.create_task(self._keep())
        await self._settled.wait()
        return self.connected

    async def close(self) -> None:
        """Close for good."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self.connected = False
        if self._transport:
            self._transport.abort()

    def send(self, head: bytes, payload: bytes = b"") -> None:
        """Write a frame; the caller has checked ``connected``."""
        if len(payload) < COPY_BELOW_BYTES:
            self._transport.write(head + payload)
        else:
            self._transport.writelines((head, payload))

    def ping(self, sequence: int, padding_bytes: int) -> None:
        """Send a ping."""
        self._transport.write(ping_frame(sequence, padding_bytes))

    def give_up(self, reason: str) -> None:
        """Break the present connection; a new one is tried at once."""
        self._lost(reason)
        if self._transport:
            self._transport.abort()

    async def _keep(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            self._gone.clear()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connect()
            except (OSError, TimeoutError) as error:
                self.trouble = str(error) or "no answer"
                if self._transport:
                    self._transport.abort()
            self._settled.set()
            if self.connected:
                backoff_s = FIRST_BACKOFF_S
                await self._gone.wait()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2.0 * backoff_s, LAST_BACKOFF_S)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        hostname = self._host if self._tls else None
        self._transport, _ = await loop.create_connection(
            lambda: _Connection(self, answered), self._host, self._port, ssl=self._tls, server_hostname=hostname
        )
        prepare_socket(self._transport.get_extra_info("socket"))
        self._transport.write(hello_frame(self._hello))
        await answered

    def _handle(self, frame: Frame, answered: asyncio.Future[None]) -> None:
        self.heard_ms = now_ms()
        if frame.kind is Kind.ANSWER:
            self._user.edge_answered(frame.task, parse_answer(frame.body))
        elif frame.kind is Kind.PONG:
            self._user.edge_ponged(frame.task, *parse_pong(frame.body))
        elif frame.kind is Kind.WELCOME:
            welcome = parse_welcome(frame.body)
            self.connected, self.trouble = True, ""
            if not answered.done():
                answered.set_result(None)
            self._user.edge_connected(welcome)
        else:
            refuse = parse_refuse(frame.body)
            if frame.task:
                self._user.edge_refused(frame.task, refuse)
            elif not answered.done():
                answered.set_exception(ConnectionError(refuse.text))
            else:
                self.give_up(refuse.text)

    def _lost(self, reason: str) -> None:
        was_connected, self.connected = self.connected, False
        if was_connected:
            self.trouble = reason
            self._gone.set()
            self._user.edge_lost(reason)


class _Connection(asyncio.BufferedProtocol):
    """One attempt's connection; tells its uplink only while it is the present one."""

    def __init__(self, uplink: Uplink, answered: asyncio.Future[None]) -> None:
        self._uplink = uplink
        self._answered = answered
        self._parser = FrameParser(DEVICE_LIMITS)
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._parser.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._parser.received(nbytes):
                self._uplink._handle(frame, self._answered)
        except WireError as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "the edge closed the connection")

    def _end(self, reason: str) -> None:
        if not self._answered.done():
            self._answered.set_exception(ConnectionError(reason))
        elif self._uplink._transport is self._transport:
            self._uplink.give_up(reason)


def client_tls(authority: Path | None) -> ssl.SSLContext:
    """A TLS context for devices that trusts ``authority`` (PEM), or the system's authorities."""
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise InputError(authority or "tls", "authority", str(authority), f"a PEM certificate ({error})") from None
