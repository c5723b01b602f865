"""``hasten edge``: serve packages until asked to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.notes import Notes, say_on_stderr
from hasten.runtime.sockets import run_loop


def serve_edge(
    packages: Sequence[Path],
    plan: EdgePlan,
    beside: Callable[[EdgeServer], AbstractContextManager[object]] | None = None,
    hear: Callable[[str], None] = say_on_stderr,
) -> None:
    """Serve packages until interrupted or terminated.

    Prints one line when it listens and one when it has ended; who comes, goes or is refused is told on standard error.

    Args:
        packages: what is served.
        plan: how.
        beside: given the server when it listens; what it makes is entered until the end.
        hear: takes the lines instead of standard error.

    Raises:
        InputError: a package is not intact, a number is out of range, the port is taken, or a file does not fit.
    """
    notes = Notes(hear)
    edge = OpenedEdge(packages, plan, notes)

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: notes.tell("error", _error(context)))
        server = await edge.start()
        names = ", ".join(package.manifest.name for package in edge.packages)
        doors = "".join(f"; {door} on {address}" for door, address in edge.addresses.items())
        print(f"edge serves {names} on {server.host}:{server.port}{doors}", flush=True)
        try:
            with beside(server) if beside is not None else nullcontext():
                await asyncio.Event().wait()
        finally:
            await edge.close()
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(server.core.totals.items())) or "no tasks"
            print(f"edge ended; {server.connections.welcomed} devices came; tasks: {told}", flush=True)

    run_loop(serve())


def _error(context: dict[str, Any]) -> str:
    error = context.get("exception")
    told = f" ({type(error).__name__}: {error})" if error is not None else ""
    return f"edge: {context.get('message')}{told}"
