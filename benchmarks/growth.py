"""What do 10,000 devices on 100 edges cost, and where does it break first? Unit costs, a sum on paper, a simulation.

1. Unit costs, measured: an edge in its own process, 400 connections from here: memory, file descriptors and processor
   time for a connection, a ping, a task that is refused at once, a task that is served (without its inference); what
   admission takes with so many tasks waiting; what a decision takes on a device. Processor times are the process's own,
   so other programs disturb them little.
2. On paper: what follows for an edge with so many devices, and at how many each resource is used up.
3. Simulation: edges do not depend on each other, so 100 edges with 100 devices each are 100 realizations of a scenario,
   in one batch; and what becomes of on-time accuracy with more devices for each edge. Devices see what real ones see.

Numbers are written to docs/results/growth.json, and the tables into docs/growth.md, with --write.

Usage: python benchmarks/growth.py [--edges 100] [--write] [FILE.hasten]
Without a file a residual network with random weights is built first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from segments import built_here

from hasten.core.profile_names import load_profile
from hasten.core.scenario import Scenario, load_scenario
from hasten.runtime.device.dialing import NetworkDialer
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.carried import CarriedWork
from hasten.runtime.edge.core import EdgeCore
from hasten.runtime.edge.queue import Ticket
from hasten.runtime.edge.served import Request, Served
from hasten.runtime.sockets import run_loop
from hasten.runtime.virtual.play import Machines, play
from hasten.runtime.wire.handshake import Hello
from hasten.runtime.wire.load import pong_bytes
from hasten.runtime.wire.tasks import payload_head, submit_head
from hasten.schedulers import make_scheduler
from hasten.sim.engine import simulate_realizations
from hasten.split.codecs import make_codec
from hasten.split.executor import Executor
from hasten.split.package import Package, open_package

DOCS = Path(__file__).parents[1] / "docs"
FILE, PAGE = DOCS / "results" / "growth.json", DOCS / "growth.md"
BEGIN, END = "<!-- growth: written by benchmarks/growth.py -->", "<!-- end of growth -->"
FEW, MANY = 100, 400
ASKING, TIMES = 4, 250
"""So many connections ask so often each."""
WAITING = (0, 16, 64, 256)
HEADERS_BYTES = 52
"""Of IP and TCP, with time stamps, for each packet."""
PACKET_BYTES = 1448
DEVICES = (25, 50, 100, 200, 400)
SCENARIO = """
schema: hasten.scenario/1
streams:
  - {{name: phone, count: {devices}, profile: efficientnet-b0, deadline_ms: 150, slowdown: 0.3333,
     arrivals: {{kind: poisson, rate_hz: 1}}}}
uplink: {{topology: dedicated, order: ready, rtt_ms: 10,
         rate: {{kind: gauss_markov, mean_mbps: 20, sigma_mbps: 6, memory: 0.95, step_ms: 100}}}}
edge: {{workers: 1, slowdown: 0.1}}
view: {{kind: device}}
horizon_ms: 20000
"""
"""Phones three times faster than the measured device, an edge ten times faster than the measured processor."""
EDGE_SLOWDOWN, RATE_HZ = 0.1, 1.0


class Watched:
    """An edge in a process of its own, and what it takes."""

    def __init__(self, package: Package) -> None:
        order = [sys.executable, "-m", "hasten", "edge", str(package.path), "--port", "0", "--max-devices", "2000"]
        self.process = subprocess.Popen(order, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        self._folder = Path(f"/proc/{self.process.pid}")

    def cpu_us(self) -> float:
        """Processor time so far, of all threads that live."""
        return sum(int(path.read_text().split()[0]) / 1e3 for path in self._folder.glob("task/*/schedstat"))

    def memory_kb(self) -> int:
        """Memory of its own."""
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    def descriptors(self) -> int:
        """Open files, sockets included."""
        return len(list((self._folder / "fd").iterdir()))


class Caller:
    """One connection, as a device's: counts what comes back."""

    def __init__(self, watched: Watched, package: Package, number: int) -> None:
        hello = Hello(bytes.fromhex(package.digest), b"", f"device {number}")
        self.uplink = Uplink(NetworkDialer("127.0.0.1", watched.port, None), hello, self)  # type: ignore[arg-type]
        self.came = 0

    def edge_connected(self, welcome: object) -> None:
        """Nothing to do."""

    def edge_lost(self, reason: str) -> None:
        """Nothing to do."""

    def edge_unreachable(self, reason: str) -> None:
        """Nothing to do."""

    def edge_answered(self, task: int, answer: object) -> None:
        """One more."""
        self.came += 1

    def edge_refused(self, task: int, refuse: object) -> None:
        """One more."""
        self.came += 1

    def edge_ponged(self, sequence: int, clock_ms: float, report: object) -> None:
        """One more."""
        self.came += 1


