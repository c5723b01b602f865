"""`hasten run`: a scenario in real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import DEFAULT_SCHEDULERS, JsonOption, ScenarioArgument, SchedulersOption, SeedsOption
from hasten.cli.output import console_for, write_json
from hasten.show import failure_lines, progress_bar, result_table


@app.command(epilog="Example: hasten run out/demo/scenario.yaml --schedulers greedy,device-only:deepest --out out/run")
def run(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Keep the log of every task here.")] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report.")] = None,
    json_to: JsonOption = None,
) -> None:
    """Run a scenario in real processes on this machine: an edge node, one process per device, a shaped link."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.runtime.local_run import run_scenario
    from hasten.schedulers import split_specs

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    with progress_bar(console) as progress:
        outcome = run_scenario(loaded, split_specs(schedulers), range(seeds), out_dir=out, progress=progress)
    document = result_document(loaded.name, outcome.results, runtime=outcome.facts)
    document["failures"] = [failure._asdict() for failure in outcome.failures]
    if outcome.results:
        console.print(result_table(document, f"{loaded.name}, run in real processes", console.width))
    if report is not None and outcome.results:
        from hasten.study.report import write_run_report

        write_run_report(report, loaded, outcome.results, facts=outcome.facts)
        console.print(f"report: {report}")
    write_json(json_to, document)
    if outcome.failures:
        for line in failure_lines(document["failures"]):
            console.print(line, highlight=False, markup=False)
        raise typer.Exit(1)
