"""Making a connection to an edge: all addresses of a name, TLS, and what went wrong in words.

Addresses are tried one after the other without waiting long for each, in the manner of happy eyeballs (RFC 8305):
a next one starts when the one before has failed or a quarter of a second has passed, and the first that stands wins.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, Protocol

from hasten.runtime.certificates import OTHER_ADDRESS, OTHER_NAME, names_in
from hasten.runtime.device.tls import alert, distrust, looking
from hasten.runtime.sockets import prepare_socket

NEXT_ADDRESS_S = 0.25
TCP_S, TLS_S = 10.0, 15.0
"""What connecting and the TLS handshake may take: some round trips, also long ones, and a loss or two."""

Address = tuple[Any, Any, int, str, Any]
"""As ``getaddrinfo`` returns them."""
Attempt = Callable[[Address], Awaitable[socket.socket]]


class Dialer(Protocol):
    """Makes connections to an edge."""

    @property
    def encrypted(self) -> bool:
        """Whether what is sent is protected, and so has checksums of its own."""

    @property
    def where(self) -> str:
        """The edge that was dialled last, in words."""

    async def dial(self, make: Callable[[], asyncio.BufferedProtocol]) -> asyncio.Transport:
        """A connection, with TLS if that is asked for; an :class:`OSError` says why there is none."""


class NetworkDialer:
    """Dials over TCP."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self.encrypted, self.where = tls is not None, f"{host}:{port}"

    async def dial(self, make: Callable[[], asyncio.BufferedProtocol]) -> asyncio.Transport:
        """Resolve the name, connect to the first address that answers, and shake hands."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TCP_S):
                sock = await first_connected(await self._addresses())
        except TimeoutError:
            raise ConnectionError(f"no answer from {self._host}:{self._port}") from None
        prepare_socket(sock)
        hostname = self._host if self._tls else None
        limit_s = TLS_S if self._tls else None
        try:
            transport, _ = await loop.create_connection(
                make, sock=sock, ssl=self._tls, server_hostname=hostname, ssl_handshake_timeout=limit_s
            )
        except ssl.SSLCertVerificationError as error:
            raise ConnectionError(distrust(error, self._host, await self._names(error))) from None
        except (ssl.SSLError, ConnectionError) as error:
            if self._tls is None:
                raise
            raise ConnectionError(f"no TLS with {self._host}:{self._port} ({_words(error)})") from None
        return transport

    async def _names(self, error: ssl.SSLCertVerificationError) -> str:
        """Whom the edge's certificate names, where that was the trouble; seen in another handshake, nothing is sent."""
        if self._tls is None or error.verify_code not in (OTHER_NAME, OTHER_ADDRESS):
            return ""
        try:
            async with asyncio.timeout(TLS_S):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=looking(self._tls))
        except (OSError, TimeoutError):
            return ""
        certificate = writer.get_extra_info("peercert") or {}
        writer.transport.abort()
        return names_in(certificate)

    async def _addresses(self) -> list[Address]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise ConnectionError(f"no address for host {self._host} ({_words(error)})") from None
        return list(found)


class StandbyDialer:
    """Dials several edges that serve the same package, one at a time.

    The first is dialled first. When a connection is lost, or an edge refuses, the next dialled is the one after it; one
    that cannot be reached is passed over. Attempts are spread in time by who dials, as with a single edge.
    """

    def __init__(self, dialers: Sequence[Dialer]) -> None:
        self._dialers = dialers
        self._next = 0
        self.encrypted, self.where = dialers[0].encrypted, dialers[0].where

    async def dial(self, make: Callable[[], asyncio.BufferedProtocol]) -> asyncio.Transport:
        """A connection to the first edge, in their order from where it stands, that can be reached."""
        troubles = []
        for turn in range(len(self._dialers)):
            place = (self._next + turn) % len(self._dialers)
            dialer = self._dialers[place]
            try:
                transport = await dialer.dial(make)
            except (OSError, TimeoutError) as error:
                troubles.append(f"{dialer.where}: {reason(error)}")
                continue
            self._next = (place + 1) % len(self._dialers)
            self.encrypted, self.where = dialer.encrypted, dialer.where
            return transport
        raise ConnectionError("; ".join(troubles))


async def first_connected(
    addresses: Sequence[Address], attempt: Attempt | None = None, next_s: float = NEXT_ADDRESS_S
) -> socket.socket:
    """A socket connected to the first of these addresses that answers; the last failure when none does."""
    tries = attempt or _attempt
    waiting = alternating(addresses)
    running: set[asyncio.Future[socket.socket]] = set()
    failure: BaseException = ConnectionError("the name has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(tries(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=next_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            won = [task.result() for task in done if task.exception() is None]
            for late in won[1:]:
                late.close()
            if won:
                return won[0]
            failure = next(error for task in done if (error := task.exception())) if done else failure
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)
    raise failure if isinstance(failure, OSError) else ConnectionError(str(failure))


def alternating(addresses: Sequence[Address]) -> list[Address]:
    """Addresses with their families in turn, the first one's first."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


async def _attempt(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_late(task: asyncio.Future[socket.socket]) -> None:
    """Close what connected after another had won."""
    with contextlib.suppress(asyncio.CancelledError, OSError):
        task.result().close()


def reason(error: Exception) -> str:
    """Why an attempt failed, in words that stay the same while the cause does."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return alert(error, _words)


def _words(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror | ssl.SSLError) or number is None:
        return str(error.args[-1] if isinstance(error, socket.gaierror) else error) or type(error).__name__
    return os.strerror(number) if number in errno.errorcode else str(error)