async def rounds(callers: list[Caller], count: int, send: Any) -> None:
    """``send(caller, number)`` so often by each, the next when all have been answered."""
    for number in range(1, count + 1):
        for caller in callers:
            caller.came = 0
            send(caller, number)
        while any(caller.came == 0 for caller in callers):
            await asyncio.sleep(0.001)


async def edge_costs(package: Package, watched: Watched) -> dict[str, float]:
    """Of connections, pings and tasks, at an edge."""
    callers = [Caller(watched, package, number) for number in range(MANY)]
    cuts, exits = package.manifest.cuts, len(package.manifest.exits)
    last = package.manifest.exits[-1].after_block - 1
    frame = package.samples()[0][:1]
    tensors = Executor(package).prefix(last, [frame])
    codecs = {cut: make_codec(cuts[cut].codec) for cut in (0, last)}
    payloads = {cut: codecs[cut].encode(tensors if cut else [frame], cuts[cut].tensors) for cut in codecs}

    def task(cut: int, latest_ms: float) -> Any:
        def send(caller: Caller, number: int) -> None:
            payload = payloads[cut]
            head = submit_head(number, cut, exits, latest_ms, payload_head(cuts[cut]), len(payload))
            caller.uplink.send(head, payload)

        return send

    for caller in callers[:FEW]:
        await caller.uplink.start()
    await asyncio.sleep(0.5)
    before = watched.memory_kb(), watched.descriptors(), watched.cpu_us()
    for caller in callers[FEW:]:
        await caller.uplink.start()
    await asyncio.sleep(0.5)
    more = MANY - FEW
    found = {
        "connection_kb": (watched.memory_kb() - before[0]) / more,
        "connection_descriptors": (watched.descriptors() - before[1]) / more,
        "connecting_us": (watched.cpu_us() - before[2]) / more,
        "edge_mb": before[0] / 1024.0 - FEW * (watched.memory_kb() - before[0]) / more / 1024.0,
    }
    idle_us = watched.cpu_us()
    await asyncio.sleep(2.0)
    found["idle_us_per_s"] = (watched.cpu_us() - idle_us) / 2.0
    for name, send in (
        ("ping_us", lambda caller, number: caller.uplink.ping(number, 0)),
        ("refused_us", task(0, -1e12)),
        ("served_us", task(last, math.inf)),
    ):
        await rounds(callers[:ASKING], 10, send)
        begun_us = watched.cpu_us()
        await rounds(callers[:ASKING], TIMES, send)
        found[name] = (watched.cpu_us() - begun_us) / (ASKING * TIMES)
    for caller in callers:
        await caller.uplink.close()
    found["inference_us"] = inference_us(package, last, exits, payloads[last])
    found["handled_us"] = max(found["served_us"] - found["inference_us"], found["refused_us"])
    return found


