"""The emulated link: its law and its timing exactly, in virtual time; on real sockets that frames come through."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from hasten.core.rates import rate_trace
from hasten.runtime.clock import SystemClock
from hasten.runtime.local.link import Relay, SerialLink
from hasten.runtime.wire.frames import HEADER, frame_bytes

KIND = 6


def constant(bits_per_ms):
    return rate_trace(np.zeros(1), np.array([float(bits_per_ms)]))


def test_frames_are_sent_one_after_the_other():
    link = SerialLink(constant(8.0))
    link.start(0.0)
    assert link.admit(10.0, 100) == pytest.approx(110.0)
    assert link.admit(20.0, 50) == pytest.approx(160.0)
    assert link.admit(500.0, 50) == pytest.approx(550.0)
    assert link.sent_bytes == 200


def test_the_trace_begins_at_the_start_and_its_first_rate_holds_before():
    link = SerialLink(rate_trace(np.array([0.0, 100.0]), np.array([8.0, 16.0])))
    assert link.admit(0.0, 10) == pytest.approx(10.0)
    link.start(1000.0)
    assert link.admit(999.0, 10) == pytest.approx(1009.0)
    assert link.admit(1090.0, 30) == pytest.approx(1000 + 100 + 10)
    assert link.admit(5000.0, 30) == pytest.approx(5000 + 15)


def test_a_dead_link_never_delivers():
    link = SerialLink(constant(0.0))
    link.start(0.0)
    assert link.admit(1.0, 1) == np.inf


def test_a_link_that_is_dead_at_first_carries_frames_once_it_is_not():
    """What was sent in vain before the start, as connecting was tried, does not hold them up."""
    link = SerialLink(rate_trace(np.array([0.0, 100.0]), np.array([0.0, 8.0])))
    assert link.admit(900.0, 50) == np.inf
    link.start(1000.0)
    assert link.admit(1010.0, 50) == pytest.approx(1150.0)


def test_a_scaled_link_keeps_the_times_of_what_it_has():
    link = SerialLink(rate_trace(np.array([0.0, 100.0]), np.array([8.0, 16.0])))
    link.start(0.0)
    assert link.admit(0.0, 10) == pytest.approx(10.0)
    link.scale(0.5)
    assert link.admit(0.0, 10) == pytest.approx(10.0 + 20.0)
    assert link.admit(200.0, 10) == pytest.approx(200.0 + 10.0)
    link.scale(2.0)
    assert link.admit(300.0, 32) == pytest.approx(300.0 + 8.0)


class Target:
    """Stands for a transport: notes what is written when."""

    def __init__(self, clock):
        self.clock, self.written = clock, []

    def is_closing(self):
        return False

    def write(self, data):
        self.written.append((self.clock.now_ms(), data))


def frame(size):
    return frame_bytes(KIND, 1, bytes(size - HEADER.size))


def relay_at(clock, rtt_ms, *traces):
    relay = Relay("edge", 1, rtt_ms, clock)
    relay.load(traces)
    relay.start(clock.now_ms())
    return relay


def test_a_frame_takes_its_transmission_and_the_round_trip(clock):
    relay, edge, device = relay_at(clock, 20.0, constant(1000.0)), Target(clock), Target(clock)
    start_ms = clock.now_ms()
    relay.upward(0, frame(5000), edge)
    clock.run(49.9)
    assert not edge.written
    clock.run(0.2)
    assert edge.written == [(pytest.approx(start_ms + 50.0), frame(5000))]  # 40 ms at 1000 bits/ms, and 10
    answered_ms = clock.now_ms()
    relay.downward(b"!", device)
    clock.run(100.0)
    assert device.written == [(pytest.approx(answered_ms + 10.0), b"!")]


@pytest.mark.parametrize(("shared", "last_ms"), [(True, 80.0), (False, 40.0)])
def test_devices_share_one_link_or_have_their_own(clock, shared, last_ms):
    relay, edge = relay_at(clock, 0.0, *[constant(1000.0)] * (1 if shared else 2)), Target(clock)
    start_ms = clock.now_ms()
    for device in range(2):
        relay.upward(device, frame(5000), edge)
    clock.run(100.0)
    assert [when_ms for when_ms, _ in edge.written] == pytest.approx([start_ms + 40.0, start_ms + last_ms])
    assert relay.sent_bytes() == 10_000


def test_a_dead_or_silent_link_swallows(clock):
    edge = Target(clock)
    relay_at(clock, 0.0, constant(0.0)).upward(0, frame(100), edge)
    relay = relay_at(clock, 0.0, constant(1e6))
    relay.silent = True
    relay.upward(0, frame(100), edge)
    relay.downward(b"!", edge)
    clock.run(1e6)
    assert not edge.written
    relay.silent = False
    relay.upward(0, frame(100), edge)
    clock.run(1.0)
    assert len(edge.written) == 1


class Echo(asyncio.Protocol):
    """Stands for the edge: notes what comes and sends one byte back for each read."""

    def __init__(self, arrived):
        self.arrived = arrived

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.arrived.append(data)
        self.transport.write(b"!")


def test_on_sockets_frames_arrive_whole_and_in_order_until_the_link_is_cut():
    sizes = [20, 21, 3000, 70_000, 25]

    async def run():
        arrived = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Echo(arrived), "127.0.0.1", 0)
        relay = Relay(*server.sockets[0].getsockname()[:2], 1.0, SystemClock(loop))
        await relay.listen(2)
        relay.load([constant(1e6)])
        try:
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", relay.ports[1])
                data = b"".join(frame(size) for size in sizes)
                for start in range(0, len(data), 7001):
                    writer.write(data[start : start + 7001])
                    await asyncio.sleep(0)
                while sum(len(chunk) for chunk in arrived) < len(data):
                    await reader.read(1)
                assert b"".join(arrived) == data
                relay.cut()
                with contextlib.suppress(ConnectionResetError):
                    while await reader.read(10):
                        continue
        finally:
            await relay.close()
            server.close()

    asyncio.run(run())
