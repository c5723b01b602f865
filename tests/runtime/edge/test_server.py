"""The edge's server with real sockets: strangers, damage, refusals; one stream's trouble is no other's."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasten.core.errors import InputError
from hasten.runtime.device.tls import client_tls
from hasten.runtime.edge.command import serve_edge
from hasten.runtime.edge.connection import MAX_IDLE_FRAMES_PER_S, MAX_UNSENT_BYTES, EdgeConnection
from hasten.runtime.edge.connections import ConnectionLimits, Connections
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.opened import EdgePlan
from hasten.runtime.edge.quota import Quota
from hasten.runtime.edge.served import Computed, Served
from hasten.runtime.edge.server import EdgeAccess, real_core, start_edge
from hasten.runtime.edge.tls import server_tls
from hasten.runtime.edge.tokens import Tokens
from hasten.runtime.notes import Notes
from hasten.runtime.wire.frames import HEADER, MAGIC, VERSION, Code, FrameParser, Kind, frame_bytes, sealed
from hasten.runtime.wire.handshake import Hello, hello_frame, parse_refuse, parse_welcome
from hasten.runtime.wire.load import parse_pong, ping_frame
from hasten.runtime.wire.tasks import DEVICE_LIMITS, Status, parse_answer, payload_head, submit_head
from hasten.split.codecs.uint8_zstd import Uint8Zstd

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

    def submit(self, package, task, cut=0, exit_=2, damage=0, codec=None):
        sent = package.manifest.cuts[cut]
        if codec is not None:
            sent = sent.model_copy(update={"codec": codec})
        frame = package.samples()[0][:1]
        payload = Uint8Zstd().encode([frame], sent.tensors)[: -damage or None]
        self.writer.write(submit_head(task, cut, exit_, math.inf, payload_head(sent), len(payload)) + payload)


def with_edge(package, scenario, say=None, **access):
    async def run():
        core = real_core([package], notes=Notes(say) if say else None)
        server = await start_edge(core, access=EdgeAccess(**access))
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
    "another version": (HEADER.pack(MAGIC, 99, Kind.PING, 0, 1, 0, 0), Code.VERSION),
    "unknown kind": (HEADER.pack(MAGIC, VERSION, 50, 0, 1, 0, 0), Code.MALFORMED),
    "too large": (HEADER.pack(MAGIC, VERSION, Kind.SUBMIT, 0, 1, 2**31, 0), Code.TOO_LARGE),
    "damaged": (sealed(frame_bytes(Kind.PING, 1, b"sent"))[:-4] + b"came", Code.DAMAGED),
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


def test_a_payload_of_an_unknown_codec_is_refused_by_name(package):
    async def scenario(server):
        peer = await Peer.connect(server)
        await peer.welcomed(package)
        peer.submit(package, 1, codec="float16")
        refused = parse_refuse((await peer.next(Kind.REFUSE)).body)
        assert refused.code == Code.CODEC
        assert refused.text == "SUBMIT: got codec 'float16', expected one of uint8-zstd"
        peer.submit(package, 2)
        assert (await peer.next(Kind.ANSWER)).task == 2

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

    with_edge(package, scenario, tokens=Tokens("right"))


def test_a_port_in_use_is_one_line(package):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"edge: port: got {port}, expected a free port"):
            serve_edge([package.path], EdgePlan(port=port))


def test_half_a_tls_setup_is_refused(package, tmp_path):
    with pytest.raises(InputError, match="a certificate and a key"):
        serve_edge([package.path], EdgePlan(tls_cert=tmp_path / "cert.pem"))
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(InputError, match="PEM"):
        server_tls(tmp_path / "bad.pem", tmp_path / "bad.pem")
    with pytest.raises(InputError, match="PEM"):
        client_tls(tmp_path / "bad.pem")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) files for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    order = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    order += " -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *order.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_over_tls(package, certificate):
    cert, key = certificate

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
        self.written, self.closed, self.unsent = b"", False, 0

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return self.unsent

    def get_extra_info(self, name):
        return None

    def frames(self):
        parser, data = FrameParser(DEVICE_LIMITS), self.written
        while data:
            buffer = parser.buffer()
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            yield from parser.received(count)


class Idle:
    """Workers that take a task and never finish it."""

    count = 1

    def __init__(self):
        self.taken = []

    def start(self):
        pass

    def execute(self, worker, request, done):
        self.taken.append((request, done))

    def close(self, wait_s):
        pass


class Wire:
    """A connection to an edge in virtual time, without a socket."""

    def __init__(self, package, clock, quota=None):
        self.package, self.said, self.workers, self.pipe = package, [], Idle(), Pipe()
        notes = Notes(self.said.append, clock.now_ms)
        self.core = EdgeCore([Served(package, runner=object())], self.workers, clock, notes=notes)
        self.connections = Connections(ConnectionLimits(), clock, notes)
        guest = self.connections.arrived("10.0.0.1", 4000)
        self.connection = EdgeConnection(self.core, self.connections, guest, Tokens(), quota)
        self.connection.connection_made(self.pipe)

    def receive(self, data):
        while data and not self.pipe.closed:
            buffer = self.connection.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self.connection.buffer_updated(count)

    def hello(self):
        self.receive(hello_frame(Hello(bytes.fromhex(self.package.digest), b"", "cam")))

    def refusals(self):
        return [(frame.task, parse_refuse(frame.body)) for frame in self.pipe.frames() if frame.kind is Kind.REFUSE]


def submit_bytes(package, task):
    """A task whose payload is as large as any."""
    cut = package.manifest.cuts[0]
    noise = np.random.default_rng(0).integers(0, 256, (1, *cut.tensors[0].shape), np.uint8)
    payload = Uint8Zstd().encode([noise], cut.tensors)
    return submit_head(task, 0, 2, math.inf, payload_head(cut), len(payload)) + payload


def in_loop(scenario):
    async def run():
        return scenario()

    return asyncio.run(run())


QUOTAS = [
    (Quota(tasks=3), 3, "more than 3 tasks under way, the edge's --quota-tasks"),
    (Quota(waiting=2), 3, "more than 2 tasks waiting, the edge's --quota-queue"),  # and one runs
    (Quota(size_bytes=1), 2, "bytes under way, the edge's --quota-mb"),  # two of the largest always fit
]


@pytest.mark.parametrize(("quota", "fit", "named"), QUOTAS)
def test_what_one_device_has_under_way_is_bounded(package, clock, quota, fit, named):
    def scenario():
        wire = Wire(package, clock, quota)
        wire.hello()
        for task in range(1, fit + 3):
            wire.receive(submit_bytes(package, task))
        return wire

    wire = in_loop(scenario)
    (first, why), (second, again) = wire.refusals()
    assert (first, second, why.code) == (fit + 1, fit + 2, Code.QUOTA)
    assert named in why.text and again.text == why.text


def test_a_quota_is_free_again_when_a_task_has_ended(package, clock):
    async def scenario():
        wire = Wire(package, clock, Quota(waiting=1))
        wire.hello()
        for task in range(1, 4):
            wire.receive(submit_bytes(package, task))
        wire.workers.taken.pop(0)[1](Computed(Status.DONE, 1, 0.5, 0.0, 1.0))
        await asyncio.sleep(0)
        wire.receive(submit_bytes(package, 4))
        return wire

    wire = asyncio.run(scenario())
    assert [task for task, _ in wire.refusals()] == [3]
    assert wire.connection._guest.carried.waiting == 1


def test_a_quota_of_nothing_is_refused():
    with pytest.raises(InputError, match="edge: quota waiting: got 0, expected at least 1"):
        Quota(waiting=0)


def test_the_same_number_twice_is_two_tasks(package, clock):
    """The device's mistake: both are answered, and nothing of them stays behind."""

    async def scenario():
        wire = Wire(package, clock)
        wire.hello()
        for _ in range(2):
            wire.receive(submit_bytes(package, 7))
        for _ in range(2):
            wire.workers.taken.pop(0)[1](Computed(Status.DONE, 1, 0.5, 0.0, 1.0))
            await asyncio.sleep(0)
        return wire

    wire = asyncio.run(scenario())
    assert [frame.task for frame in wire.pipe.frames() if frame.kind is Kind.ANSWER] == [7, 7]
    assert wire.connection._bytes == 0
    assert not wire.connection._tickets


