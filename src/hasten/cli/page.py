"""The live page beside a command's work."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hasten.cli.output import show
from hasten.core.errors import HastenError

if TYPE_CHECKING:
    from hasten.runtime.edge.server import EdgeServer
    from hasten.runtime.local.changes import Changes


@contextmanager
def page_of_run(
    web: str | None, token_file: Path | None, folder: Path | None, console: Console
) -> Iterator[tuple[Path | None, Changes | None]]:
    """Serve the page of a run that logs to ``folder``, if ``--web`` asks for it.

    Gives the folder, a temporary one where there was none, and what is changed by hand.
    """
    if web is None:
        yield folder, None
        return
    with _needs_web():
        from hasten.web.live import live_page
        from hasten.web.server import web_place

    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hasten-run-")))
        changes = stack.enter_context(live_page(web_place(web, token_file), kept, lambda line: show(console, line)))
        yield kept, changes


def page_of_edge(
    web: str | None, token_file: Path | None, say: Callable[[str], None]
) -> tuple[Callable[[EdgeServer], AbstractContextManager[object]] | None, Callable[[str], None]]:
    """What serves an edge's page while it listens, if ``--web`` asks for one; and what hears lines, with ``say``."""
    if web is None:
        return None, say
    with _needs_web():
        from hasten.web.edge import EdgeWatch
        from hasten.web.server import WebServer, web_place

    watch = EdgeWatch()
    server = WebServer(watch, web_place(web, token_file))

    @contextmanager
    def beside(edge: EdgeServer) -> Iterator[None]:
        with watch.begin(edge), server:
            print(f"page: {server.address}", flush=True)
            yield

    def hear(text: str) -> None:
        say(text)
        watch.hear(text)

    return beside, hear


@contextmanager
def _needs_web() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise HastenError(f"`--web` needs {error.name}: pip install 'hasten[web]'") from error
