"""Where commands write: a console for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from hasten.core.output import write_text
from hasten.show import make_console


def console_for(json_to: str | None) -> Console:
    """Tables go to standard error when JSON goes to standard output."""
    return make_console(to_stderr=json_to == "-")


def write_json(json_to: str | None, document: dict[str, Any]) -> None:
    """Write a result document where ``--json`` says; nothing without it."""
    if json_to is None:
        return
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if json_to == "-":
        sys.stdout.write(text)
    else:
        write_text(json_to, text)