def inference_us(package: Package, cut: int, exit_: int, payload: bytes) -> float:
    """Processor time of decoding and finishing a task alone."""
    executor, specs = Executor(package), package.manifest.cuts[cut].tensors
    codec = make_codec(package.manifest.cuts[cut].codec)
    taken = []
    for _ in range(200):
        begun_ns = time.process_time_ns()
        executor.finish(cut, exit_, codec.decode(payload, specs))
        taken.append((time.process_time_ns() - begun_ns) / 1e3)
    return statistics.median(taken)


class _NeverDone:
    """Workers that run nothing."""

    count = 1

    def start(self) -> None:
        """Nothing to get ready."""

    def execute(self, worker: int, request: object, done: object) -> None:
        """It is never done."""

    def close(self, wait_s: float) -> None:
        """Nothing to end."""


class _StoodClock:
    """A clock that stands still."""

    def now_ms(self) -> float:
        """Always the same."""
        return 0.0

    def call_at(self, when_ms: float, call: object) -> None:
        """Never."""


def admission_us(package: Package) -> dict[int, float]:
    """Tasks that wait -> what it takes to take in one more, whose deadline is in the middle of theirs."""
    served = Served(package, runner=object())  # type: ignore[arg-type]
    found = {}
    for waiting in WAITING:
        core = EdgeCore([served], _NeverDone(), _StoodClock())  # type: ignore[arg-type]

        def submit(latest_ms: float, core: EdgeCore = core) -> Ticket:
            request = Request(served, 0, len(package.manifest.exits), list, 1000, latest_ms)
            return core.submit(request, lambda ticket, outcome: None, CarriedWork())

        submit(1e9)
        for number in range(waiting):
            submit(1e6 + number)
        taken = []
        for _ in range(300):
            begun_ns = time.thread_time_ns()
            ticket = submit(1e6 + waiting / 2.0)
            taken.append((time.thread_time_ns() - begun_ns) / 1e3)
            core.abandon(ticket)
        found[waiting] = statistics.median(taken)
    return found


def decision_us() -> float:
    """What greedy takes on a device, the network's options being those of the simulation: median, in microseconds."""
    profile = load_profile("efficientnet-b0")
    times_ms = [1000.0 * number for number in range(200)]
    machines = Machines(edge_slowdown=1.0)
    records, _ = play(profile, make_scheduler("greedy"), AgentSettings(150.0, 1.0), times_ms, None, machines)
    return statistics.median(record["decision_us"] for record in records[20:])


def simulated(devices: int, edges: int) -> dict[str, float]:
    """So many edges with so many devices each."""
    scenario = scenario_of(devices)
    realizations = [scenario.realize(seed) for seed in range(edges)]
    simulate_realizations(scenario, make_scheduler("greedy"), realizations[:1])  # compiled kernels are there
    begun_s = time.perf_counter()
    results = simulate_realizations(scenario, make_scheduler("greedy"), realizations)
    wall_s = time.perf_counter() - begun_s
    after = np.array([0] + [exit_.after_block for exit_ in scenario.devices[0].profile.exits])
    sent = [np.mean(it.decisions[:, 1] < after[it.decisions[:, 0]]) for it in results]
    accuracy = [it.on_time_accuracy for it in results]
    return {
        "devices": devices,
        "edges": edges,
        "tasks": sum(it.tasks for it in results),
        "wall_s": wall_s,
        "on_time_accuracy": float(np.mean(accuracy)),
        "worst_edge": float(np.min(accuracy)),
        "on_time": float(np.mean([np.mean(it.on_time) for it in results])),
        "sent": float(np.mean(sent)),
    }


