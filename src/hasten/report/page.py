"""One self-contained HTML page about runs: what was compared, a table, plots, and the facts of the measurement."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hasten.core.output import write_text
from hasten.core.profile import Profile
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.report import figures


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs (plain text) and figures (inline SVG)."""

    title: str
    text: str = ""
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a page says. ``lead`` is its conclusion in one or two sentences."""

    title: str
    lead: str
    results: Sequence[Result]
    sections: Sequence[Section]
    facts: Mapping[str, Any] = field(default_factory=dict)
    simulated: Mapping[str, float] = field(default_factory=dict)
    """On-time accuracy that the simulator predicts for each scheduler, where it was asked."""


def write_run_report(
    path: Path, scenario: Scenario, results: Sequence[Result], facts: Mapping[str, Any] | None = None
) -> None:
    """Write the report of runs of one scenario; the plots over time are of the first seed."""
    best = best_scheduler(results)
    lead = f"{best} answered the largest share of tasks correctly before their deadline: {score(results, best):.3f}."
    sections = run_sections(scenario, results, best)
    write_report(path, Report(f"{scenario.name}: schedulers compared", lead, results, sections, facts or {}))


def run_sections(scenario: Scenario, results: Sequence[Result], adaptive: str) -> list[Section]:
    """The sections that every run has: accuracy, latency, choices over time."""
    first = min(result.seed for result in results)
    one_seed = [result for result in results if result.seed == first]
    rates = scenario.realize(first).rates
    chosen = next(result for result in one_seed if result.scheduler == adaptive)
    partitions = max(len(stream.profile.blocks) for stream in scenario.devices)
    return [
        Section(
            "On-time accuracy",
            "Share of all arriving tasks that were answered correctly before their deadline. A task that is dropped, "
            "late or wrong counts as nothing.",
            (figures.on_time_accuracy(results),),
        ),
        Section(
            "Latency",
            "From arrival to answer. A curve ends at the share of tasks that got an answer at all.",
            (figures.latency_distribution(results),),
        ),
        Section(
            f"What {adaptive} chose",
            "Each mark is a task, at its partition point (blocks up to it ran on the device, the rest at the edge) and "
            "coloured by the exit that answered. Above, the rate of each link, which every scheduler met alike.",
            (figures.choices_over_time(chosen, rates, partitions),),
        ),
        Section(
            "Through good and bad stretches",
            "On-time accuracy in windows of two seconds.",
            (figures.accuracy_over_time(one_seed, rates),),
        ),
    ]


def network_section(profile: Profile) -> Section:
    """What the network offers: exits of different accuracy and partition points of different size."""
    return Section(
        "The network",
        "Later exits cost more and are mostly more accurate; the bytes sent depend on where the network is cut.",
        (
            figures.network(
                [head.accuracy_at(head.after_block) for head in profile.exits],
                [min(head.accuracy_at(p) for p in range(head.after_block + 1)) for head in profile.exits],
                [profile.payload_bytes(p) for p in range(len(profile.blocks))],
            ),
        ),
    )


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


def write_report(path: Path, report: Report) -> None:
    """Write the report's page."""
    body = [f"<h1>{html.escape(report.title)}</h1>", f'<p class="lead">{html.escape(report.lead)}</p>']
    body.append(_table(report))
    for section in report.sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.text:
            body.append(f"<p>{html.escape(section.text)}</p>")
        body += section.figures
    if report.facts:
        rows = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(str(v))}</dd>" for k, v in report.facts.items())
        body.append(f"<h2>How this was measured</h2><dl>{rows}</dl>")
    write_page(path, report.title, "".join(body))


def write_page(path: Path, title: str, body: str) -> None:
    """Write a self-contained page around ``body`` (HTML); whole or not at all."""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_style()}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )
    write_text(path, page)


def _style() -> str:
    return (resources.files("hasten.report") / "templates" / "report.css").read_text(encoding="utf-8")


def _table(report: Report) -> str:
    """The comparison as an HTML table, best first."""
    results = report.results
    measured = any(result.correct is not None for result in results)
    names = sorted(dict.fromkeys(r.scheduler for r in results), key=lambda name: -score(results, name))
    head = ["scheduler", *(["on-time accuracy, measured"] if measured else []), "on-time accuracy, profiled"]
    head += ["simulated"] if report.simulated else []
    head += ["on time", "dropped", "late", "p50 ms", "p95 ms", "p99 ms", "exits", "partitions", "KB per task"]
    rows = []
    for place, name in enumerate(names):
        mine = [result.summary() for result in results if result.scheduler == name]
        cells = [html.escape(name)]
        if measured:
            cells.append(_mean_cell([entry["measured_on_time_accuracy"] for entry in mine]))
        cells.append(_mean_cell([entry["on_time_accuracy"] for entry in mine]))
        if report.simulated:
            cells.append(f"{report.simulated[name]:.3f}" if name in report.simulated else "")
        tasks = sum(entry["tasks"] for entry in mine)
        cells.append(f"{np.mean([entry['on_time_rate'] for entry in mine]):.1%}")
        cells += [f"{sum(entry[key] for entry in mine) / max(tasks, 1):.1%}" for key in ("dropped", "late")]
        for quantile in ("p50", "p95", "p99"):
            known = [entry["latency_ms"][quantile] for entry in mine if entry["latency_ms"][quantile] is not None]
            cells.append(f"{np.mean(known):.1f}" if known else "-")
        cells += [_shares(mine, "exit_share", 1), _shares(mine, "partition_share", 0)]
        cells.append(f"{sum(entry['uplink_bytes'] for entry in mine) / max(tasks, 1) / 1000:.2f}")
        row_class = ' class="best"' if place == 0 else ""
        rows.append(f"<tr{row_class}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _mean_cell(values: Sequence[float]) -> str:
    spread = f" ±{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def _shares(entries: Sequence[dict[str, Any]], key: str, first: int) -> str:
    """Shares of exits or partitions from ``first`` as ``2:31% 4:69%``, means over the runs."""
    numbers = sorted({int(number) for entry in entries for number in entry[key] if int(number) >= first})
    shares = {n: float(np.mean([entry[key].get(str(n), 0.0) for entry in entries])) for n in numbers}
    return " ".join(f"{n}:{share:.0%}" for n, share in shares.items() if share >= 0.005)
