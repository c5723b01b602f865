"""Connecting: several addresses, TLS that does not fit, long round trips, and that the reason of a failure is told."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from virtual_cases import offloaded, run

from hasten.runtime.device.dialing import NetworkDialer, alternating, first_connected, reason
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.virtual.loop import run_virtual
from hasten.runtime.wire.handshake import Hello

HELLO = Hello(bytes(32), b"", "test")
V4, V6 = socket.AF_INET, socket.AF_INET6


def addresses(*families):
    return [(family, socket.SOCK_STREAM, 0, "", (f"a{i}", 1)) for i, family in enumerate(families)]


class User:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def edge_connected(self, welcome):
        self.told.append("connected")

    def edge_lost(self, reason):
        self.told.append(f"lost: {reason}")

    def edge_unreachable(self, reason):
        self.told.append(reason)

    def edge_answered(self, task, answer): ...

    def edge_refused(self, task, refuse): ...

    def edge_ponged(self, sequence, clock_ms, report): ...


def test_families_take_turns():
    found = alternating(addresses(V6, V6, V6, V4))
    assert [address[0] for address in found] == [V6, V4, V6, V6]


def connecting(fates, families=(V6, V4, V4)):
    """(index of the address that won or the failure, seconds it took); fates are (seconds, works)."""
    closed = []

    class Socket:
        def __init__(self, name):
            self.name = name

        def close(self):
            closed.append(self.name)

    async def attempt(address):
        seconds, works = fates[int(address[4][0][1:])]
        await asyncio.sleep(seconds)
        if not works:
            raise ConnectionRefusedError("refused")
        return Socket(address[4][0])

    async def main():
        try:
            won = (await first_connected(addresses(*families), attempt)).name
        except OSError as error:
            won = type(error).__name__
        return won, asyncio.get_running_loop().time()

    return run_virtual(main()), closed


def test_a_dead_address_costs_a_quarter_of_a_second():
    (won, took_s), _ = connecting([(1e9, False), (0.05, True), (0.05, True)])
    assert won == "a1" and took_s == pytest.approx(0.3)


def test_an_address_that_refuses_costs_nothing():
    (won, took_s), _ = connecting([(0.01, False), (0.01, False), (0.05, True)])
    assert won == "a2" and took_s == pytest.approx(0.07)


def test_a_slow_address_still_wins_over_dead_ones():
    (won, took_s), _ = connecting([(2.0, True), (1e9, False), (1e9, False)])
    assert won == "a0" and took_s == pytest.approx(2.0)


def test_all_addresses_failing_is_a_failure_at_once():
    (won, took_s), _ = connecting([(0.01, False)] * 3)
    assert won == "ConnectionRefusedError" and took_s == pytest.approx(0.03)


def test_of_two_that_connect_together_one_is_closed():
    (won, _), closed = connecting([(0.25, True), (0.0, True), (1e9, False)])
    assert won in ("a0", "a1") and len(closed) <= 1


def test_a_name_with_a_dead_address_first_reaches_the_edge(monkeypatch):
    """Real sockets: nobody listens at the first address."""

    async def main():
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))  # bound, not listening: refused
        dialer = NetworkDialer("edge.example", port, None)

        async def both():
            return [
                (V4, socket.SOCK_STREAM, 0, "", dead.getsockname()),
                (V4, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)),
            ]

        monkeypatch.setattr(dialer, "_addresses", both)
        transport = await dialer.dial(asyncio.Protocol)
        peer = transport.get_extra_info("peername")
        transport.abort()
        server.close()
        dead.close()
        return peer, port

    peer, port = asyncio.run(main())
    assert peer == ("127.0.0.1", port)


def first_reason(serve, tls=None):
    """What a device says of its first attempt at a server that does ``serve(transport)`` with whatever comes."""

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            serve(self.transport)

    async def main():
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        user = User()
        uplink = Uplink(NetworkDialer("127.0.0.1", server.sockets[0].getsockname()[1], tls), HELLO, user)
        try:
            async with asyncio.timeout(20):
                assert not await uplink.start()
        finally:
            await uplink.close()
            server.close()
        return user.told[0]

    return asyncio.run(main())


def test_what_does_not_fit_of_tls_is_told():
    alert = bytes([0x15, 3, 3, 0, 2, 2, 70])
    assert first_reason(lambda transport: transport.write(alert)) == (
        "the edge speaks TLS, and this device was not told to"
    )
    assert "without a word (as one that expects TLS does)" in first_reason(lambda transport: transport.abort())
    plain = first_reason(lambda transport: transport.write(b"HSTN" + bytes(60)), ssl.create_default_context())
    assert plain.startswith("no TLS with 127.0.0.1:")


def test_a_host_without_an_address_is_said_at_once():
    async def main():
        user = User()
        uplink = Uplink(NetworkDialer("nowhere.invalid", 7700, None), HELLO, user)
        connected = await uplink.start()
        await uplink.close()
        return connected, user.told

    connected, told = asyncio.run(main())
    assert not connected
    assert told and told[0].startswith("no address for host nowhere.invalid")


def test_reasons_are_words_that_stay_the_same():
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 51515)")
    assert reason(refused) == "Connection refused"
    assert reason(TimeoutError()) == "no answer in time"
    assert reason(OSError("odd")) == "odd"


def test_the_reason_is_told_whenever_it_changes_and_only_then():
    def setting(world):
        def becomes(trouble, refuses):
            world.edge.trouble, world.link.refuses = trouble, refuses
            world.link.cut()

        world.at(1000, lambda: becomes(None, "Connection refused"))
        world.at(10_000, lambda: becomes("got another package", None))
        world.at(20_000, lambda: becomes(None, None))

    records, world = run(setting, tasks=300)
    unreachable = "edge not reached ({}); working alone until it is".format
    assert world.notes == [
        "edge connected",
        "edge lost: the edge closed the connection",
        unreachable("Connection refused"),
        unreachable("got another package"),
        "edge connected",
    ]
    assert offloaded(records[240:]) == 1.0
    assert 8 < world.link.dialled < 25


@pytest.mark.parametrize("rtt_ms", [1500.0, 3000.0])
def test_an_edge_behind_long_round_trips_is_reached(rtt_ms):
    records, world = run(
        lambda world: world.link.rtt(rtt_ms), tasks=40, rate_hz=2, deadline_ms=8000, scheduler="fixed:4,0"
    )
    assert world.link.dialled == 1 and offloaded(records[20:]) == 1.0


def test_reconnecting_keeps_no_step_with_others():
    """Half to one and a half times the pause, whatever chance says."""

    async def attempts(chance):
        loop, times = asyncio.get_running_loop(), []

        class Dead:
            encrypted, where = False, "edge"

            async def dial(self, make):
                times.append(loop.time())
                raise ConnectionError("dead")

        uplink = Uplink(Dead(), HELLO, User(), lambda: 0.0, lambda: chance)
        await uplink.start()
        await asyncio.sleep(10)
        await uplink.close()
        return times

    early, late = run_virtual(attempts(0.0)), run_virtual(attempts(1.0))
    assert early[1] == pytest.approx(0.05) and late[1] == pytest.approx(0.15)
    assert len(early) >= 2 * len(late)
