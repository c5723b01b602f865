"""The device's connection to an edge: connect, introduce, send, receive, and connect again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any, Protocol

from hasten.runtime.device.dialing import Dialer, reason
from hasten.runtime.pace import now_ms
from hasten.runtime.wire.frames import Frame, FrameParser, Kind, WireError, sealed
from hasten.runtime.wire.handshake import Hello, Refuse, Welcome, hello_frame, parse_refuse, parse_welcome
from hasten.runtime.wire.load import LoadReport, parse_pong, ping_frame
from hasten.runtime.wire.tasks import DEVICE_LIMITS, EdgeAnswer, parse_answer

WELCOME_S = 10.0
"""After HELLO the edge answers within so long."""
START_S = 3.0
"""So long the first connection is waited for before the first task; it may come later."""
COPY_BELOW_BYTES = 16 * 1024
"""Copying less than this into one piece is faster than writing two."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.1, 2.0
STEADY_S = 5.0
"""A connection that lasted so long was a good one: the next is tried soon after it breaks."""
TLS_RECORDS = (0x14, 0x15, 0x16)


class UplinkUser(Protocol):
    """Who is told what comes from the edge; all calls are made in the event loop."""

    def edge_connected(self, welcome: Welcome) -> None:
        """The edge has accepted this device."""

    def edge_lost(self, reason: str) -> None:
        """The connection, accepted before, is gone."""

    def edge_unreachable(self, reason: str) -> None:
        """An attempt to connect failed, for another reason than the one before."""

    def edge_answered(self, task: int, answer: EdgeAnswer) -> None:
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
        limits: kinds of frames that are accepted, and the largest body of each.
    """

    def __init__(
        self,
        dialer: Dialer,
        hello: Hello,
        user: UplinkUser,
        clock_ms: Callable[[], float] = now_ms,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.connected = False
        self.heard_ms = 0.0
        self.trouble = "not connected yet"
        self.limits = DEVICE_LIMITS
        self._hello, self._user = hello, user
        self._dialer = dialer
        self._clock_ms, self._chance = clock_ms, chance
        self._transport: Any = None
        self._settled = asyncio.Event()
        self._gone = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def where(self) -> str:
        """The edge that was dialled last."""
        return self._dialer.where

    async def start(self) -> bool:
        """Begin to keep a connection; return whether the first attempt succeeded, or False if it takes long."""
        self._keeper = asyncio.create_task(self._keep())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
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
        if not self._dialer.encrypted:  # TLS has checksums of its own
            head = sealed(head, payload)
        if len(payload) < COPY_BELOW_BYTES:
            self._transport.write(head + payload)
        else:
            self._transport.writelines((head, payload))

    def ping(self, sequence: int, padding_bytes: int) -> None:
        """Send a ping."""
        self.send(ping_frame(sequence, padding_bytes))

    def give_up(self, reason: str) -> None:
        """Break the present connection; a new one is tried soon."""
        self._lost(reason)
        if self._transport:
            self._transport.abort()

    async def _keep(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            self._gone.clear()
            try:
                await self._connect()
            except (OSError, TimeoutError, ValueError) as error:
                if self._transport:
                    self._transport.abort()
                self._troubled(reason(error))
            self._settled.set()
            if self.connected:
                since_s = loop.time()
                await self._gone.wait()
                if loop.time() - since_s > STEADY_S:
                    backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(backoff_s * (0.5 + self._chance()))  # not in step with all others that lost it
            backoff_s = min(2.0 * backoff_s, LAST_BACKOFF_S)

    async def _connect(self) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = None
        self._transport = await self._dialer.dial(lambda: _Connection(self, answered))
        self.send(hello_frame(self._hello))
        async with asyncio.timeout(WELCOME_S):
            await answered

    def _troubled(self, why: str) -> None:
        if why != self.trouble:
            self.trouble = why
            self._user.edge_unreachable(why)

    def _handle(self, frame: Frame, answered: asyncio.Future[None]) -> None:
        self.heard_ms = self._clock_ms()
        if frame.kind is Kind.ANSWER:
            self._user.edge_answered(frame.task, parse_answer(frame.body, frame.retry_ms))
        elif frame.kind is Kind.PONG:
            self._user.edge_ponged(frame.task, *parse_pong(frame.body))
        elif frame.kind is Kind.WELCOME:
            welcome = parse_welcome(frame.body)
            if not answered.done():
                self.connected, self.trouble = True, ""
                answered.set_result(None)
                self._user.edge_connected(welcome)
        else:
            refuse = parse_refuse(frame.body, frame.retry_ms)
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
        self._parser = FrameParser(uplink.limits)
        self._transport: asyncio.BaseTransport | None = None
        self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._parser.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        if not self._heard and self._parser.buffer()[0] in TLS_RECORDS:
            self._heard = True
            self._end("the edge speaks TLS, and this device was not told to")
            return
        self._heard = True
        try:
            for frame in self._parser.received(nbytes):
                self._uplink._handle(frame, self._answered)
        except WireError as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._end(reason(exc))
        elif self._heard:
            self._end("the edge closed the connection")
        elif not self._uplink._dialer.encrypted:
            self._end("the edge closed the connection without a word (as one that expects TLS does)")
        else:
            self._end("the edge closed the connection without a word (as one that wants a certificate of this device)")

    def _end(self, reason: str) -> None:
        if not self._answered.done():
            self._answered.set_exception(ConnectionError(reason))
        elif self._uplink._transport is self._transport:
            self._uplink.give_up(reason)
