"""`hasten build`: from a network to a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.output import check_outputs, show
from hasten.cli.tables import make_console, package_tables, progress_bar


@app.command(epilog="Example: hasten build my_model:make --exits layer1,layer2,layer3 --data digits -o my.hasten")
@needs("build")
def build(
    factory: Annotated[str, typer.Argument(metavar="MODULE:FACTORY", help="A function that returns a torch module.")],
    exits: Annotated[str, typer.Option("--exits", help="Layers to attach exits to, comma-separated.")],
    data: Annotated[str, typer.Option("--data", help="digits, cifar10, or a folder with train.npz and test.npz.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.hasten", help="The package to write.")],
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, weights and order.")] = 0,
) -> None:
    """Give a network exits, train them jointly, cut it everywhere useful and write one package."""
    from hasten.networks.build import build as build_network
    from hasten.networks.build import settings_for

    console = make_console()
    check_outputs(output=output)
    layers = [layer.strip() for layer in exits.split(",") if layer.strip()]
    notes: list[str] = []
    with progress_bar(console) as progress:
        package = build_network(factory, layers, data, output, settings_for(data, epochs, seed), progress, notes.append)
    show(console, *package_tables(package), *(f"note: {note}" for note in notes))
