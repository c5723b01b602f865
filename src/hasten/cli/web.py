"""`hasten web`: the page of a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from hasten.cli.app import app, needs
from hasten.core import signals
from hasten.core.errors import InputError


@app.command(epilog="Example: hasten web --run out/demo/tasks")
@needs("web")
def web(
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Task logs: what `hasten run --out` wrote or writes, or one log."),
    ] = None,
    edge: Annotated[
        str | None,
        typer.Option(
            "--edge", metavar="HOST:PORT", help="An edge, by what it tells there with `hasten edge --metrics`."
        ),
    ] = None,
    at: Annotated[str, typer.Option("--at", metavar="[HOST:]PORT", help="Where to serve the page.")] = "7780",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Token that the page asks for; needed off the loopback address.")
    ] = None,
) -> None:
    """Show a run in a browser, while it goes on or afterwards with a time slider; or an edge, from elsewhere."""
    from hasten.web.folder import RunFolder
    from hasten.web.remote_edge import RemoteEdge
    from hasten.web.server import WebServer, web_place

    place = web_place(at, token_file)
    with ExitStack() as stack:
        if run is not None and edge is None:
            source: RunFolder | RemoteEdge = RunFolder(run)
        elif edge is not None and run is None:
            source = stack.enter_context(RemoteEdge(edge))
        else:
            raise InputError("web", "--run and --edge", "both" if run else "none", "one of them")
        server = stack.enter_context(WebServer(source, place))
        print(f"page: {server.address}", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            signals.forget()  # the usual end of a server
