"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the results as JSON; - for standard output.")
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Write a report to open in a browser, and its numbers as CSV."),
]
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE.json", help="Write a timeline of all tasks, to open in ui.perfetto.dev."),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Realizations to run: seeds 0, 1, ...")]
SchedulersOption = Annotated[
    str, typer.Option("--schedulers", help="Comma-separated names; NAME:ARGUMENT where one takes an argument.")
]
ScenarioArgument = Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="A hasten.scenario/1 file.")]
PackageArgument = Annotated[Path, typer.Argument(metavar="FILE.hasten", help="A package made by `hasten build`.")]
MemoryOption = Annotated[
    int, typer.Option("--memory-mb", min=1, help="Limit for the segments of the network that are kept ready.")
]
DEFAULT_MEMORY_MB = 1024
DEFAULT_SCHEDULERS = "greedy,edgent,neurosurgeon,min-latency,device-only:deepest,edge-only:deepest"
LogFormatOption = Annotated[
    Literal["text", "json"], typer.Option("--log-format", help="Lines on standard error: text, or objects of JSON.")
]
MetricsOption = Annotated[
    str | None,
    typer.Option("--metrics", metavar="[HOST:]PORT", help="Serve counters to Prometheus there (docs/edge-doors.md)."),
]
WebOption = Annotated[
    str | None, typer.Option("--web", metavar="[HOST:]PORT", help="Serve the live page there meanwhile (docs/web.md).")
]
WebTokenOption = Annotated[
    Path | None, typer.Option("--web-token-file", help="Token for the live page; needed off the loopback address.")
]
