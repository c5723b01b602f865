"""`hasten solve`: the offline optimum and its certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import JsonOption, ScenarioArgument, SeedsOption
from hasten.cli.output import console_for, write_json
from hasten.core.output import write_text
from hasten.show import offline_table, progress_bar


@app.command(epilog="Example: hasten solve examples/three-cameras.yaml --seeds 3 --time-limit 60")
def solve(
    scenario: ScenarioArgument,
    seeds: SeedsOption = 1,
    time_limit_s: Annotated[
        float | None, typer.Option("--time-limit", min=0.0, help="Seconds for each seed; the best so far is kept.")
    ] = None,
    plan_to: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Write each task's decision as JSON.")
    ] = None,
    json_to: JsonOption = None,
) -> None:
    """Find the offline optimum for known arrivals, with a certificate of how far from optimal the plan can be."""
    from hasten.core.scenario import load_scenario
    from hasten.offline import solve_offline

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    plans = []
    with progress_bar(console) as progress:
        for seed in range(seeds):
            progress(f"solving seed {seed}", seed / seeds)
            plans.append(solve_offline(loaded, seed, time_limit_s))
    console.print(offline_table(plans, f"{loaded.name}, offline"))
    if plan_to is not None:
        decisions = [{"seed": plan.seed, "decisions": plan.decisions.tolist()} for plan in plans]
        write_text(plan_to, json.dumps({"schema": "hasten.plan/1", "scenario": loaded.name, "plans": decisions}))
    write_json(json_to, {"schema": "hasten.offline/1", "results": [plan.summary() for plan in plans]})