def test_an_output_that_is_not_finite_is_an_answer(package, clock):
    async def scenario():
        wire = Wire(package, clock)
        wire.hello()
        wire.receive(submit_bytes(package, 1))
        wire.workers.taken[0][1](Computed(Status.INVALID, 0, 0.0, 0.0, 1.0))
        await asyncio.sleep(0)
        return wire

    wire = asyncio.run(scenario())
    (answer,) = [parse_answer(frame.body) for frame in wire.pipe.frames() if frame.kind is Kind.ANSWER]
    assert (answer.status, answer.confidence) == (Status.INVALID, 0.0)
    assert not wire.pipe.closed


def test_frames_that_bring_no_work_are_bounded(package, clock):
    def scenario(frames):
        wire = Wire(package, clock)
        wire.hello()
        wire.receive(frames)
        return wire

    calm = in_loop(lambda: scenario(ping_frame(1, 0) * MAX_IDLE_FRAMES_PER_S))
    assert not calm.pipe.closed
    for frames in (ping_frame(1, 0) * 5000, frame_bytes(Kind.SUBMIT, 3, b"short") * 5000):
        wire = in_loop(lambda frames=frames: scenario(frames))
        assert wire.pipe.closed
        last = wire.refusals()[-1][1]
        assert last.code == Code.BUSY
        assert "in a second" in last.text
        assert len(wire.said) < 20


