"""Does it last? Edge, link and devices as processes of their own at 80 % load, with faults at random, for half an hour.

Four devices send every task to one edge behind an emulated link. The edge's tasks take 25 ms (it plays a slower
machine, so other programs on this computer matter little), the devices offer 0.8 of what it can do. Every few seconds
something goes wrong, drawn from a seed: the edge is killed and started again, or freezes (SIGSTOP); the link is cut,
swallows everything, or goes on at 1 % of its rate; a device is ended and started again. What is asked for at the end:

- memory (anonymous, of each process that lives on to the end) is flat: its median over the last fifth of that life is
  at most 5 % above that over the first fifth, which begins after a minute of warming up;
- each task has exactly one outcome: numbers without a gap in each device's log, and all of them where a device is told
  how many tasks to do;
- no answer is wrong: each is what the package itself says of that frame at the exit that answered;
- the edge is used in the end.

The edge is killed, and two of the devices are restarted, in the first half only, so that there is a life to look at.

Usage: python benchmarks/soak.py [--minutes 30] [--seed 0] [--write] [FILE.hasten]
Without a file a residual network with random weights is built first.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from segments import built_here

from hasten.runtime.local.processes import Child
from hasten.split.executor import Executor
from hasten.split.package import Package, open_package

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: written by benchmarks/soak.py -->", "<!-- end of soak -->"
DEVICES, RATE_HZ, TASK_MS, DEADLINE_MS = 4, 8.0, 25.0, 250.0
RESTARTED = 2
"""So many of the devices are started again now and then."""
MBPS, RTT_MS, SLOW = 50.0, 10.0, 0.01
GAP_S, LASTS_S = (6.0, 18.0), (1.0, 5.0)
SAMPLE_S, WARM_S, FLAT = 2.0, 60.0, 1.05
START_S = 60.0


@dataclass
class Life:
    """A process from start to end, and what it held in memory: (second, MB)."""

    name: str
    process: subprocess.Popen[str] | None
    pid: int
    log: Path | None = None
    tasks: int | None = None
    """How many it has to do, if it is told."""
    held: list[tuple[float, float]] = field(default_factory=list)

    def sample(self, at_s: float) -> None:
        """Note what it holds now, while it lives."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return
        found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
        self.held += [(at_s, int(kb) / 1024.0) for kb in found]

    def growth(self, from_s: float, until_s: float) -> tuple[float, float] | None:
        """Medians of the first and the last fifth between two moments; None if it did not live through both."""
        inside = [mb for at_s, mb in self.held if from_s <= at_s <= until_s]
        if len(inside) < 10 or self.held[0][0] > from_s or self.held[-1][0] < until_s - 3.0 * SAMPLE_S:
            return None
        fifth = max(len(inside) // 5, 2)
        return statistics.median(inside[:fifth]), statistics.median(inside[-fifth:])


class Soak:
    """All processes, and what is done to them."""

    def __init__(self, package: Package, folder: Path, seconds: float, stack: ExitStack) -> None:
        self.lives: list[Life] = []
        self._package, self._folder, self._seconds = package, folder, seconds
        profile = package.profile
        whole_ms = sum(block.edge_ms for block in profile.blocks) + profile.exits[-1].edge_ms
        first_ms = sum(b.device_ms for b in profile.blocks[: profile.exits[0].after_block]) + profile.exits[0].device_ms
        self._edge_slowdown, self._device_slowdown = TASK_MS / whole_ms, max(40.0 / first_ms, 1.0)
        self._stack = stack
        self._port = self._next = 0
        self.edge = self.start_edge()
        self._relay = Child("relay", "link")
        stack.callback(self._relay.end)
        ports = self._relay.ask("start", host="127.0.0.1", port=self._port, rtt_ms=RTT_MS, devices=DEVICES)["ports"]
        trace = {"from_ms": [0.0], "bits_per_ms": [1000.0 * MBPS], "period_ms": None}
        self._relay.ask("load", traces=[trace])
        self._relay.ask("begin", at_ms=0.0)
        self.lives.append(Life("link", None, self._relay.pid))
        self._ports = ports
        self.devices = [self.start_device(number) for number in range(DEVICES)]

    def _start(self, name: str, *words: object, **facts: object) -> Life:
        order = [sys.executable, "-m", "hasten", *map(str, words)]
        errors = (self._folder / f"{name}.err").open("a")
        process = subprocess.Popen(order, stdout=subprocess.PIPE, stderr=errors, text=True)
        errors.close()
        self._stack.callback(end, process)
        life = Life(name, process, process.pid, **facts)  # type: ignore[arg-type]
        self.lives.append(life)
        return life

    def start_edge(self) -> Life:
        """At the same port each time."""
        words = ("--port", self._port, "--slowdown", self._edge_slowdown)
        life = self._start("edge", "edge", self._package.path, *words)
        assert life.process is not None and life.process.stdout is not None
        said = life.process.stdout.readline()
        assert said.startswith("edge serves"), said
        self._port = int(said.strip().rpartition(":")[2])
        return life

    def start_device(self, number: int) -> Life:
        """One that is not restarted has a number of tasks to do."""
        name = f"device {number}"
        log = self._folder / f"{number}-{len(self.lives)}.jsonl"
        tasks = None if number < RESTARTED else int(RATE_HZ * self._seconds)
        words = [
            "--edge", f"127.0.0.1:{self._ports[number]}", "--deadline-ms", DEADLINE_MS, "--scheduler", "fixed:4,0",
            "--arrivals", f"poisson:{RATE_HZ}", "--seed", len(self.lives), "--log", log,
            "--slowdown", self._device_slowdown,
        ]  # fmt: skip
        words += ["--tasks", tasks] if tasks else []
        return self._start(name, "device", self._package.path, *words, log=log, tasks=tasks)

    def kill_edge(self) -> Callable[[], None]:
        """Gone at once, and started again."""
        assert self.edge.process is not None
        self.edge.process.kill()
        self.edge.process.wait()

        def again() -> None:
            self.edge = self.start_edge()

        return again

    def freeze_edge(self) -> Callable[[], None]:
        """It stands still, and goes on."""
        process = self.edge.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        return lambda: process.send_signal(signal.SIGCONT)

    def cut_link(self) -> Callable[[], None]:
        """All connections break."""
        self._relay.ask("fault", kind="cut")
        return lambda: None

    def silence_link(self) -> Callable[[], None]:
        """It swallows everything, and breaks its connections in the end: what was swallowed never comes."""
        self._relay.ask("fault", kind="silent", on=True)

        def over() -> None:
            self._relay.ask("fault", kind="silent", on=False)
            self._relay.ask("fault", kind="cut")

        return over

    def slow_link(self) -> Callable[[], None]:
        """One per cent of its rate."""
        self._relay.ask("scale", factor=SLOW)

        def over() -> None:
            self._relay.ask("scale", factor=1.0)

        return over

    def restart_device(self) -> Callable[[], None]:
        """Ended by SIGTERM, and started again; in turns."""
        number = self._next = (self._next + 1) % RESTARTED
        process = self.devices[number].process
        assert process is not None
        process.terminate()
        process.wait(20)

        def again() -> None:
            self.devices[number] = self.start_device(number)

        return again

    def play(self, rng: random.Random) -> Counter[str]:
        """Faults until the time is over; how many of each."""
        early = {"edge killed": self.kill_edge, "device restarted": self.restart_device}
        always = {
            "edge frozen": self.freeze_edge, "link cut": self.cut_link, "link silent": self.silence_link,
            "link at 1 %": self.slow_link,
        }  # fmt: skip
        done: Counter[str] = Counter()
        begin_s = time.monotonic()
        while (now_s := time.monotonic() - begin_s) < self._seconds - 20.0:
            kinds = {**always, **early} if now_s < 0.5 * self._seconds else always
            kind = rng.choice(sorted(kinds))
            over = kinds[kind]()
            done[kind] += 1
            self._pass(begin_s, rng.uniform(*LASTS_S))
            over()
            self._pass(begin_s, rng.uniform(*GAP_S))
        self._pass(begin_s, max(self._seconds - (time.monotonic() - begin_s), 0.0))
        return done

    def _pass(self, begin_s: float, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0.0:
            time.sleep(min(left_s, SAMPLE_S))
            for life in self.lives:
                life.sample(time.monotonic() - begin_s)

    def finish(self) -> None:
        """Those with a number of tasks do them all; the others are asked to end."""
        for number, life in enumerate(self.devices):
            assert life.process is not None
            if number < RESTARTED:
                life.process.terminate()
            life.process.wait(START_S + 0.2 * self._seconds)


def end(process: subprocess.Popen[str]) -> None:
    """Whatever it is at."""
    process.kill()
    process.communicate()


def answers(package: Package) -> dict[tuple[int, int], int]:
    """(sample, exit) -> the class that the package itself gives."""
    run, frames = Executor(package), package.samples()[0]
    return {
        (sample, exit_): int(np.argmax(run.outputs(0, exit_, [frames[sample : sample + 1]])["logits"]))
        for sample in range(len(frames))
        for exit_ in range(1, len(package.manifest.exits) + 1)
    }


def records(life: Life) -> Iterator[dict[str, object]]:
    """What a device has logged."""
    if life.log is not None and life.log.exists():
        with life.log.open() as file:
            yield from map(json.loads, file)


def judge(lives: list[Life], right: dict[tuple[int, int], int]) -> tuple[Counter[str], list[str]]:
    """What became of tasks, and what is not as promised."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for life in (it for it in lives if it.log is not None):
        numbers: Counter[int] = Counter()
        last: list[bool] = []
        for record in records(life):
            numbers[int(str(record["task"]))] += 1
            counts["tasks"] += 1
            counts[str(record["outcome"])] += 1
            given = record["class"]
            by_edge = record["fallback"] is None and given is not None
            counts["by the edge"] += by_edge
            last = [*last[-19:], by_edge]
            if given is not None and given != right[int(str(record["sample"])), int(str(record["answered_exit"]))]:
                wrong.append(f"{life.name}: task {record['task']}: a wrong answer")
        expected = range(life.tasks if life.tasks is not None else max(numbers, default=-1) + 1)
        if list(numbers) and (sorted(numbers) != list(expected) or max(numbers.values()) > 1):
            wrong.append(f"{life.name}: {sum(numbers.values())} outcomes of {len(expected)} tasks")
        if not any(last) and life.tasks is not None:
            wrong.append(f"{life.name}: the edge is not used in the end")
    return counts, wrong


def memory(lives: list[Life], seconds: float) -> tuple[list[str], list[str]]:
    """Rows of a table, and which process grows."""
    rows, grows = [], []
    for life in lives:
        from_s = max(WARM_S, life.held[0][0] + WARM_S) if life.held else seconds
        found = life.growth(min(from_s, 0.6 * seconds), seconds) if from_s < 0.7 * seconds else None
        if found is not None:
            share = found[1] / found[0]
            rows.append(
                f"| {life.name} | {(seconds - from_s) / 60:.0f} | {found[0]:.1f} | {found[1]:.1f} | {share:.3f} |"
            )
            if share > FLAT:
                grows.append(f"{life.name}: memory grows {share:.3f} times")
    return rows, grows


def main() -> int:
    """Play, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reliability.md")
    given = parser.parse_args()
    seconds = 60.0 * given.minutes
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        package = open_package(given.file) if given.file else built_here(folder)
        soak = Soak(package, folder, seconds, stack)
        faults = soak.play(random.Random(given.seed))
        soak.finish()
        counts, wrong = judge(soak.lives, answers(package))
    rows, grows = memory(soak.lives, seconds)
    shown = report(given, faults, counts, rows)
    print(shown, *wrong, *grows, "held" if not wrong + grows else "NOT HELD", sep="\n")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{shown}\n{END}{tail}", encoding="utf-8")
    return 1 if wrong + grows else 0


def report(given: argparse.Namespace, faults: Counter[str], counts: Counter[str], rows: list[str]) -> str:
    """Tables in Markdown."""
    tasks = max(counts["tasks"], 1)
    told = f"{given.minutes:g} minutes, seed {given.seed}: {counts['tasks']:,} tasks with an outcome"
    shares = ", ".join(f"{100 * counts[name] / tasks:.1f} % {text}" for name, text in SHARES)
    played = ", ".join(f"{kind} {count} times" for kind, count in sorted(faults.items()))
    head = ["| Process | Minutes looked at | MB at first | MB at last | Ratio |", "|---|---|---|---|---|"]
    return "\n".join([f"{told}: {shares}.", f"Faults: {played}.", "", *head, *rows])


SHARES = (("on_time", "in time"), ("late", "late"), ("dropped", "given up"), ("by the edge", "answered by the edge"))

if __name__ == "__main__":
    sys.exit(main())
