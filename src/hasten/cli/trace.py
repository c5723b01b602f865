"""`hasten trace`: the timeline of a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app
from hasten.cli.output import check_outputs
from hasten.cli.report import about, traced


@app.command(epilog="Example: hasten trace out/demo/tasks -o trace.json   (open it in ui.perfetto.dev)")
def trace(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="Task logs: what `hasten run --out` wrote, or one log.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.json", help="Where the timeline goes.")],
) -> None:
    """Write the timeline of a finished run as Chrome trace events, for Perfetto."""
    from hasten.report.timeline import write_trace
    from hasten.report.timeline_sources import logged_rounds

    check_outputs(output=output)
    rounds = logged_rounds(run)
    write_trace(output, rounds, about())
    print(traced(output))