def test_a_device_that_does_not_read_is_cut_off(package, clock):
    def scenario():
        wire = Wire(package, clock)
        wire.hello()
        wire.pipe.unsent = MAX_UNSENT_BYTES + 1
        wire.receive(ping_frame(1, 0))
        wire.connection.connection_lost(None)
        return wire

    wire = in_loop(scenario)
    assert wire.pipe.closed
    assert wire.said[-1] == "edge: cam (10.0.0.1:4000) gone: it does not read its answers"


def test_tasks_of_a_device_that_has_gone_are_not_run(package, clock):
    def scenario():
        wire = Wire(package, clock)
        wire.hello()
        for task in range(1, 4):
            wire.receive(submit_bytes(package, task))
        wire.connection.connection_lost(ConnectionResetError("reset by peer"))
        return wire

    wire = in_loop(scenario)
    assert wire.core.report().waiting == 0
    assert wire.core.totals["abandoned"] == 2
    assert "connection lost (reset by peer)" in wire.said[-1]


def test_tls_spoken_to_a_plain_edge_is_named(package, clock):
    def scenario():
        wire = Wire(package, clock)
        context = ssl.create_default_context()
        sent = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="edge")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        wire.receive(sent.read())
        wire.connection.connection_lost(None)
        return wire

    wire = in_loop(scenario)
    assert "refused: got a TLS handshake, expected plain frames" in wire.said[-1]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_break_the_edge(package, clock, data):
    """Flipped, inserted and cut bytes in frames that were good: an answer or a word why not, never an exception."""
    cut = package.manifest.cuts[1]
    payload = Uint8Zstd().encode([np.zeros((1, *spec.shape), spec.dtype) for spec in cut.tensors], cut.tensors)
    good = submit_head(1, 1, 2, 0.0, payload_head(cut), len(payload)) + payload + ping_frame(2, 30)
    hello = hello_frame(Hello(bytes.fromhex(package.digest), b"", "fuzz"))
    where = data.draw(st.lists(st.integers(0, len(hello + good) - 1), max_size=4))
    broken = bytearray(hello + good)
    for position in where:
        broken[position] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(broken)))
    insert = data.draw(st.binary(max_size=20))

    def scenario():
        wire = Wire(package, clock)
        wire.receive(bytes(broken[:end]) + insert + bytes(broken[end:]))
        wire.connection.connection_lost(None)
        return wire

    wire = in_loop(scenario)
    if wire.pipe.closed:
        assert list(wire.pipe.frames())[-1].kind is Kind.REFUSE


