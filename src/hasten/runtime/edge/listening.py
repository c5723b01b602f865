"""Listening sockets, and accepting from them without ever running out of file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hasten.core.errors import InputError
from hasten.runtime.edge.connections import Connections, Guest
from hasten.runtime.edge.served import Refusal
from hasten.runtime.edge.tls import tls_trouble
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import Code
from hasten.runtime.wire.handshake import refuse_frame

BACKLOG = 128
ACCEPT_AGAIN_S = 0.2
"""After the system refused to accept a connection, the next attempt waits for so long."""

MakeProtocol = Callable[[Guest], asyncio.BaseProtocol]


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``; port 0 takes a free one of its first address.

    Raises:
        InputError: the port is taken, or the host has no address here.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError("edge", "host", host, f"an address or a name of this machine ({_reason(error)})") from None
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found if port else found[:1]):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sockets.append(sock)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            for opened in sockets:
                opened.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError("edge", "host", host, "an address or a name of this machine") from None
            raise InputError("edge", "port", port, f"a free port on {host} ({_reason(error)})") from None
    return sockets


def _reason(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno and error.errno > 0 else str(error)


def free_descriptors(wanted: int) -> int:
    """How many more file descriptors this process may open, after asking the system for ``wanted``."""
    try:
        import resource
    except ImportError:  # not on this system, which then has no such limit either
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        used = 32
    if soft != resource.RLIM_INFINITY and soft < used + wanted:
        more = used + wanted if hard == resource.RLIM_INFINITY else min(used + wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return wanted if soft == resource.RLIM_INFINITY else soft - used


class Acceptor:
    """Accepts connections from one listening socket, as many as there are places for."""

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make: MakeProtocol,
        tls: ssl.SSLContext | None,
        notes: Notes,
    ) -> None:
        self._listening, self._connections, self._make = listening, connections, make
        self._tls, self._notes = tls, notes
        self._loop = asyncio.get_running_loop()
        self._greeting: set[asyncio.Future[Any]] = set()
        self._task = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """Stop accepting, and let go of those that are not connected yet."""
        tasks = [self._task, *self._greeting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    async def _accept(self) -> None:
        while True:
            try:
                await self._accept_one()
            except Exception as error:  # whatever it is, those who come later must be let in
                self._notes.tell("accept", f"edge: a connection could not be accepted: {error}")
                await asyncio.sleep(ACCEPT_AGAIN_S)
            await asyncio.sleep(0)  # a socket that has been let go of is closed before the next is accepted

    async def _accept_one(self) -> None:
        while (wait_ms := self._connections.wait_ms()) > 0.0:
            await asyncio.sleep(wait_ms / 1000.0)
        sock, address = await self._loop.sock_accept(self._listening)
        host, port = address[:2]
        refusal = self._connections.objection(host)
        if refusal is not None:
            self._turn_away(sock, f"{host}:{port}", refusal)
        else:
            self._greet(sock, self._connections.arrived(host, port))

    def _turn_away(self, sock: socket.socket, where: str, refusal: Refusal) -> None:
        self._connections.turned_away(where, refusal)
        if self._tls is None:
            with contextlib.suppress(OSError):
                sock.send(refuse_frame(0, refusal.code, refusal.text))
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1 << 16)  # what is unread at the end would have the word overtaken by a reset
        sock.close()

    def _greet(self, sock: socket.socket, guest: Guest) -> None:
        """Have the connection made, with TLS if that is spoken here."""
        seconds = self._connections.limits.hello_ms / 1000.0 if self._tls else None
        making = self._loop.connect_accepted_socket(
            lambda: self._make(guest), sock, ssl=self._tls, ssl_handshake_timeout=seconds
        )
        task = asyncio.ensure_future(making)

        def give_up(code: Code, text: str) -> None:
            task.cancel()

        def made(task: asyncio.Future[Any]) -> None:
            self._greeting.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                sock.close()
                self._connections.no_tls(guest, *tls_trouble(error))
            elif task.cancelled():
                sock.close()
                self._connections.remove(guest)

        guest.close = give_up
        self._greeting.add(task)
        task.add_done_callback(made)
