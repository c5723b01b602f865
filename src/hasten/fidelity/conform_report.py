"""The report of ``hasten conform``: how far the prediction is off, by runs and task by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.result_table import edge_share_text, flat_summary, task_columns
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.fidelity.conform import Conformed
from hasten.fidelity.prediction_errors import answered_exit, same_decisions
from hasten.report.charts import Chart, ChartLine, tone
from hasten.report.document import Block, Explore, Heading, Paragraph, TableBlock, write_html
from hasten.report.made import made_blocks
from hasten.report.tables import table_paths, write_columns, write_rows

READ_OFF = 400
MOST_TASKS = 4000
Pair = tuple[Result, Result]


def write_conform_report(path: Path, scenario: Scenario, found: Conformed, command: str) -> list[Path]:
    """Write the report and its tables; returns the files."""
    document, pairs = found
    side = "virtual time" if document["runtime"]["kind"] == "virtual" else "real processes"
    first = [pair for pair in pairs if pair[1].seed == min(run.seed for _, run in pairs)]
    blocks: list[Block] = [
        Heading(1, f"{scenario.name}: simulated, and run in {side}"),
        Paragraph(_lead(document), lead=True),
        _sides(document, side),
        Heading(2, "Latency, both ways"),
        Paragraph(
            "Share of all tasks answered within a time: full lines as run, dashed as simulated. Where a curve ends is "
            "the share of tasks that got an answer at all."
        ),
        Explore("", [_latencies(pairs)]),
        Heading(2, "Errors of single tasks"),
        Paragraph(
            "Latency as run less simulated, of tasks that were decided and answered alike; above as a distribution "
            f"over all seeds, below as they came (seed {first[0][1].seed}). Devices decide by what they see: some "
            "decisions differ, and each changes the queues of later tasks."
        ),
        _errors(document),
        Explore("", [_error_shares(pairs)]),
        Explore("Drag to zoom, double-click to see all of it again.", [_errors_over_time(first)]),
        *made_blocks(command, (run.seed for _, run in pairs), _facts(document), scenario),
    ]
    write_html(path, blocks)
    return [path, *_write_tables(path, scenario, found)]


def _lead(document: dict[str, Any]) -> str:
    worst = max(document["results"], key=lambda entry: abs(entry["difference"]["on_time_accuracy"]))
    off = worst["difference"]["on_time_accuracy"]
    return (
        f"The simulator's on-time accuracy is off by at most {100 * abs(off):.1f} points "
        f"({worst['scheduler']}, seed {worst['seed']}: {'more' if off > 0 else 'less'} when run)."
    )


def _sides(document: dict[str, Any], side: str) -> TableBlock:
    key = "virtual" if document["runtime"]["kind"] == "virtual" else "real"
    head = ["scheduler", "seed", "", "on-time accuracy", "on time", "mean ms", "p50 ms", "p95 ms", "dropped", "late"]
    several = any("edge_share" in entry[key] for entry in document["results"])
    head += ["edges"] if several else []
    rows = []
    for entry in document["results"]:
        for name, told, sign in (("simulated", "simulated", ""), (key, side, ""), ("difference", "difference", "+")):
            one = entry[name]
            latency = [one["latency_ms"][quantile] for quantile in ("mean", "p50", "p95")]
            rows.append(
                [
                    entry["scheduler"],
                    str(entry["seed"]),
                    told,
                    f"{one['on_time_accuracy']:{sign}.3f}",
                    f"{one['on_time_rate']:{sign}.1%}",
                    *("-" if ms is None else f"{ms:{sign}.1f}" for ms in latency),
                    *(f"{one[count]:{sign}d}" for count in ("dropped", "late")),
                    *([edge_share_text([one["edge_share"]], sign)] if several else []),
                ]
            )
    return TableBlock("", head, rows)


def _errors(document: dict[str, Any]) -> TableBlock:
    head = ["scheduler", "seed", "same decision", "compared", "median ms", "p5 ms", "p95 ms", "mean abs. ms"]
    rows = []
    for entry in document["results"]:
        error = entry["latency_error"]
        cells = [error["ms"][name] for name in ("median", "p5", "p95", "mean_absolute")]
        same = entry["same_decision_share"]
        rows.append(
            [
                entry["scheduler"],
                str(entry["seed"]),
                "-" if same is None else f"{same:.1%}",
                str(error["tasks"]),
                *("-" if ms is None else f"{ms:.2f}" for ms in cells),
            ]
        )
    return TableBlock("", head, rows)


def _latencies(pairs: Sequence[Pair]) -> Chart:
    deadlines = sorted({float(d) for _, run in pairs for d in np.unique(run.deadline_ms)})
    x = np.linspace(0.0, 1.6 * max(deadlines, default=1.0), READ_OFF + 1)
    lines = []
    for i, name in enumerate(dict.fromkeys(run.scheduler for _, run in pairs)):
        for which, told in ((1, "as run"), (0, "simulated")):
            own = [pair[which].latency_ms for pair in pairs if pair[1].scheduler == name]
            latency = np.sort(np.concatenate(own))
            share = np.searchsorted(latency, x, side="right") / max(len(latency), 1)
            lines.append(ChartLine(f"{name}, {told}", share, tone(i), "line" if which else "dashed"))
    marks = {deadline: "deadline" if len(deadlines) == 1 else f"{deadline:g} ms" for deadline in deadlines[:6]}
    return Chart(x, lines, "latency, ms", "share of all tasks answered", low=0.0, high=1.0, marks=marks, height=300)


def _error_shares(pairs: Sequence[Pair]) -> Chart:
    """What share of errors is at most so large, a line for each scheduler, over the middle 98 % of all errors."""
    errors = {
        name: np.sort(np.concatenate([_error_ms(*pair)[1] for pair in pairs if pair[1].scheduler == name]))
        for name in dict.fromkeys(run.scheduler for _, run in pairs)
    }
    every = np.concatenate([*errors.values(), np.zeros(1)])
    low, high = np.percentile(every, [1, 99])
    x = np.linspace(min(low, -0.1), max(high, 0.1), READ_OFF + 1)
    lines = [
        ChartLine(name, np.searchsorted(own, x, side="right") / max(len(own), 1), tone(i))
        for i, (name, own) in enumerate(errors.items())
    ]
    label = "latency as run less simulated, ms"
    return Chart(x, lines, label, "share of tasks", low=0.0, high=1.0, marks={0.0: "as simulated"}, height=280)


def _errors_over_time(pairs: Sequence[Pair]) -> Chart:
    """A point for each task: all pairs are of one seed, and so of the same tasks."""
    arrival_ms = pairs[0][1].arrival_ms[:MOST_TASKS]
    lines = []
    for i, (simulated, run) in enumerate(pairs):
        y = np.full(run.tasks, np.nan)
        alike, error_ms = _error_ms(simulated, run)
        y[alike] = error_ms
        lines.append(ChartLine(run.scheduler, y[:MOST_TASKS], tone(i), "dots"))
    return Chart(arrival_ms / 1000.0, lines, "time, s", "latency as run less simulated, ms", digits=2, height=300)


def _error_ms(simulated: Result, run: Result) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which tasks (N,) were decided and answered alike, and the errors of those."""
    exits = answered_exit(run)
    same = same_decisions(simulated, run)
    alike = same & (exits > 0) & (answered_exit(simulated) == exits)
    return alike, run.latency_ms[alike] - simulated.latency_ms[alike]