def test_a_plain_device_is_named_by_a_tls_edge(package, certificate):
    said = []

    async def scenario(server):
        peer = await Peer.connect(server)
        peer.writer.write(hello_frame(Hello(bytes.fromhex(package.digest), b"", "plain")))
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()
        async with asyncio.timeout(WAIT_S):
            while not said:
                await asyncio.sleep(0.005)

    with_edge(package, scenario, said.append, tls=server_tls(*certificate))
    assert "got no TLS handshake, expected one" in said[0]


def test_silent_sockets_leave_devices_served(package):
    """Few places, many strangers that say nothing and come back: who is connected is served, newcomers get in."""

    async def scenario(server):
        peer = await Peer.connect(server)
        await peer.welcomed(package)
        stop = asyncio.Event()

        async def silent():
            while not stop.is_set():
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()

        flood = [asyncio.create_task(silent()) for _ in range(30)]
        for task in range(5):
            peer.submit(package, task)
            assert (await peer.next(Kind.ANSWER)).task == task
            await (await Peer.connect(server)).welcomed(package)
        stop.set()
        assert len(server.connections.everybody()) <= 6 + 8
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)

    with_edge(package, scenario, limits=ConnectionLimits(devices=20, strangers=8))


def test_who_is_too_many_is_told_so(package):
    said = []

    async def scenario(server):
        await (await Peer.connect(server)).welcomed(package)
        late = await Peer.connect(server)
        assert parse_refuse((await late.next(Kind.REFUSE)).body).code == Code.BUSY
        assert await late.closed()

    with_edge(package, scenario, said.append, limits=ConnectionLimits(devices=1))
    assert "1 devices are connected, which is all that may" in said[1]


def test_an_edge_that_ends_answers_what_runs_and_says_goodbye(package):
    async def scenario():
        gate = threading.Event()

        class Gated:
            def outputs(self, partition, exit_, tensors):
                gate.wait(WAIT_S)
                return {"logits": np.zeros(5, np.float32)}

        server = await start_edge(real_core([package], runners=[Gated()]))
        peer = await Peer.connect(server)
        await peer.welcomed(package)
        peer.submit(package, 1)
        peer.submit(package, 2)
        while server.core.report().waiting < 1:
            await asyncio.sleep(0.001)
        ending = asyncio.create_task(server.close())
        refused = await peer.next(Kind.REFUSE)
        assert (refused.task, parse_refuse(refused.body).code) == (2, Code.CLOSING)
        gate.set()
        assert (await peer.next(Kind.ANSWER)).task == 1
        assert parse_refuse((await peer.next(Kind.REFUSE)).body).code == Code.CLOSING
        assert await peer.closed()
        await ending

    asyncio.run(scenario())


def test_a_terminated_edge_ends_in_order(package):
    """As process 1 too: nothing relies on what the system does with a signal that nobody handles."""
    edge = subprocess.Popen(
        [sys.executable, "-m", "hasten.cli", "edge", str(package.path), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "edge serves tiny" in edge.stdout.readline()
    caught = int(
        next(line for line in Path(f"/proc/{edge.pid}/status").read_text().splitlines() if "SigCgt" in line)[8:], 16
    )
    assert caught & 1 << signal.SIGTERM - 1
    edge.terminate()
    out, err = edge.communicate(timeout=WAIT_S)
    assert (edge.returncode, out, err) == (0, "edge ended; 0 devices came; tasks: no tasks\n", "")
