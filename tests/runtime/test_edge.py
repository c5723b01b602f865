"""The edge's server with real sockets: strangers, damage, refusals; one stream's trouble is no other's."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import ssl
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten.core.errors import InputError
from hasten.runtime.edge import EdgeConnection, serve_edge, server_tls, start_edge
from hasten.runtime.edge_core import EdgeCore
from hasten.runtime.uplink import client_tls
from hasten.runtime.wire import (
    DEVICE_LIMITS,
    HEADER,
    MAGIC,
    VERSION,
    Code,
    FrameParser,
    Hello,
    Kind,
    Status,
    frame_bytes,
    hello_frame,
    parse_answer,
    parse_pong,
    parse_refuse,
    parse_welcome,
    ping_frame,
    submit_head,
    types_bytes,
)
from hasten.split.codec import Codec

WAIT_S = 10.0


class Peer:
    """A device's side of the protocol, by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.parser = FrameParser(DEVICE_LIMITS)
        self.frames = []

    @classmethod
    async def connect(cls, server, tls=None):
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, ssl=tls, server_hostname=name))

    async def welcomed(self, package, token=b""):
        self.writer.write(hello_frame(Hello(bytes.fromhex(package.digest), token, "peer")))
        return parse_welcome((await self.next(Kind.WELCOME)).body)

    async def next(self, kind):
        async with asyncio.timeout(WAIT_S):
            while not self.frames:
                data = await self.reader.read(1000)
                assert data, "closed"
                self.parser.buffer()[: len(data)] = data
                self.frames += self.parser.received(len(data))
        frame = self.frames.pop(0)
        assert frame.kind is kind
        return frame

    async def closed(self):
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read() == b""

    def submit(self, package, task, cut=0, exit_=2, damage=0):
        specs = package.manifest.cuts[cut].tensors
        frame = package.samples()[0][:1]
        payload = Codec().encode([frame], specs)[: -damage or None]
        self.writer.write(submit_head(task, cut, exit_, math.inf, types_bytes(specs), len(payload)) + payload)


def with_edge(package, scenario, **options):
    async def run():
        server = await start_edge(EdgeCore([package]), **options)
        try:
            return await scenario(server)
        finally:
            await server.close()

    return asyncio.run(run())


def test_a_device_is_welcomed_and_answered(package):
    async def scenario(server):
        peer = await Peer.connect(server)
        welcome = await peer.welcomed(package)
        assert (welcome.slowdown, welcome.workers) == (1.0, 1)
        peer.submit(package, 41)
        frame = await peer.next(Kind.ANSWER)
        answer = parse_answer(frame.body)
        assert frame.task == 41
        assert (answer.status, answer.exit) == (Status.DONE, 2)
        peer.writer.write(ping_frame(3, 5000))
        pong = await peer.next(Kind.PONG)
        assert pong.task == 3
        assert parse_pong(pong.body)[1].waiting == 0

    with_edge(package, scenario)


