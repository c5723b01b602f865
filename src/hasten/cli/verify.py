"""`hasten verify`: every (exit, partition) against the whole network."""

from __future__ import annotations

from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.arguments import JsonOption, PackageArgument
from hasten.cli.output import check_outputs, console_for, show, write_json
from hasten.cli.tables import verify_table


@app.command(epilog="Example: hasten verify out/demo/digits.hasten")
def verify(
    package: PackageArgument,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Random inputs to try.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random inputs.")] = 0,
    json_to: JsonOption = None,
) -> None:
    """Check that every (exit, partition) gives what the whole network gives; refuse a package that fails."""
    from hasten.split.package import open_package
    from hasten.split.verify import verify as verify_package

    console = console_for(json_to)
    check_outputs(json=json_to)
    report = verify_package(open_package(package), random_inputs=inputs, seed=seed)
    write_json(
        json_to,
        {
            "schema": "hasten.verify/1",
            "passed": True,
            "inputs": report.inputs,
            "tolerance": report.tolerance,
            "max_error": report.max_error,
            "worst_codec_agreement": report.worst_codec_agreement,
            "options": [vars(option) for option in report.options],
        },
    )
    show(console, verify_table(report))
