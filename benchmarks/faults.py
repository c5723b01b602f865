"""Random schedules of faults in virtual time, as many as asked for; writes the table of docs/reliability.md.

A third of the seeds draw from all kinds of faults, one to four that may overlap; the others have one kind each. A
seed's run is the same on any computer. Whatever breaks a promise is printed with its seed and the least faults that
break one, and the script ends with 1. With ``--edges 2`` devices choose between two edges, and faults of edges and
links are of one of them or of both at once.

Usage: python benchmarks/faults.py [--seeds 5000] [--first 0] [--edges 2] [--write]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fault_schedules import KINDS, OF_DEVICES, draw, draw_edges  # noqa: E402
from fault_world import play_faults, told  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"
MARKS = {
    1: ("<!-- faults: written by benchmarks/faults.py -->", "<!-- end of faults -->"),
    2: ("<!-- faults of two edges: written by benchmarks/faults.py -->", "<!-- end of faults of two edges -->"),
}
ALL = "any, overlapping"


@dataclass(frozen=True)
class Row:
    """What came of one schedule."""

    kind: str
    tasks: int
    during: int
    """Tasks that came while something was wrong,"""
    on_time: int
    """and those of them with an answer in time."""
    latest_ms: float
    back_ms: float
    broken: str


def kinds(edges: int) -> Sequence[str]:
    """Those that are worth a row: with two edges not again what does not differ by edge."""
    return KINDS if edges == 1 else [kind for kind in KINDS if kind not in OF_DEVICES]


def one(job: tuple[int, str, int]) -> Row:
    """Play a seed with so many edges; of one kind of fault, or of all."""
    seed, kind, edges = job
    drawing = draw if edges == 1 else draw_edges
    played = play_faults(drawing(seed, KINDS if kind == ALL else (kind,)))
    during = played.during()
    on_time = sum(task.outcome is not None and task.outcome.value == "on_time" for task in during)
    broken = told(played) if played.broken else ""
    return Row(kind, len(played.tasks), len(during), on_time, played.latest_ms, played.back_ms, broken)


def jobs(first: int, seeds: int, edges: int) -> list[tuple[int, str, int]]:
    """Every third seed of all kinds, the others in turns of one."""
    each = kinds(edges)
    return [(seed, ALL if seed % 3 == 0 else each[seed % len(each)], edges) for seed in range(first, first + seeds)]


def table(rows: Sequence[Row]) -> str:
    """A line for each kind, the mixture last."""
    heads = (
        "Fault",
        "Schedules",
        "Tasks",
        "In time during it",
        "Last outcome after its deadline",
        "Back after",
        "Broken",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind in (*KINDS, ALL):
        of = [row for row in rows if row.kind == kind]
        if of:
            during = sum(row.during for row in of)
            share = 100.0 * sum(row.on_time for row in of) / during if during else 100.0
            latest, back = max(row.latest_ms for row in of), max(row.back_ms for row in of) / 1000.0
            tasks, broken = sum(row.tasks for row in of), sum(bool(row.broken) for row in of)
            cells = kind, f"{len(of):,}", f"{tasks:,}", f"{share:.1f} %", f"{latest:.0f} ms", f"{back:.1f} s", broken
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--edges", type=int, choices=sorted(MARKS), default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 2)) as pool:
        rows = list(pool.map(one, jobs(given.first, given.seeds, given.edges), chunksize=20))
    shown = table(rows)
    print(shown)
    broken = [row.broken for row in rows if row.broken]
    print(*broken, sep="\n")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        begin, end = MARKS[given.edges]
        head, tail = text.split(begin)[0], text.split(end)[1]
        said = f"Seeds {given.first} to {given.first + given.seeds - 1}."
        PAGE.write_text(f"{head}{begin}\n{said}\n\n{shown}\n{end}{tail}", encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
