"""`hasten simulate`: schedulers on the same realizations."""

from __future__ import annotations

from hasten.cli.app import app
from hasten.cli.arguments import DEFAULT_SCHEDULERS, JsonOption, ScenarioArgument, SchedulersOption, SeedsOption
from hasten.cli.output import console_for, write_json
from hasten.show import progress_bar, result_table


@app.command(epilog="Example: hasten simulate examples/three-cameras.yaml --schedulers greedy,random --seeds 5")
def simulate(
    scenario: ScenarioArgument,
    schedulers: SchedulersOption = DEFAULT_SCHEDULERS,
    seeds: SeedsOption = 1,
    json_to: JsonOption = None,
) -> None:
    """Simulate schedulers on the same realizations of a scenario."""
    from hasten.core.results import result_document
    from hasten.core.scenario import load_scenario
    from hasten.schedulers import make_schedulers
    from hasten.sim import simulate_batch

    console = console_for(json_to)
    loaded = load_scenario(scenario)
    chosen = make_schedulers(schedulers)
    results = []
    with progress_bar(console) as progress:
        for i, scheduler in enumerate(chosen):
            progress(f"simulating {scheduler.name}", i / len(chosen))
            results += simulate_batch(loaded, scheduler, range(seeds))
    document = result_document(loaded.name, results)
    console.print(result_table(document, f"{loaded.name}, simulated", console.width))
    write_json(json_to, document)
