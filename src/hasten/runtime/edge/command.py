"""``hasten edge``: serve packages until asked to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.edge.server import EdgeServer
from hasten.runtime.notes import Notes, Record, say_on_stderr
from hasten.runtime.sockets import run_loop


def serve_edge(
    packages: Sequence[Path],
    plan: EdgePlan,
    beside: Callable[[EdgeServer], AbstractContextManager[object]] | None = None,
    hear: Callable[[str], None] = say_on_stderr,
    record: Record | None = None,
) -> None:
    """Serve packages until interrupted or terminated.

    Prints one line when it listens and one when it has ended; who comes, goes or is refused is told on standard error.

    Args:
        packages: what is served.
        plan: how.
        beside: given the server when it listens; what it makes is entered until the end.
        hear: takes the lines instead of standard error.
        record: takes them as data, too, and those that would be printed.

    Raises:
        InputError: a package is not intact, a number is out of range, the port is taken, or a file does not fit.
    """
    notes = Notes(hear, record=record)

    def tell(event: str, text: str, **fields: object) -> None:
        if record is None:
            print(text, flush=True)
        else:
            record(event, text, fields)

    edge = OpenedEdge(packages, plan, notes)

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: notes.tell("error", _error(context)))
        server = await edge.start()
        names = [package.manifest.name for package in edge.packages]
        place = f"{server.host}:{server.port}"
        doors = "".join(f"; {door} on {address}" for door, address in edge.addresses.items())
        text = f"edge serves {', '.join(names)} on {place}{doors}"
        tell("serving", text, packages=names, address=place, doors=edge.addresses)
        try:
            with beside(server) if beside is not None else nullcontext():
                await asyncio.Event().wait()
        finally:
            await edge.close()
            totals, devices = dict(sorted(server.core.totals.items())), server.connections.welcomed
            told = ", ".join(f"{count} {kind}" for kind, count in totals.items()) or "no tasks"
            tell("ended", f"edge ended; {devices} devices came; tasks: {told}", devices=devices, tasks=totals)

    run_loop(serve())


def _error(context: dict[str, Any]) -> str:
    error = context.get("exception")
    told = f" ({type(error).__name__}: {error})" if error is not None else ""
    return f"edge: {context.get('message')}{told}"
