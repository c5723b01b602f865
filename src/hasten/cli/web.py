"""`hasten web`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.core import signals


@app.command(epilog="Example: hasten web --run out/demo/tasks")
@needs("web")
def web(
    run: Annotated[
        Path,
        typer.Option("--run", metavar="DIR", help="Task logs: what `hasten run --out` wrote or writes, or one log."),
    ],
    at: Annotated[str, typer.Option("--at", metavar="[HOST:]PORT", help="Where to serve the page.")] = "7780",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Token that the page asks for; needed off the loopback address.")
    ] = None,
) -> None:
    """Show a run in a browser, while it goes on or afterwards with a time slider."""
    from hasten.web.folder import RunFolder
    from hasten.web.server import WebServer, web_place

    place = web_place(at, token_file)
    with WebServer(RunFolder(run), place) as server:
        print(f"page: {server.address}", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            signals.forget()  # the usual end of a server
