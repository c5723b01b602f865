"""`hasten run`: a scenario in real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import (
    DEFAULT_SCHEDULERS,
    JsonOption,
    ReportOption,
    ScenarioArgument,
    SchedulersOption,
    SeedsOption,
    WebOption,
    WebTokenOption,
)
from hasten.cli.output import check_outputs, console_for, interruption, show, write_json
from hasten.cli.page import page_of_run
from hasten.cli.report import check_report, command_line, wrote
from hasten.cli.tables import failure_lines, progress_bar, result_table
from hasten.core.output import check_folder


@app.command(epilog="Example: hasten run out/demo/scenario.yaml --schedulers greedy,device-only:deepest --out out/run")
def run(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every task here.")] = None,
    report: ReportOption = None,
    web: WebOption = None,
    web_token_file: WebTokenOption = None,
    json_to: JsonOption = None,
) -> None:
    """Run a scenario in real processes on this machine: an edge node, one process per device, a shaped link."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.runtime.local.run import run_scenario
    from hasten.schedulers import split_specs

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    check_outputs(json=json_to, report=report)
    check_report(report)
    if out is not None:
        check_folder(out, "--out")
    specs = split_specs(schedulers)
    with page_of_run(web, web_token_file, out, console) as (folder, changes), progress_bar(console) as progress:
        outcome = run_scenario(loaded, specs, range(seeds), out_dir=folder, progress=progress, changes=changes)
    document = result_document(loaded.name, outcome.results, runtime=outcome.facts)
    document["failures"] = [failure._asdict() for failure in outcome.failures]
    write_json(json_to, document)
    lines = failure_lines(document["failures"])
    if outcome.results:
        if report is not None:
            from hasten.report.run_report import write_run_report

            lines = wrote(write_run_report(report, loaded, outcome.results, command_line(), outcome.facts)) + lines
        show(console, result_table(document, f"{loaded.name}, run in real processes", console.width))
    show(console, *lines, *interruption())
    if outcome.failures:
        raise typer.Exit(1)
