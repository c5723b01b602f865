"""What does a task cost more when a replica on Ray Serve computes it instead of a thread of the edge?

Two edges with the same package, each in its own process: one computes in a thread, the other by one replica on a Ray
cluster of this machine. One client asks both in turns, one task at a time, so that whatever else the machine does falls
on both. Median latencies, the median of the differences, and of each edge's own time at work on a task.

Usage: python benchmarks/ray_serve.py [--tasks N] [FILE.hasten]
Without a file a residual network with random weights is built first. Needs hasten[serve].
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_throughput import payload_at
from segments import built_here

import hasten as hs
from hasten.runtime.device.dialing import NetworkDialer
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.tasks import EdgeAnswer, payload_head, submit_head
from hasten.split.package import Package, open_package

KINDS = ("embedded", "ray")
WARM_UP = 50


def serve(kind: str, path: Path) -> None:
    with hs.Edge([path], port=0, **({"ray": "local"} if kind == "ray" else {})) as edge:
        print(edge.address.rpartition(":")[2], flush=True)
        sys.stdin.read()


class Asker:
    """Asks one edge one task at a time."""

    def __init__(self, package: Package, port: int) -> None:
        self.answer: asyncio.Future[EdgeAnswer] = asyncio.get_running_loop().create_future()
        self.number = 0
        hello = Hello(bytes.fromhex(package.digest), b"", "asker")
        self.uplink = Uplink(NetworkDialer("127.0.0.1", port, None), hello, self)

    async def ask(self, cut: int, exit_: int, types: bytes, payload: bytes) -> tuple[float, float]:
        """Latency, and the edge's time at work, in ms."""
        self.number += 1
        self.answer = asyncio.get_running_loop().create_future()
        start = time.perf_counter()
        self.uplink.send(submit_head(self.number, cut, exit_, math.inf, types, len(payload)), payload)
        answer = await self.answer
        return 1e3 * (time.perf_counter() - start), (answer.compute_us + answer.decode_us) / 1e3

    def edge_connected(self, welcome):
        """Nothing to do."""

    def edge_lost(self, reason):
        """Nothing to do."""

    def edge_refused(self, task, refusal):
        """It should not happen."""
        self.answer.set_exception(RuntimeError(str(refusal)))

    def edge_answered(self, task, answer):
        """It is the only one under way."""
        self.answer.set_result(answer)


async def compare(package: Package, ports: dict[str, int], tasks: int) -> None:
    askers = {kind: Asker(package, port) for kind, port in ports.items()}
    for asker in askers.values():
        await asker.uplink.start()
    last = len(package.manifest.exits)
    print(f"{'cut':>4} {'exit':>5} {'bytes':>8}  {'embedded':>9} {'ray':>9} {'more':>9}   at work: embedded, ray (ms)")
    for cut in sorted({0, package.manifest.block_count // 2}):
        types, payload = payload_head(package.manifest.cuts[cut]), payload_at(package, cut)
        size = sum(spec.nbytes for spec in package.manifest.cuts[cut].tensors)
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for number in range(WARM_UP + tasks):
            for kind in KINDS[:: 1 if number % 2 else -1]:
                measured = await askers[kind].ask(cut, last, types, payload)
                if number >= WARM_UP:
                    found[kind].append(measured)
        latency, work = ({kind: [it[i] for it in found[kind]] for kind in KINDS} for i in range(2))
        more = statistics.median(b - a for a, b in zip(latency["embedded"], latency["ray"], strict=True))
        medians = [statistics.median(each[kind]) for each in (latency, work) for kind in KINDS]
        print(
            f"{cut:>4} {last:>5} {size:>8}  {medians[0]:>9.2f} {medians[1]:>9.2f} {more:>9.2f}"
            f"   {medians[2]:.2f}, {medians[3]:.2f}"
        )
    for asker in askers.values():
        await asker.uplink.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="What a task costs more on Ray Serve.")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        package = open_package(arguments.file) if arguments.file else built_here(Path(folder))
        started = {
            kind: subprocess.Popen(
                [sys.executable, __file__, "--serve", kind, str(package.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for kind in KINDS
        }
        try:
            ports = {kind: int(process.stdout.readline()) for kind, process in started.items() if process.stdout}
            asyncio.run(compare(package, ports, arguments.tasks))
        finally:
            for process in started.values():
                process.communicate()  # the end of its input ends it


if __name__ == "__main__":
    main()
