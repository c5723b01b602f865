"""The live page beside a command's work."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hasten.cli.output import show
from hasten.core.errors import HastenError

if TYPE_CHECKING:
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
    try:
        from hasten.web.live import live_page
        from hasten.web.server import web_place
    except ModuleNotFoundError as error:
        raise HastenError(f"`--web` needs {error.name}: pip install 'hasten[web]'") from error

    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hasten-run-")))
        changes = stack.enter_context(live_page(web_place(web, token_file), kept, lambda line: show(console, line)))
        yield kept, changes