DAMAGE = {
    "not the protocol": (b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n", Code.MALFORMED),
    "another version": (HEADER.pack(MAGIC, 99, Kind.PING, 0, 1, 0), Code.VERSION),
    "unknown kind": (HEADER.pack(MAGIC, VERSION, 50, 0, 1, 0), Code.MALFORMED),
    "too large": (HEADER.pack(MAGIC, VERSION, Kind.SUBMIT, 0, 1, 2**31), Code.TOO_LARGE),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_lost_framing_ends_one_connection_with_a_word(package, damage):
    async def scenario(server):
        good, bad = await Peer.connect(server), await Peer.connect(server)
        await good.welcomed(package)
        await bad.welcomed(package)
        data, code = DAMAGE[damage]
        good.submit(package, 1)
        bad.writer.write(data)
        refuse = parse_refuse((await bad.next(Kind.REFUSE)).body)
        assert refuse.code == code
        assert "expected" in refuse.text
        assert await bad.closed()
        good.submit(package, 2)
        assert [(await good.next(Kind.ANSWER)).task for _ in range(2)] == [1, 2]

    with_edge(package, scenario)


def test_a_refused_task_leaves_the_connection_open(package):
    async def scenario(server):
        peer = await Peer.connect(server)
        await peer.welcomed(package)
        peer.submit(package, 1, exit_=9)
        peer.submit(package, 2, damage=1)
        peer.writer.write(frame_bytes(Kind.SUBMIT, 3, b"short"))
        peer.submit(package, 4)
        refused = {}
        for _ in range(3):
            frame = await peer.next(Kind.REFUSE) if len(refused) < 3 else None
            refused[frame.task] = parse_refuse(frame.body).code
        assert refused == {1: Code.CUT, 2: Code.PAYLOAD, 3: Code.MALFORMED}
        assert (await peer.next(Kind.ANSWER)).task == 4

    with_edge(package, scenario)


def test_tasks_before_hello_are_not_accepted(package):
    async def scenario(server):
        peer = await Peer.connect(server)
        peer.submit(package, 1)
        assert parse_refuse((await peer.next(Kind.REFUSE)).body).code == Code.MALFORMED
        assert await peer.closed()

    with_edge(package, scenario)


def test_another_package_and_another_token_are_refused(package):
    async def scenario(server):
        for hello, code in [
            (Hello(bytes(32), b"right", ""), Code.PACKAGE),
            (Hello(bytes.fromhex(package.digest), b"wrong", ""), Code.TOKEN),
        ]:
            peer = await Peer.connect(server)
            peer.writer.write(hello_frame(hello))
            assert parse_refuse((await peer.next(Kind.REFUSE)).body).code == code
            assert await peer.closed()
        await (await Peer.connect(server)).welcomed(package, b"right")

    with_edge(package, scenario, token="right")


def test_a_port_in_use_is_one_line(package):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"edge: port: got {port}, expected a free port"):
            serve_edge([package.path], port=port)


def test_half_a_tls_setup_is_refused(package, tmp_path):
    with pytest.raises(InputError, match="a certificate and a key"):
        serve_edge([package.path], tls_cert=tmp_path / "cert.pem")
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(InputError, match="PEM"):
        server_tls(tmp_path / "bad.pem", tmp_path / "bad.pem")
    with pytest.raises(InputError, match="PEM"):
        client_tls(tmp_path / "bad.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with the openssl command")
def test_over_tls(package, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    order = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    order += " -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *order.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)

    async def scenario(server):
        peer = await Peer.connect(server, client_tls(cert))
        await peer.welcomed(package)
        peer.submit(package, 1)
        assert (await peer.next(Kind.ANSWER)).task == 1
        with pytest.raises(ssl.SSLError):
            await Peer.connect(server, client_tls(None))

    with_edge(package, scenario, tls=server_tls(cert, key))


class Pipe:
    """Stands for a transport: collects what the edge writes."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    abort = close

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name):
        return None


def exchange(core, hello, data):
    """What the edge answers to these bytes."""

    async def run():
        connection, pipe = EdgeConnection(core, "", set()), Pipe()
        connection.connection_made(pipe)
        for chunk in (hello, data):
            while chunk and not pipe.closed:
                buffer = connection.get_buffer(-1)
                count = min(len(buffer), len(chunk))
                buffer[:count] = chunk[:count]
                chunk = chunk[count:]
                connection.buffer_updated(count)
        connection.connection_lost(None)
        return pipe

    return asyncio.run(run())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_break_the_edge(package, data):
    """Flipped, inserted and cut bytes in frames that were good: an answer or a word why not, never an exception."""
    specs = package.manifest.cuts[1].tensors
    payload = Codec().encode([np.zeros((1, *spec.shape), spec.dtype) for spec in specs], specs)
    good = submit_head(1, 1, 2, 0.0, types_bytes(specs), len(payload)) + payload + ping_frame(2, 30)
    hello = hello_frame(Hello(bytes.fromhex(package.digest), b"", "fuzz"))
    where = data.draw(st.lists(st.integers(0, len(hello + good) - 1), max_size=4))
    broken = bytearray(hello + good)
    for position in where:
        broken[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    insert = data.draw(st.binary(max_size=20))
    pipe = exchange(EdgeCore([package], runners=[None]), b"", bytes(broken[:cut]) + insert + bytes(broken[cut:]))
    if pipe.closed:
        parser = FrameParser(DEVICE_LIMITS)
        parser.buffer()[: len(pipe.written)] = pipe.written
        assert [frame.kind for frame in parser.received(len(pipe.written))][-1] is Kind.REFUSE
