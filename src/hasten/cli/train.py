"""`hasten train`: the learned scheduler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import ScenarioArgument
from hasten.cli.output import check_outputs, interruption, show
from hasten.cli.tables import make_console, progress_bar
from hasten.core.output import check_folder


@app.command(epilog="Example: hasten train examples/three-cameras.yaml -o policy.onnx --streams 1:8")
@needs("learn")
def train(
    scenario: ScenarioArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="POLICY", help="The policy file to write.")],
    init: Annotated[
        Literal["none", "greedy", "dp", "mixed"], typer.Option("--init", help="Historical experience to start from.")
    ] = "mixed",
    replay: Annotated[
        Literal["uniform", "prioritized"], typer.Option("--replay", help="Replay memory.")
    ] = "prioritized",
    values: Annotated[
        Literal["backlogs", "actions"],
        typer.Option("--values", help="What the network values: the backlogs an option leaves, or each action (DQN)."),
    ] = "backlogs",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same policy.")] = 0,
    updates: Annotated[
        int | None, typer.Option("--updates", min=1, show_default="24000; actions: 30000", help="Gradient steps.")
    ] = None,
    pretrain: Annotated[int, typer.Option("--pretrain", min=0, help="Steps on demonstrations before acting.")] = 0,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, help="With actions: large-margin loss at first; falls to 0.")
    ] = 0.0,
    uplink: Annotated[
        str | None, typer.Option("--uplink", metavar="LOW:HIGH", show_default="0.5:4", help="Factor on the rate.")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option("--arrivals", metavar="LOW:HIGH", show_default="1/3:8/3", help="Factor on arrivals.")
    ] = None,
    deadlines: Annotated[
        str | None, typer.Option("--deadlines", metavar="LOW:HIGH", show_default="0.75:2", help="Factor on deadlines.")
    ] = None,
    streams: Annotated[
        str | None,
        typer.Option("--streams", metavar="LOW:HIGH", show_default="as in SCENARIO.yaml", help="Number of streams."),
    ] = None,
    logs: Annotated[
        list[Path] | None, typer.Option("--logs", metavar="FILE.jsonl", help="A log of a real run.")
    ] = None,
    start: Annotated[Path | None, typer.Option("--start", metavar="POLICY", help="A policy to go on from.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Go on from it if it exists; written on the way."),
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option("--tensorboard", metavar="DIR", help="Write event files.")] = None,
) -> None:
    """Train a policy for a range of scenarios around this one; use it as the scheduler policy:FILE."""
    from hasten.core.scenario import load_scenario
    from hasten.learn.command import domain_of, train_to_file
    from hasten.learn.curve import Interrupted

    console = make_console()
    check_outputs(output=output, checkpoint=checkpoint)
    if tensorboard is not None:
        check_folder(tensorboard, "--tensorboard")
    try:
        with progress_bar(console) as progress:
            training, _ = train_to_file(
                load_scenario(scenario),
                output,
                domain_of(uplink, arrivals, deadlines, streams),
                progress,
                logs=logs or [],
                start=start,
                init=init,
                replay=replay,
                values=values,
                seed=seed,
                pretrain=pretrain,
                margin=margin,
                checkpoint=checkpoint,
                tensorboard=tensorboard,
                **({} if updates is None else {"updates": updates}),
            )
    except Interrupted as nothing:
        show(console, str(nothing))
        raise
    warnings = [f"warning: {warning}" for warning in training.warnings()]
    show(console, f"best policy: {training.best}", *warnings, f"wrote {output}", *interruption())
