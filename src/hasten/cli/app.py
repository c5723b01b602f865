"""The application that the commands join, and how it ends: a refusal is one line and exit code 2."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import Abort, Exit, TyperException

from hasten.core.errors import HastenError

app = typer.Typer(
    name="hasten",
    help="Adaptive DNN inference between mobile devices and an edge node.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; what went wrong is one line on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        _fail(message)
    except HastenError as error:
        _fail(str(error))
    except (Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exit as leaving:
        sys.exit(leaving.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    print("hasten: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
