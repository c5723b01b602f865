"""`hasten export`: a package for another server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import PackageArgument


@app.command(epilog="Example: hasten export my.hasten --triton models")
@needs("build")
def export(
    package: PackageArgument,
    triton: Annotated[
        Path, typer.Option("--triton", metavar="DIR", help="Write a model repository for Triton Inference Server.")
    ],
) -> None:
    """Write what an edge runs of a package, each exit from each partition, as models of another server."""
    from hasten.split.package import open_package
    from hasten.split.triton import write_repository

    names = write_repository(open_package(package), triton)
    print(f"wrote {len(names)} models to {triton}: {names[0]} ... {names[-1]}")
