"""The application that the commands join, and how it ends.

A refusal, a missing package or a disk that is full is one line on standard error and exit code 2. SIGTERM and Ctrl-C
let a command write what it has; the exit code is then 128 and the signal's number: 143, 130.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from typer import BadParameter
from typer.exceptions import Abort, Exit, TyperException

from hasten import __version__
from hasten.cli.output import flush_standard_output
from hasten.core import signals
from hasten.core.errors import HastenError, brief
from hasten.core.files import expectation

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="hasten",
    help="Adaptive DNN inference between mobile devices and an edge node.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hasten {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: hasten demo --quick   (then hasten COMMAND --help)")
def hasten(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Adaptive DNN inference between mobile devices and an edge node."""


def needs(extra: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a command that needs an extra of the installation: where that is missing, one line says so."""

    def mark(command: Callable[P, R]) -> Callable[P, R]:
        @wraps(command)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except ModuleNotFoundError as error:
                missing = (error.name or "").partition(".")[0]
                if missing in ("", "hasten"):
                    raise
                told = f"`hasten {command.__name__}` needs {missing}: pip install 'hasten[{extra}]'"
                raise HastenError(told) from error

        return checked

    return mark


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± gets a question mark
    with _plain_warnings(), signals.handled():
        code = _run()
        signal = signals.asked()
    sys.exit(code if signal is None else 128 + signal)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """What hasten warns of is a line of its own, without the place in the code."""
    usual = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        known = category is UserWarning
        return f"note: {message}\n" if known else usual(message, category, filename, lineno, line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _run() -> int:
    """Run a command; the exit code if nobody asked it to end."""
    try:
        code = app(standalone_mode=False)
        flush_standard_output()
    except TyperException as error:
        return _refuse(_message(error))
    except HastenError as error:
        return _refuse(str(error))
    except Abort as error:
        raise error.__cause__ or error from None  # an EOFError, which Typer takes for the end of a dialogue
    except Exit as leaving:
        return leaving.exit_code
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        return _refuse(f"out of memory: {error}")
    except Exception as error:
        if signals.asked() is None:
            raise
        return _refuse(f"{type(error).__name__}: {error}")  # what was under way fell over the interrupt
    except KeyboardInterrupt:
        code = 130
    signal = signals.asked()
    if signal is not None and code == 130:  # nothing came of it
        _refuse(f"ended by {signal.name}")
    return code if isinstance(code, int) else 0


def _message(error: TyperException) -> str:
    """What was wrong with the arguments: a value and what was expected; for a wrong name the nearest right ones."""
    refused = error.__cause__
    if isinstance(error, BadParameter) and error.param is not None and isinstance(refused, ValidationError):
        first = refused.errors(include_url=False)[0]
        name, expected = error.param.get_error_hint().replace("'", ""), expectation(first).rstrip(".")
        return f"{name}: got {brief(first['input'])}, expected {expected.rpartition(' is not ')[-1]}"
    message, _, nearest = error.format_message().partition(" (Possible options: ")
    return f"{message}. Did you mean {nearest.rstrip(')').replace(', ', ' or ')}?" if nearest else message


def _refuse(message: str) -> int:
    """Say one line, if there is one (`hasten` alone has shown its help)."""
    if not message:
        return 2
    with suppress(OSError):
        print("hasten: " + " ".join(message.split()), file=sys.stderr, flush=True)
    return 2
