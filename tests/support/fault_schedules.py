"""Random schedules of faults, drawn from a seed, and the smallest part of one that still fails."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

KINDS = (
    "edge crash", "edge power loss", "edge freeze", "edge hangs", "edge slow", "edge clock jump", "edge reads slowly",
    "link cut", "link dead", "link dead up", "link dead down", "link at 1 %", "delays", "frame lost",
    "frames doubled", "frames damaged", "half open",
    "device reads slowly", "device restart", "device killed", "device power loss", "disk full", "machine stalls",
)  # fmt: skip
"""What is played. Datagrams are not: the runtime sends none. A package that changes while serving is not: none may."""
SILENT = {
    "edge power loss", "edge freeze", "edge hangs", "edge reads slowly", "link dead", "link dead up", "link dead down",
    "link at 1 %", "delays", "half open", "device reads slowly", "machine stalls", "frames damaged", "frames doubled",
}  # fmt: skip
"""Faults that nobody tells the device of."""
OF_EDGES = {"edge crash", "edge power loss", "edge freeze", "edge hangs", "edge slow", "edge clock jump"}
OF_DEVICES = {
    "device reads slowly", "device restart", "device killed", "device power loss", "disk full", "machine stalls",
}  # fmt: skip
"""Faults that do not differ by device, and by edge."""
FIRST_MS, LAST_MS = 400.0, 3500.0
SHORTEST_MS, LONGEST_MS = 30.0, 2500.0


@dataclass(frozen=True)
class Fault:
    """Something goes wrong at ``at_ms`` for ``lasts_ms``; ``size`` (0..1) is how badly, where that can differ."""

    kind: str
    at_ms: float
    lasts_ms: float
    device: int
    size: float
    edge: int = 0
    """Which of several, for faults of edges and links."""

    @property
    def ends_ms(self) -> float:
        return self.at_ms + self.lasts_ms

    def __str__(self) -> str:
        whose = "" if self.kind in OF_EDGES else f"device {self.device}, "
        which = "" if self.kind in OF_DEVICES else f"edge {self.edge}, "
        return f"{self.kind} at {self.at_ms:.0f} ms for {self.lasts_ms:.0f} ms ({whose}{which}size {self.size:.2f})"


@dataclass(frozen=True)
class Schedule:
    """A world and what goes wrong in it."""

    seed: int
    deadlines_ms: tuple[float, ...]
    """Of each device."""
    rates_hz: tuple[float, ...]
    schedulers: tuple[str, ...]
    workers: int
    faults: tuple[Fault, ...]
    edges: int = 1
    """That each device may choose among; alike."""


SCHEDULERS = ("greedy", "greedy:point", "fixed:4,0", "fixed:4,1", "cycle")
CHOOSING = ("greedy", "greedy", "greedy:point", "fixed:4,0", "fixed:4,1,1", "random")
"""Those that know several edges."""
BOTH_SHARE = 0.3
"""So many faults of edges and links, at random, are of two edges at once."""


def draw(seed: int, kinds: Sequence[str] = KINDS) -> Schedule:
    """One or two devices, and one to four faults that may overlap."""
    rng = random.Random(seed)
    devices = rng.choice((1, 1, 2))
    faults = tuple(
        Fault(
            rng.choice(kinds),
            round(rng.uniform(FIRST_MS, LAST_MS), 1),
            round(SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** rng.random(), 1),
            rng.randrange(devices),
            round(rng.random(), 3),
        )
        for _ in range(rng.choice((1, 2, 3, 4)))
    )
    return Schedule(
        seed,
        tuple(rng.choice((80.0, 100.0, 150.0)) for _ in range(devices)),
        tuple(rng.choice((4.0, 7.0, 10.0)) for _ in range(devices)),
        tuple(rng.choice(SCHEDULERS) for _ in range(devices)),
        rng.choice((1, 2)),
        tuple(sorted(faults, key=lambda fault: fault.at_ms)),
    )


def draw_edges(seed: int, kinds: Sequence[str] = KINDS) -> Schedule:
    """The same for devices that may choose between two edges; faults are of one of them, or of both at once."""
    drawn, rng = draw(seed, kinds), random.Random(f"{seed} edges")
    faults: list[Fault] = []
    for fault in drawn.faults:
        first = rng.randrange(2)
        faults.append(replace(fault, edge=first))
        if fault.kind not in OF_DEVICES and rng.random() < BOTH_SHARE:
            faults.append(replace(fault, edge=1 - first))
    schedulers = tuple(rng.choice(CHOOSING) for _ in drawn.schedulers)
    return replace(drawn, schedulers=schedulers, faults=tuple(faults), edges=2)


def shrunk(faults: Sequence[Fault], fails: Callable[[tuple[Fault, ...]], bool]) -> tuple[Fault, ...]:
    """Leave out one fault after the other as long as it still fails."""
    left = tuple(faults)
    position = 0
    while position < len(left):
        fewer = left[:position] + left[position + 1 :]
        if fails(fewer):
            left = fewer
        else:
            position += 1
    return left
