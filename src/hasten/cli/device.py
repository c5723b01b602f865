"""`hasten device`: one device's own stream of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import DEFAULT_MEMORY_MB, JsonOption, MemoryOption, PackageArgument
from hasten.cli.output import check_outputs, console_for, interruption, show, write_json
from hasten.cli.tables import result_table


@app.command(epilog="Example: hasten device my.hasten --edge 192.0.2.7:7700 --deadline-ms 80 --arrivals poisson:10")
def device(
    package: PackageArgument,
    edge_address: Annotated[str, typer.Option("--edge", metavar="HOST:PORT", help="The edge node.")],
    deadline_ms: Annotated[float, typer.Option("--deadline-ms", min=0.001, help="Relative deadline of each task.")],
    scheduler: Annotated[str, typer.Option("--scheduler", help="A scheduler's name.")] = "greedy",
    source: Annotated[str, typer.Option("--source", metavar="DIR|samples|synthetic", help="Inputs.")] = "samples",
    arrivals: Annotated[str, typer.Option("--arrivals", help="poisson:HZ, periodic:HZ or file:NAME.")] = "periodic:10",
    tasks: Annotated[int | None, typer.Option("--tasks", min=1, help="Stop after so many tasks.")] = None,
    slowdown: Annotated[float, typer.Option("--slowdown", min=1.0, help="Wait this multiple of every time.")] = 1.0,
    profile_file: Annotated[
        Path | None, typer.Option("--profile", metavar="PROFILE.json", help="Measured times of both sides.")
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE.jsonl", help="One line for every task.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of arrivals and inputs.")] = 0,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="The edge's token.")] = None,
    tls_ca: Annotated[Path | None, typer.Option("--tls-ca", help="Trust this certificate (PEM); turns TLS on.")] = None,
    memory_mb: MemoryOption = DEFAULT_MEMORY_MB,
    learn: Annotated[
        bool, typer.Option("--learn", help="Go on training the policy of --scheduler policy:FILE on what happens.")
    ] = False,
    json_to: JsonOption = None,
) -> None:
    """Run a device agent: its own stream of tasks, decided one by one, finished locally if the edge is gone."""
    from hasten.core.results import result_document
    from hasten.runtime.device.command import run_device
    from hasten.runtime.device.learning import LearnPlan

    console = console_for(json_to)
    check_outputs(json=json_to, log=log)
    result = run_device(
        package,
        edge=edge_address,
        scheduler=scheduler,
        deadline_ms=deadline_ms,
        source=source,
        arrivals=arrivals,
        tasks=tasks,
        slowdown=slowdown,
        profile=profile_file,
        log=log,
        seed=seed,
        token_file=token_file,
        tls_ca=tls_ca,
        memory_mb=memory_mb,
        learn=LearnPlan() if learn else None,
    )
    document = result_document(package.stem, [result])
    write_json(json_to, document)
    show(console, result_table(document, f"{package.stem} against {edge_address}", console.width), *interruption())
    if result.failure is not None:  # told when it happened
        raise typer.Exit(1)
