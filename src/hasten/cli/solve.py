"""`hasten solve`: the offline optimum and its certificate."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import JsonOption, ScenarioArgument, SeedsOption
from hasten.cli.output import check_outputs, console_for, interruption, leave_if_nothing, show, write_json
from hasten.cli.tables import offline_table, progress_bar
from hasten.core.signals import until_asked


@app.command(epilog="Example: hasten solve examples/three-cameras.yaml --seeds 3 --time-limit 60")
@needs("plan")
def solve(
    scenario: ScenarioArgument,
    seeds: SeedsOption = 1,
    time_limit_s: Annotated[
        float | None, typer.Option("--time-limit", min=0.0, help="Seconds for each seed; the best so far is kept.")
    ] = None,
    plan_to: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE|-", help="Write each task's decision as JSON; - for standard output."),
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Find the offline optimum for known arrivals, with a certificate of how far from optimal the plan can be."""
    from hasten.core.progress import compiling_first
    from hasten.core.scenario import load_scenario
    from hasten.offline import solve_offline

    console = console_for(json_to, plan_to)
    loaded = load_scenario(scenario)
    check_outputs(json=json_to, plan=plan_to)
    plans = []
    with progress_bar(console) as progress, suppress(KeyboardInterrupt):
        for seed in until_asked(range(seeds)):
            progress(compiling_first(f"solving seed {seed}"), seed / seeds)
            plans.append(solve_offline(loaded, seed, time_limit_s))
    leave_if_nothing(plans)
    decisions = [{"seed": plan.seed, "decisions": plan.decisions.tolist()} for plan in plans]
    write_json(plan_to, {"schema": "hasten.plan/1", "scenario": loaded.name, "plans": decisions}, "--plan", None)
    write_json(json_to, {"schema": "hasten.offline/1", "results": [plan.summary() for plan in plans]})
    show(console, offline_table(plans, f"{loaded.name}, offline"), *interruption())
