"""What does the runtime cost around the inference engine? Throughput of the edge, and one task end to end.

1. Edge throughput. Peer: a loop over decode and finish with ONNX Runtime, nothing else. hasten: the edge node in its
   own process, fed by a client that keeps a few tasks under way. Ratio of tasks per second; budget at least 0.90.
2. End to end, tasks now and then. Peer: prefix, codec, a raw blocking socket, decode, finish, 16 bytes back, in two
   processes. hasten: its device agent (a scheduler decides, threads hand over, estimates are kept, each task is logged)
   against its edge node, without an emulated link. The two take turns; ratio of median latencies, and of the tenth
   that was least disturbed; budget at most 1.10.

Usage: python benchmarks/edge_throughput.py [--seconds S] [--tasks N] [FILE.hasten]
Without a file a residual network with random weights is built first.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from segments import built_here

from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.dialing import NetworkDialer
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.sources import open_source
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.server import real_core, start_edge
from hasten.runtime.pace import now_ms
from hasten.runtime.sockets import prepare_socket, run_loop
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.tasks import payload_head, submit_head
from hasten.schedulers import make_scheduler
from hasten.split.codecs import make_codec
from hasten.split.executor import Executor
from hasten.split.package import Package, open_package

UNDER_WAY, ROUNDS = 4, 5
GAP_MS = 40.0
LEAST_THROUGHPUT, MOST_LATENCY = 0.90, 1.10
REPLY = struct.Struct("<QII")


def serve_hasten(path: Path) -> None:
    async def serve() -> None:
        server = await start_edge(real_core([open_package(path)]))
        print(server.port, flush=True)
        await asyncio.Event().wait()

    run_loop(serve())


def serve_raw(path: Path) -> None:
    """The peer's edge: size, cut, exit and payload in; the class out."""
    package = open_package(path)
    executor = Executor(package)
    codecs = [make_codec(cut.codec) for cut in package.manifest.cuts]
    executor.warm()
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            prepare_socket(connection)
            stream = connection.makefile("rb")
            while head := stream.read(8):
                size, cut, exit_ = struct.unpack("<IHH", head)
                tensors = codecs[cut].decode(stream.read(size), package.manifest.cuts[cut].tensors)
                connection.sendall(REPLY.pack(int(executor.finish(cut, exit_, tensors).argmax()), 0, 0))


class Feeder:
    """Keeps a few tasks under way at an edge and counts the answers."""

    def __init__(self, package: Package, cut: int, exit_: int) -> None:
        self.cut, self.exit, self.number, self.answers = cut, exit_, 0, 0
        self.head, self.payload = payload_head(package.manifest.cuts[cut]), payload_at(package, cut)
        self.hello = Hello(bytes.fromhex(package.digest), b"", "feeder")

    async def run(self, port: int, seconds: float) -> float:
        """Answers per second, after a short warm-up."""
        self.uplink = Uplink(NetworkDialer("127.0.0.1", port, None), self.hello, self)
        await self.uplink.start()
        for _ in range(UNDER_WAY):
            self.feed()
        await asyncio.sleep(0.3)
        before, start = self.answers, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (self.answers - before) / (time.perf_counter() - start)
        await self.uplink.close()
        return rate

    def feed(self) -> None:
        """Send one more task."""
        self.number += 1
        head = submit_head(self.number, self.cut, self.exit, math.inf, self.head, len(self.payload))
        self.uplink.send(head, self.payload)

    def edge_connected(self, welcome):
        """Nothing to do."""

    def edge_lost(self, reason):
        """Nothing to do."""

    def edge_refused(self, task, refuse):
        """There is nothing to measure."""
        raise SystemExit(refuse.text)

    def edge_answered(self, task, answer):
        """Keep it fed."""
        self.answers += 1
        self.feed()


def payload_at(package: Package, cut: int) -> bytes:
    frame = package.samples()[0][:1]
    tensors = Executor(package).prefix(cut, [frame]) if cut else [frame]
    return make_codec(package.manifest.cuts[cut].codec).encode(tensors, package.manifest.cuts[cut].tensors)


def bare_rate(package: Package, cut: int, exit_: int, seconds: float) -> float:
    """The peer's tasks per second."""
    executor, codec = Executor(package), make_codec(package.manifest.cuts[cut].codec)
    specs, payload = package.manifest.cuts[cut].tensors, payload_at(package, cut)
    executor.finish(cut, exit_, codec.decode(payload, specs))
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        executor.finish(cut, exit_, codec.decode(payload, specs)).argmax()
        count += 1
    return count / (time.perf_counter() - start)


