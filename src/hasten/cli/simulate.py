"""`hasten simulate`: schedulers on the same realizations."""

from __future__ import annotations

from contextlib import suppress

from hasten.cli.app import app, needs
from hasten.cli.arguments import (
    DEFAULT_SCHEDULERS,
    JsonOption,
    ReportOption,
    ScenarioArgument,
    SchedulersOption,
    SeedsOption,
    TraceOption,
)
from hasten.cli.output import check_outputs, console_for, interruption, leave_if_nothing, show, write_json
from hasten.cli.report import about, check_report, command_line, traced, wrote
from hasten.cli.tables import progress_bar, result_table
from hasten.core.signals import until_asked


@app.command(epilog="Example: hasten simulate examples/three-cameras.yaml --schedulers greedy,random --seeds 5")
@needs("plan")
def simulate(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    report: ReportOption = None,
    trace: TraceOption = None,
    json_to: JsonOption = None,
) -> None:
    """Simulate schedulers on the same realizations of a scenario."""
    from hasten.api import simulate_batch
    from hasten.core.progress import compiling_first
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.schedulers import make_schedulers

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    chosen = make_schedulers(schedulers)
    check_outputs(json=json_to, report=report, trace=trace)
    check_report(report)
    if trace is not None:
        from hasten.report.timeline_sources import require_times

        require_times(loaded)
    results = []
    with progress_bar(console) as progress, suppress(KeyboardInterrupt):
        for i, scheduler in enumerate(until_asked(chosen)):
            progress(compiling_first(f"simulating {scheduler.name}"), i / len(chosen))
            results += simulate_batch(loaded, scheduler, range(seeds))
    leave_if_nothing(results)
    document = result_document(loaded.name, results)
    write_json(json_to, document)
    lines = []
    if trace is not None:
        from hasten.report.timeline import write_trace
        from hasten.report.timeline_sources import simulated_round

        write_trace(trace, (simulated_round(loaded, result) for result in results), about())
        lines.append(traced(trace))
    if report is not None:
        from hasten.report.run_report import write_run_report

        lines += wrote(write_run_report(report, loaded, results, command_line()))
    show(console, result_table(document, f"{loaded.name}, simulated", console.width), *lines, *interruption())
