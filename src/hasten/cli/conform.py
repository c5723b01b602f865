"""`hasten conform`: the simulator held against real runs, or against the runtime in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import (
    DEFAULT_SCHEDULERS,
    JsonOption,
    ReportOption,
    ScenarioArgument,
    SchedulersOption,
    SeedsOption,
)
from hasten.cli.conform_tables import conform_legend, conform_tables
from hasten.cli.output import check_outputs, console_for, interruption, show, write_json
from hasten.cli.report import check_report, command_line, wrote
from hasten.cli.tables import failure_lines, progress_bar
from hasten.core.output import check_folder


@app.command(epilog="Example: hasten conform out/demo/scenario.yaml --schedulers greedy,device-only:deepest --seeds 2")
@needs("plan")
def conform(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every task that is run here.")
    ] = None,
    virtual: Annotated[
        bool,
        typer.Option("--virtual", help="Run in virtual time: the same agents and edge, nothing executed, no waiting."),
    ] = False,
    report: ReportOption = None,
    json_to: JsonOption = None,
) -> None:
    """Simulate and run the same tasks, as `hasten run` does; report how far the prediction is off.

    With --virtual any profile will do; otherwise each stream needs a package.
    """
    from hasten.core.scenario import load_scenario
    from hasten.fidelity.conform import compare
    from hasten.schedulers import split_specs

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    check_outputs(json=json_to, report=report)
    check_report(report)
    if out is not None:
        check_folder(out, "--out")
    with progress_bar(console) as progress:
        found = compare(loaded, split_specs(schedulers), range(seeds), out, progress, virtual)
    document = found.document
    write_json(json_to, document)
    if document["results"]:
        lines = []
        if report is not None:
            from hasten.fidelity.conform_report import write_conform_report

            lines += wrote(write_conform_report(report, loaded, found, command_line()))
        show(console, *conform_tables(document, console.width), conform_legend(document), *lines)
    show(console, *failure_lines(document["failures"]), *interruption())
    if document["failures"]:
        raise typer.Exit(1)