def raw_latencies(package: Package, port: int, cut: int, exit_: int, tasks: int) -> list[float]:
    """The peer end to end, in ms."""
    executor, codec = Executor(package), make_codec(package.manifest.cuts[cut].codec)
    executor.warm([(exit_, cut)])
    frames, specs = package.samples()[0], package.manifest.cuts[cut].tensors
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        prepare_socket(connection)
        stream = connection.makefile("rb")
        for i in range(tasks):
            time.sleep(GAP_MS / 1000.0)
            frame = frames[i % len(frames)][np.newaxis]
            start = time.perf_counter()
            payload = codec.encode(executor.prefix(cut, [frame]) if cut else [frame], specs)
            connection.sendall(struct.pack("<IHH", len(payload), cut, exit_) + payload)
            stream.read(REPLY.size)
            taken.append(1000.0 * (time.perf_counter() - start))
    return taken


def agent_latencies(package: Package, port: int, cut: int, exit_: int, tasks: int) -> list[float]:
    """Hasten end to end, in ms."""

    async def run() -> list[float]:
        executor = Executor(package)
        executor.warm([(exit_, cut)])
        hello = Hello(bytes.fromhex(package.digest), b"", "agent")
        agent = DeviceAgent(
            package,
            executor,
            make_scheduler(f"fixed:{exit_},{cut}"),
            AgentSettings(deadline_ms=10_000.0, rate_hz=1000.0 / GAP_MS),
            lambda user: Uplink(NetworkDialer("127.0.0.1", port, None), hello, user),
        )
        log = TaskLog(None, keep=True)
        await agent.prepare()
        await agent.run(open_source("samples", package).arrivals(GAP_MS * np.arange(tasks), 0), now_ms() + 50.0, log)
        await agent.close()
        return [record["latency_ms"] for record in log.records]

    found = run_loop(run())
    assert found is not None
    return found


def start_server(kind: str, path: Path) -> tuple[subprocess.Popen[str], int]:
    order = [sys.executable, __file__, "--serve", kind, str(path)]
    process = subprocess.Popen(order, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def compare(package: Package, seconds: float, tasks: int) -> None:
    last, exits = package.manifest.block_count, len(package.manifest.exits)
    hasten, hasten_port = start_server("hasten", package.path)
    raw, raw_port = start_server("raw", package.path)
    try:
        print(f"edge throughput, tasks/s (budget: at least {LEAST_THROUGHPUT})")
        print(f"{'cut':>4} {'exit':>5} {'bare loop':>10} {'edge node':>10} {'ratio':>6}")
        for cut in (0, last // 2):
            bare, served = [], []
            for _ in range(ROUNDS):
                bare.append(bare_rate(package, cut, exits, seconds))
                served.append(asyncio.run(Feeder(package, cut, exits).run(hasten_port, seconds)))
            ratio = statistics.median(a / b for a, b in zip(served, bare, strict=True))
            print(
                f"{cut:>4} {exits:>5} {statistics.median(bare):>10.0f} {statistics.median(served):>10.0f} {ratio:>6.2f}"
            )
        print(f"\nend to end, median ms (budget: at most {MOST_LATENCY} times)")
        print(f"{'cut':>4} {'exit':>5} {'raw':>10} {'hasten':>10} {'ratio':>6} {'undisturbed':>12}")
        for cut in (0, last // 2):
            raw_ms: list[float] = []
            ours_ms: list[float] = []
            for _ in range(ROUNDS):
                raw_ms += raw_latencies(package, raw_port, cut, exits, tasks // ROUNDS)
                ours_ms += agent_latencies(package, hasten_port, cut, exits, tasks // ROUNDS)
            peer, ours = (np.quantile(values, [0.5, 0.1]) for values in (raw_ms, ours_ms))
            ratios = ours / peer
            print(f"{cut:>4} {exits:>5} {peer[0]:>10.2f} {ours[0]:>10.2f} {ratios[0]:>6.2f} {ratios[1]:>12.2f}")
    finally:
        hasten.terminate()
        raw.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="The runtime around the inference engine.")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--tasks", type=int, default=150)
    parser.add_argument("--serve", choices=["raw", "hasten"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        {"raw": serve_raw, "hasten": serve_hasten}[arguments.serve](arguments.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(
            open_package(arguments.file) if arguments.file else built_here(Path(folder)),
            arguments.seconds,
            arguments.tasks,
        )


if __name__ == "__main__":
    main()
