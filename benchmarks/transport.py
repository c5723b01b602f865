"""How far is hasten's transport from the least a socket can do? Round trips of 1 KB to 1 MB on the loopback.

The peer is a blocking TCP socket on both sides: the request's bytes, 64 bytes back, no framing. hasten sends the same
bytes as a SUBMIT frame through its device-side connection to its edge server, which checks them, copies nothing, and
answers at once with an ANSWER frame; no network is run. Between the two stands a bare event loop: the peer's bytes by
buffered protocols on the loop that hasten runs on, and nothing else; what hasten takes beyond it is its own. Each side
has two processes of its own, and the three take turns within each round; the ratio is that of the medians to the raw
socket's. Budget: 1.3.

Usage: python benchmarks/transport.py [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import socket
import statistics
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, ClassVar

from hasten.runtime.clock import SystemClock
from hasten.runtime.device.dialing import NetworkDialer
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.server import start_edge
from hasten.runtime.edge.workers import WorkerThreads
from hasten.runtime.sockets import prepare_socket, run_loop
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import EdgeAnswer, Status, submit_head, types_bytes
from hasten.split.codecs.uint8_zstd import Uint8Zstd
from hasten.split.manifest import DEFAULT_CODEC

BUDGET = 1.3
SIZES = (1_000, 4_000, 16_000, 64_000, 200_000, 1_000_000)
REPLY_BYTES = 64
TYPES = types_bytes(())
HEAD = bytes([len(DEFAULT_CODEC)]) + DEFAULT_CODEC.encode() + TYPES
REPORT = LoadReport(1, 0, (0.0,))


class AnyPackage:
    """Stands for a served package: takes payloads of any size the benchmark sends."""

    digest = bytes(32)
    slowdown = 1.0
    types = (TYPES,)
    codecs: ClassVar = {DEFAULT_CODEC: Uint8Zstd()}
    payloads = SimpleNamespace(max_bytes=0)
    max_submit_bytes = max(SIZES) + len(HEAD)
    package = SimpleNamespace(manifest=SimpleNamespace(cuts=[SimpleNamespace(tensors=())]))

    def warm(self):
        """Nothing to warm up."""

    def has(self, cut, exit_):
        """Everything."""
        return True

    def shortfall(self):
        """Nothing is short."""


class AnsweringCore(EdgeCore):
    """Answers at once, so that only the transport takes time."""

    def submit(self, request, reply, device):
        """Answer."""
        ticket = Ticket(request, reply, device, self.clock.now_ms(), 0.0, 0.0)
        reply(ticket, EdgeAnswer(Status.DONE, request.exit, 0, 1.0, 0, 0, 0, REPORT))
        return ticket


def serve_raw() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
        prepare_socket(connection)
        buffer = memoryview(bytearray(max(SIZES)))
        while size := int.from_bytes(connection.recv(4), "little"):
            have = 0
            while have < size:
                have += connection.recv_into(buffer[have:size])
            connection.sendall(bytes(REPLY_BYTES))


def serve_hasten() -> None:
    async def serve():
        clock = SystemClock(asyncio.get_running_loop())
        server = await start_edge(AnsweringCore([AnyPackage()], WorkerThreads(), clock))
        print(server.port, flush=True)
        await asyncio.Event().wait()

    run_loop(serve())


class BareServer(asyncio.BufferedProtocol):
    """The raw socket's edge side on an event loop."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(max(SIZES) + 4))
        self.have = 0

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self.transport = transport
        prepare_socket(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where received bytes go."""
        return self.buffer[self.have :]

    def buffer_updated(self, nbytes: int) -> None:
        """Reply to a request that is complete."""
        self.have += nbytes
        if self.have >= 4 and self.have == 4 + int.from_bytes(self.buffer[:4], "little"):
            self.have = 0
            self.transport.write(bytes(REPLY_BYTES))


def serve_bare() -> None:
    async def serve():
        server = await asyncio.get_running_loop().create_server(BareServer, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    run_loop(serve())


class RawClient:
    """The peer's device side."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        prepare_socket(self.socket)
        self.reply = memoryview(bytearray(REPLY_BYTES))

    def measure(self, payload: bytes) -> float:
        """Seconds of one round trip."""
        start = time.perf_counter()
        head = len(payload).to_bytes(4, "little")
        sent = self.socket.sendmsg([head, payload])
        if sent < len(head) + len(payload):
            self.socket.sendall(memoryview(payload)[sent - len(head) :])
        have = 0
        while have < REPLY_BYTES:
            have += self.socket.recv_into(self.reply[have:])
        return time.perf_counter() - start


class LoopClient:
    """A device side on an event loop; round trips run in the loop, asked for from this thread."""

    def __init__(self, port: int) -> None:
        self.ready = threading.Event()
        threading.Thread(target=lambda: run_loop(self.live(port)), daemon=True).start()
        assert self.ready.wait(10)

    async def live(self, port: int) -> None:
        """Connect and stay connected."""
        self.loop = asyncio.get_running_loop()
        await self.connect(port)
        self.ready.set()
        await asyncio.Event().wait()

    def complete(self) -> None:
        """One round trip is complete; begin the next, as an agent acts on an answer: in the same callback."""
        self.taken.append(time.perf_counter() - self.start)
        if len(self.taken) < self.count:
            self.begin()
        else:
            self.done.set()

    def measure(self, payload: bytes, count: int) -> list[float]:
        """Seconds of each of ``count`` round trips."""
        self.payload, self.count, self.taken, self.done = payload, count, [], threading.Event()
        self.loop.call_soon_threadsafe(self.begin)
        assert self.done.wait(60)
        return self.taken

    def begin(self) -> None:
        """Begin a round trip."""
        self.start = time.perf_counter()
        self.send()


class BareClient(LoopClient, asyncio.BufferedProtocol):
    """The raw socket's device side on an event loop."""

    async def connect(self, port: int) -> None:
        """Connect."""
        self.reply, self.have = memoryview(bytearray(REPLY_BYTES)), 0
        self.transport, _ = await self.loop.create_connection(lambda: self, "127.0.0.1", port)
        prepare_socket(self.transport.get_extra_info("socket"))

    def send(self) -> None:
        """Send a request."""
        self.transport.writelines((len(self.payload).to_bytes(4, "little"), self.payload))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where received bytes go."""
        return self.reply[self.have :]

    def buffer_updated(self, nbytes: int) -> None:
        """Some of the reply has come."""
        self.have += nbytes
        if self.have == REPLY_BYTES:
            self.have = 0
            self.complete()


class HastenClient(LoopClient):
    """hasten's device side."""

    async def connect(self, port: int) -> None:
        """Connect."""
        self.uplink = Uplink(NetworkDialer("127.0.0.1", port, None), Hello(bytes(32), b"", "benchmark"), self)
        await self.uplink.start()

    def send(self) -> None:
        """Send a task."""
        head = submit_head(1, 0, 1, math.inf, HEAD, len(self.payload))
        self.uplink.send(head, self.payload)

    def edge_connected(self, welcome):
        """Nothing to do."""

    def edge_lost(self, reason):
        """The benchmark is over."""
        raise SystemExit(reason)

    def edge_answered(self, task, answer):
        """The answer has come."""
        self.complete()


def start_server(kind: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, __file__, "--serve", kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description="hasten's frames against a raw blocking socket.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", choices=["raw", "bare", "hasten"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        {"raw": serve_raw, "bare": serve_bare, "hasten": serve_hasten}[arguments.serve]()
        return
    servers = {kind: start_server(kind) for kind in ("raw", "bare", "hasten")}
    try:
        raw = RawClient(servers["raw"][1])
        on_loops = {"bare": BareClient(servers["bare"][1]), "hasten": HastenClient(servers["hasten"][1])}
        print(
            f"{'bytes':>9} {'raw us':>9} {'loop us':>9} {'ratio':>6} {'hasten us':>10} {'ratio':>6}   (budget {BUDGET})"
        )
        for size in SIZES:
            payload = bytes(size)
            taken: dict[str, list[float]] = {"raw": [], "bare": [], "hasten": []}
            for _ in range(arguments.rounds):
                taken["raw"] += [raw.measure(payload) for _ in range(25)][5:]
                for kind, client in on_loops.items():
                    taken[kind] += client.measure(payload, 25)[5:]
            raw_us, bare_us, ours_us = (1e6 * statistics.median(it) for it in taken.values())
            print(
                f"{size:>9} {raw_us:>9.0f} {bare_us:>9.0f} {bare_us / raw_us:>6.2f} "
                f"{ours_us:>10.0f} {ours_us / raw_us:>6.2f}"
            )
    finally:
        for server, _ in servers.values():
            server.terminate()


if __name__ == "__main__":
    main()