def _facts(document: dict[str, Any]) -> dict[str, Any]:
    overhead = document["simulated_with"]
    told = {name: value for name, value in document["runtime"].items() if name not in ("kind", "faster")}
    if "faster" in document["runtime"]:
        told["virtual time"] = f"{document['runtime']['faster']:g} times as fast as the clock"
    return told | {
        "simulated with": f"the times of the same profile, plus {overhead['task_ms']:.2f} ms for every task and "
        f"{overhead['offload_ms']:.2f} ms for an offloaded one; order {overhead['order']}, noise {overhead['noise']}"
    }


def _write_tables(page: Path, scenario: Scenario, found: Conformed) -> list[Path]:
    """Runs, and tasks with both sides beside each other."""
    runs, tasks = table_paths(page)
    write_rows(runs, [_flat(entry) for entry in found.document["results"]])
    both = []
    for simulated, run in found.pairs:
        mine, predicted = task_columns(run), task_columns(simulated)
        own = ("exit", "partition", "edge", "latency_ms", "outcome")
        both.append(mine | {f"simulated_{name}": predicted[name] for name in own if name in predicted})
    write_columns(tasks, [stream.name for stream in scenario.devices], both)
    return [runs, tasks]


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    flat = flat_summary(entry)
    while any(isinstance(value, dict) for value in flat.values()):
        flat = flat_summary(flat)
    return flat
