"""The report of runs of one scenario, simulated or real: what came out, how it went over time, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.profile import Profile
from hasten.core.result_table import edge_share_text, share_text
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.report import figures
from hasten.report.document import Bar, Bars, Block, Explore, Heading, Paragraph, Plot, TableBlock, write_html
from hasten.report.made import made_blocks
from hasten.report.run_charts import MOST_TASKS, accuracy_chart, choices_chart, latency_chart, rates_chart
from hasten.report.tables import write_result_tables


def write_run_report(
    path: Path, scenario: Scenario, results: Sequence[Result], command: str, facts: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the report and its tables; returns the files. Plots over time are of the first seed."""
    best = best_scheduler(results)
    how = f"Simulated, {best} answers" if facts is None else f"{best} answered"
    lead = f"{how} the largest share of tasks correctly before their deadline: {score(results, best):.3f}."
    blocks: list[Block] = [
        Heading(1, f"{scenario.name}: schedulers compared"),
        Paragraph(lead, lead=True),
        comparison(results),
        *run_blocks(scenario, results, best),
        *made_blocks(command, (result.seed for result in results), facts or {}, scenario),
    ]
    write_html(path, blocks)
    return [path, *write_result_tables(path, scenario, results)]


def run_blocks(scenario: Scenario, results: Sequence[Result], adaptive: str) -> list[Block]:
    """What every run has: accuracy, latency, and the choices of the scheduler ``adaptive`` over time."""
    first = min(result.seed for result in results if result.scheduler == adaptive)
    one_seed = [result for result in results if result.seed == first]
    rates = rates_chart(scenario, first)
    chosen = next(result for result in one_seed if result.scheduler == adaptive)
    some = f" The first {MOST_TASKS} tasks are shown." if chosen.tasks > MOST_TASKS else ""
    return [
        Heading(2, "On-time accuracy"),
        Paragraph(
            "Share of all arriving tasks that were answered correctly before their deadline. A task that is dropped, "
            "late or wrong counts as nothing."
        ),
        _bars(results),
        Heading(2, "Latency"),
        Paragraph(
            "From arrival to answer: the share of all tasks answered within a time. Where a curve ends is the share "
            "of tasks that got an answer at all."
        ),
        Explore("", [latency_chart(results)]),
        Heading(2, f"What {adaptive} chose"),
        Paragraph(
            "Each mark is a task, at its partition point (blocks up to it ran on the device, the rest at the edge) and "
            "coloured by the exit that answered; streams lie beside each other. Above, the rate of each link, which "
            f"every scheduler met alike (seed {first}).{some}"
        ),
        Explore(_USE, [rates, choices_chart(chosen, scenario)]),
        Heading(2, "Through good and bad stretches"),
        Paragraph(f"On-time accuracy in windows of two seconds (seed {first})."),
        Explore("", [rates, accuracy_chart(one_seed)]),
    ]


_USE = "Drag to zoom, double-click to see all of it again; the legend switches what is shown."


def _bars(results: Sequence[Result]) -> Bars:
    bars = []
    for name in dict.fromkeys(result.scheduler for result in results):
        mine = [result for result in results if result.scheduler == name]
        measured = [m for m in (result.measured_on_time_accuracy for result in mine) if m is not None]
        profiled = [result.on_time_accuracy for result in mine]
        parts = measured or profiled
        bars.append(
            Bar(
                name,
                float(np.mean(parts)),
                parts if len(parts) > 1 else (),
                float(np.mean(profiled)) if measured else None,
            )
        )
    told = ["Bar: measured answers; diamond: from profiled accuracy."] if bars and bars[0].other is not None else []
    told += ["Ticks: single seeds."] if bars and bars[0].parts else []
    return Bars(" ".join(told), bars)


def network_blocks(profile: Profile) -> list[Block]:
    """What the network offers: exits of different accuracy and partition points of different size."""
    return [
        Heading(2, "The network"),
        Paragraph(
            "Later exits cost more and are mostly more accurate; the bytes sent depend on where the network is cut."
        ),
        Plot(
            "network",
            "",
            figures.network(
                [head.accuracy_at(head.after_block) for head in profile.exits],
                [min(head.accuracy_at(p) for p in range(head.after_block + 1)) for head in profile.exits],
                [profile.payload_bytes(p) for p in range(len(profile.blocks))],
            ),
        ),
    ]


def best_scheduler(results: Sequence[Result]) -> str:
    """The scheduler of largest mean on-time accuracy, measured where there were answers."""
    return max(dict.fromkeys(result.scheduler for result in results), key=lambda name: score(results, name))


def score(results: Sequence[Result], name: str) -> float:
    """Mean on-time accuracy of one scheduler over its runs, measured where there were answers."""
    values = []
    for result in results:
        if result.scheduler == name:
            measured = result.measured_on_time_accuracy
            values.append(result.on_time_accuracy if measured is None else measured)
    return float(np.mean(values))


def comparison(results: Sequence[Result], simulated: Mapping[str, float] | None = None) -> TableBlock:
    """The schedulers side by side, best first; ``simulated`` has what the simulator predicts for each, if it was asked.

    Means over seeds, with their standard deviation.
    """
    measured = any(result.correct is not None for result in results)
    names = sorted(dict.fromkeys(r.scheduler for r in results), key=lambda name: -score(results, name))
    head = [
        "scheduler",
        *(["on-time accuracy, measured"] if measured else []),
        "on-time accuracy, profiled" if measured else "on-time accuracy",
    ]
    head += ["simulated"] if simulated else []
    several = any(result.edge_share for result in results)
    head += ["on time", "dropped", "late", "p50 ms", "p95 ms", "p99 ms", "exits", "partitions"]
    head += ["edges", "KB per task"] if several else ["KB per task"]
    rows = []
    for name in names:
        mine = [result.summary() for result in results if result.scheduler == name]
        cells = [name]
        if measured:
            cells.append(_mean_cell([entry["measured_on_time_accuracy"] for entry in mine]))
        cells.append(_mean_cell([entry["on_time_accuracy"] for entry in mine]))
        if simulated:
            cells.append(f"{simulated[name]:.3f}" if name in simulated else "")
        tasks = sum(entry["tasks"] for entry in mine)
        cells.append(f"{np.mean([entry['on_time_rate'] for entry in mine]):.1%}")
        cells += [f"{sum(entry[key] for entry in mine) / max(tasks, 1):.1%}" for key in ("dropped", "late")]
        for quantile in ("p50", "p95", "p99"):
            known = [entry["latency_ms"][quantile] for entry in mine if entry["latency_ms"][quantile] is not None]
            cells.append(f"{np.mean(known):.1f}" if known else "-")
        shares = ("exit_share", 1), ("partition_share", 0)
        cells += [share_text([entry[key] for entry in mine], first) for key, first in shares]
        cells += [edge_share_text([entry.get("edge_share", {}) for entry in mine])] if several else []
        cells.append(f"{sum(entry['uplink_bytes'] for entry in mine) / max(tasks, 1) / 1000:.2f}")
        rows.append(cells)
    return TableBlock("", head, rows, best=0)


def _mean_cell(values: Sequence[float]) -> str:
    spread = f" ±{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
