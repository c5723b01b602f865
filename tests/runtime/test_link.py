"""The emulated link: its law exactly, its timing on real sockets roughly (generous bounds: machines are busy)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hasten.core.rates import rate_trace
from hasten.runtime.link import Relay, SerialLink
from hasten.runtime.pace import now_ms
from hasten.runtime.wire import HEADER, frame_bytes

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


class Echo(asyncio.Protocol):
    """Stands for the edge: notes when frames come and sends one byte back for each read."""

    def __init__(self, arrived):
        self.arrived = arrived

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.arrived.append((now_ms(), data))
        self.transport.write(b"!")


def with_relay(devices, rtt_ms, traces, scenario):
    async def run():
        arrived = []
        server = await asyncio.get_running_loop().create_server(lambda: Echo(arrived), "127.0.0.1", 0)
        relay = Relay(*server.sockets[0].getsockname()[:2], rtt_ms)
        await relay.listen(devices)
        relay.load(traces)
        relay.start(now_ms())
        try:
            async with asyncio.timeout(20):
                peers = [await asyncio.open_connection("127.0.0.1", port) for port in relay.ports]
                await asyncio.sleep(0.05)
                return await scenario(relay, peers, arrived)
        finally:
            await relay.close()
            server.close()

    return asyncio.run(run())


def frame(size):
    return frame_bytes(KIND, 1, bytes(size - HEADER.size))


def test_a_frame_takes_its_transmission_and_the_round_trip():
    async def scenario(relay, peers, arrived):
        reader, writer = peers[0]
        sent_ms = now_ms()
        writer.write(frame(5000))
        await reader.read(1)
        back_ms = now_ms() - sent_ms
        there_ms = arrived[0][0] - sent_ms
        assert 50.0 <= there_ms < 150.0  # 40 ms at 1000 bits/ms, and 10
        assert there_ms + 10.0 <= back_ms + 0.5 < 250.0

    with_relay(1, 20.0, [constant(1000.0)], scenario)


@pytest.mark.parametrize(("shared", "least_ms"), [(True, 80.0), (False, 40.0)])
def test_devices_share_one_link_or_have_their_own(shared, least_ms):
    async def scenario(relay, peers, arrived):
        sent_ms = now_ms()
        for _, writer in peers:
            writer.write(frame(5000))
        for reader, _ in peers:
            await reader.read(1)
        took_ms = now_ms() - sent_ms
        assert took_ms >= least_ms
        if not shared:
            assert took_ms < 79.0 or arrived[1][0] - arrived[0][0] < 30.0
        assert relay.sent_bytes() == 10_000

    with_relay(2, 0.0, [constant(1000.0)] * (1 if shared else 2), scenario)


def test_frames_arrive_whole_and_in_order_however_they_were_written():
    sizes = [20, 21, 3000, 70_000, 25]

    async def scenario(relay, peers, arrived):
        _, writer = peers[0]
        data = b"".join(frame(size) for size in sizes)
        for start in range(0, len(data), 7001):
            writer.write(data[start : start + 7001])
            await asyncio.sleep(0)
        while sum(len(chunk) for _, chunk in arrived) < len(data):
            await asyncio.sleep(0.01)
        assert b"".join(chunk for _, chunk in arrived) == data

    with_relay(1, 0.0, [constant(1e6)], scenario)


def test_a_silent_link_swallows_and_a_cut_one_closes():
    async def scenario(relay, peers, arrived):
        reader, writer = peers[0]
        relay.silent = True
        writer.write(frame(100))
        await asyncio.sleep(0.1)
        assert not arrived
        relay.silent = False
        writer.write(frame(100))
        assert await reader.read(1) == b"!"
        relay.cut()
        try:
            assert await reader.read(1) == b""
        except ConnectionResetError:
            return

    with_relay(1, 0.0, [constant(1e6)], scenario)
