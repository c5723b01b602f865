"""What commands that write a report have in common."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hasten import __version__
from hasten.core.errors import HastenError, InputError


def command_line() -> str:
    """The command as it was given, to be given again."""
    return shlex.join(["hasten", *sys.argv[1:]])


def about() -> dict[str, str]:
    """What a trace says of itself."""
    return {"command": command_line(), "hasten": __version__}


def check_report(path: Path | None) -> None:
    """Before the work: what draws a report is installed, and its tables will not take its place.

    Raises:
        InputError: the name is none of a page.
        HastenError: the extra ``report`` is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError("output", "--report", str(path), "the name of a page, such as report.html")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise HastenError(f"`--report` needs {error.name}: pip install 'hasten[report]'") from error


def wrote(files: Sequence[Path]) -> list[str]:
    """A line for people about a report and the tables beside it."""
    report, *tables = files
    return [f"report: {report} (numbers: {', '.join(table.name for table in tables)})"]


def traced(path: Path) -> str:
    """A line for people about a timeline."""
    return f"trace: {path} (open it in ui.perfetto.dev)"
