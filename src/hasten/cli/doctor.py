"""`hasten doctor`: is this machine fit, and what is to be done."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table

from hasten.cli.app import app
from hasten.cli.arguments import JsonOption
from hasten.cli.output import check_outputs, console_for, show, write_json


@app.command(epilog="Example: hasten doctor")
def doctor(json_to: JsonOption = None) -> None:
    """Look at versions, cores, timer, cache, data and sockets; say what to do. Exit code 1 if something will fail."""
    from hasten.fidelity.doctor import examine

    console = console_for(json_to)
    check_outputs(json=json_to)
    found = examine()
    write_json(json_to, {"schema": "hasten.doctor/1", "examined": [asdict(one) for one in found]})
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in found:
        table.add_row(one.health, one.what, f"{one.found}: {one.do}" if one.do else one.found)
    show(console, table)
    if any(one.health == "problem" for one in found):
        raise typer.Exit(1)
