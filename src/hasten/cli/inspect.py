"""`hasten inspect`: what a package holds."""

from __future__ import annotations

from hasten.cli.app import app
from hasten.cli.arguments import JsonOption, PackageArgument
from hasten.cli.output import check_outputs, console_for, show, write_json
from hasten.cli.tables import package_tables


@app.command(epilog="Example: hasten inspect out/demo/digits.hasten")
def inspect(package: PackageArgument, json_to: JsonOption = None) -> None:
    """Show a package: blocks, exits, cuts, bytes, accuracy."""
    from hasten.split.inspect import describe
    from hasten.split.package import open_package

    console = console_for(json_to)
    check_outputs(json=json_to)
    opened = open_package(package)
    write_json(json_to, describe(opened))
    show(console, *package_tables(opened))
