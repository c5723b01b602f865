"""`hasten run`: a scenario in real processes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import (
    DEFAULT_SCHEDULERS,
    JsonOption,
    ReportOption,
    ScenarioArgument,
    SchedulersOption,
    SeedsOption,
    TraceOption,
    WebOption,
    WebTokenOption,
)
from hasten.cli.output import check_outputs, console_for, interruption, show, write_json
from hasten.cli.page import page_of_run
from hasten.cli.report import about, check_report, command_line, traced, wrote
from hasten.cli.tables import failure_lines, progress_bar, result_table
from hasten.core.output import check_folder

if TYPE_CHECKING:
    from hasten.core.results import Result


@app.command(epilog="Example: hasten run out/demo/scenario.yaml --schedulers greedy,device-only:deepest --out out/run")
def run(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every task here.")] = None,
    report: ReportOption = None,
    trace: TraceOption = None,
    web: WebOption = None,
    web_token_file: WebTokenOption = None,
    json_to: JsonOption = None,
) -> None:
    """Run a scenario in real processes on this machine: edge nodes, one process per device, shaped links."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.runtime.local.run import run_scenario
    from hasten.schedulers import split_specs

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    check_outputs(json=json_to, report=report, trace=trace)
    check_report(report)
    if out is not None:
        check_folder(out, "--out")
    specs = split_specs(schedulers)
    with ExitStack() as stack:
        kept = out
        if kept is None and trace is not None:
            kept = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hasten-run-")))
        with page_of_run(web, web_token_file, kept, console) as (folder, changes), progress_bar(console) as progress:
            outcome = run_scenario(loaded, specs, range(seeds), out_dir=folder, progress=progress, changes=changes)
        lines = _write_trace(trace, kept, outcome.results) if trace is not None and kept is not None else []
    document = result_document(loaded.name, outcome.results, runtime=outcome.facts)
    document["failures"] = [failure._asdict() for failure in outcome.failures]
    write_json(json_to, document)
    lines += failure_lines(document["failures"])
    if outcome.results:
        if report is not None:
            from hasten.report.run_report import write_run_report

            lines = wrote(write_run_report(report, loaded, outcome.results, command_line(), outcome.facts)) + lines
        show(console, result_table(document, f"{loaded.name}, run in real processes", console.width))
    show(console, *lines, *interruption())
    if outcome.failures:
        raise typer.Exit(1)


def _write_trace(path: Path, folder: Path, results: Sequence[Result]) -> list[str]:
    """The timeline of the rounds that gave a result; what is to be said of it."""
    from hasten.report.timeline import write_trace
    from hasten.report.timeline_sources import logged_rounds
    from hasten.runtime.local.rounds import round_name

    if not results:
        return []
    only = {round_name(result.scheduler, result.seed) for result in results}
    write_trace(path, logged_rounds(folder, only), about())
    return [traced(path)]
