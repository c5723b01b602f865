"""Listening and accepting: what the system refuses is told and tried again, and limits follow what it allows."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge import listening
from hasten.runtime.edge.connections import ConnectionLimits, Connections
from hasten.runtime.edge.listening import Acceptor, free_descriptors, listen
from hasten.runtime.notes import BURST, Notes


def test_a_system_without_descriptors_is_told_of_in_few_lines_and_asked_again(clock, monkeypatch):
    monkeypatch.setattr(listening, "ACCEPT_AGAIN_S", 0.0)
    said, made = [], []

    async def scenario():
        loop = asyncio.get_running_loop()
        (sock,) = listen("127.0.0.1", 0)
        notes = Notes(said.append, clock.now_ms)
        trouble = [OSError(errno.EMFILE, "Too many open files")] * 100 + [ValueError("anything else")]
        accept = loop.sock_accept

        async def failing(listening_socket):
            if trouble:
                raise trouble.pop()
            return await accept(listening_socket)

        monkeypatch.setattr(loop, "sock_accept", failing)
        connections = Connections(ConnectionLimits(), clock, notes)

        def make(guest):
            made.append(guest)
            return asyncio.Protocol()

        acceptor = Acceptor(sock, connections, make, None, notes)
        with socket.create_connection(sock.getsockname()):
            async with asyncio.timeout(10):
                while not made:
                    await asyncio.sleep(0.001)
        await acceptor.close()

    asyncio.run(scenario())
    assert sum("could not be accepted" in line for line in said) == BURST  # the end of the connection may be told, too
    assert "Too many open files" in said[1]
    assert made[0].address == "127.0.0.1"


def test_every_address_of_a_host_is_listened_on_and_a_taken_port_is_said():
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    try:
        with pytest.raises(InputError, match=f"edge: port: got {port}, expected a free port"):
            listen("127.0.0.1", port)
    finally:
        for sock in sockets:
            sock.close()
    with pytest.raises(InputError, match="edge: host: got 'no such host', expected an address or a name"):
        listen("no such host", 0)
    with pytest.raises(InputError, match="edge: host"):
        listen("a" * 70 + ".example", 0)


def test_the_limit_of_descriptors_is_raised_as_far_as_it_may_be(monkeypatch):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 2000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    assert free_descriptors(10) < 64
    assert 1900 < free_descriptors(5000) < 2000
    assert asked == [(2000, 2000)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert free_descriptors(5000) == 5000