def scenario_of(devices: int) -> Scenario:
    """The simulated one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "growth.yaml"
        path.write_text(SCENARIO.format(devices=devices))
        return load_scenario(path)


def paper(costs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of an edge as simulated: what each resource is used of by 100 devices, and at how many it is used up."""
    profile = load_profile("efficientnet-b0")
    whole_ms = EDGE_SLOWDOWN * (sum(block.edge_ms for block in profile.blocks) + profile.exits[-1].edge_ms)
    ping_bytes = 20 + pong_bytes(1) + 2 * HEADERS_BYTES
    task_bytes = profile.input_bytes + 60 + 70 + HEADERS_BYTES * (2 + profile.input_bytes / PACKET_BYTES)
    per_device = {
        "worker, whole networks (s per s)": (RATE_HZ * whole_ms / 1e3, 1.0),
        "edge process, handling (s per s)": (RATE_HZ * (costs["handled_us"] + costs["ping_us"]) / 1e6, 1.0),
        "connections": (1.0, 1000.0),
        "file descriptors": (costs["connection_descriptors"], 1024.0),
        "memory for connections (MB)": (costs["connection_kb"] / 1024.0, 1024.0),
        "network, whole frames (Mbit/s)": (8e-6 * RATE_HZ * (task_bytes + ping_bytes), 1000.0),
    }
    return {
        name: {"device": each, "hundred": 100.0 * each, "limit": limit, "devices": limit / each}
        for name, (each, limit) in per_device.items()
    }


def report(found: dict[str, Any]) -> str:
    """Tables in Markdown."""
    costs, texts = found["costs"], []
    rows = [
        ("a connection", f"{costs['connection_kb']:.0f} KB, {costs['connection_descriptors']:.0f} file descriptor"),
        ("connecting, HELLO to WELCOME", f"{costs['connecting_us']:.0f} us"),
        ("a ping and its answer", f"{costs['ping_us']:.0f} us"),
        ("a task that is refused at once", f"{costs['refused_us']:.0f} us"),
        ("a task that is served, less its inference alone", f"{costs['handled_us']:.0f} us"),
        (f"{MANY} connections on which nothing comes", f"{costs['idle_us_per_s'] / 1e4:.2f} % of a core"),
        ("the edge without connections", f"{costs['edge_mb']:.0f} MB"),
        *((f"admission of a task where {n} wait", f"{us:.0f} us") for n, us in costs["admission_us"].items()),
        ("a decision of `greedy` on a device", f"{costs['decision_us']:.0f} us"),
    ]
    texts += ["| At an edge, one core's time | |", "|---|---|", *(f"| {what} | {cost} |" for what, cost in rows), ""]
    texts += ["| Resource of one edge | for 100 devices | limit | used up by |", "|---|---|---|---|"]
    for name, it in found["paper"].items():
        texts.append(f"| {name} | {it['hundred']:.3g} | {it['limit']:,.0f} | {it['devices']:,.0f} devices |")
    heads = (
        "devices per edge",
        "edges",
        "tasks",
        "on-time accuracy",
        "worst edge",
        "on time",
        "sent to the edge",
        "seconds",
    )
    texts += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for it in found["simulated"]:
        shares = f"{it['on_time_accuracy']:.3f} | {it['worst_edge']:.3f} | {it['on_time']:.3f} | {it['sent']:.3f}"
        texts.append(f"| {it['devices']} | {it['edges']} | {it['tasks']:,} | {shares} | {it['wall_s']:.0f} |")
    return "\n".join(texts)


def main() -> None:
    """Measure, reckon, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--edges", type=int, default=100, help="of 100 devices each; a twentieth for other numbers")
    parser.add_argument("--write", action="store_true", help="put numbers and tables into docs/")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = open_package(given.file) if given.file else built_here(Path(folder))
        watched = Watched(package)
        try:
            costs: dict[str, Any] = run_loop(edge_costs(package, watched)) or {}
        finally:
            watched.process.kill()
            watched.process.wait()
        costs |= {"admission_us": admission_us(package), "decision_us": decision_us()}
    print(json.dumps(costs, indent=1), flush=True)
    rows = []
    for devices in DEVICES:
        rows.append(simulated(devices, given.edges if devices == 100 else max(given.edges // 20, 1)))
        print(rows[-1], flush=True)
    found = {"costs": costs, "paper": paper(costs), "simulated": rows}
    shown = report(found)
    print(shown)
    if given.write:
        FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{shown}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
