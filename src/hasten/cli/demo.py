"""`hasten demo`: everything on one machine, on real images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.cli.arguments import JsonOption, WebOption, WebTokenOption
from hasten.cli.output import check_outputs, console_for, show, write_json
from hasten.cli.page import page_of_run
from hasten.cli.tables import progress_bar, result_table
from hasten.core.output import check_folder


@app.command(epilog="Example: hasten demo --quick --out demo-out")
@needs("all")
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results and the report go.")] = Path(
        "out/demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A small network and short runs: about a minute.")] = False,
    data: Annotated[str, typer.Option("--data", help="digits (ships with scikit-learn) or cifar10.")] = "digits",
    web: WebOption = None,
    web_token_file: WebTokenOption = None,
    json_to: JsonOption = None,
) -> None:
    """Build, profile and run three streams under a varying link, and write one HTML report."""
    from hasten.demo import run_demo

    console = console_for(json_to)
    check_outputs(json=json_to)
    check_folder(out, "--out")
    with page_of_run(web, web_token_file, out / "tasks", console) as (_, changes), progress_bar(console) as progress:
        outcome = run_demo(out, quick=quick, data=data, progress=progress, changes=changes)
    write_json(json_to, outcome.document)
    table = result_table(outcome.document, outcome.title, console.width)
    show(console, table, *outcome.notes, f"report: {outcome.report}")
