"""Where commands write: tables for people, JSON for programs. Checked before the work, files before tables."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from hasten.cli.tables import make_console
from hasten.core import signals
from hasten.core.errors import HastenError, InputError
from hasten.core.output import check_file, write_text

Target = str | Path | None
"""A file, ``-`` for standard output, or nothing."""


def console_for(*targets: Target) -> Console:
    """Tables go to standard error when a result goes to standard output."""
    return make_console(to_stderr="-" in map(str, targets))


def check_outputs(**targets: Target) -> None:
    """Before the work: each file of ``option=target`` can be written, and no two options name the same.

    Raises:
        InputError: names the option.
    """
    seen: dict[str, str] = {}
    for name, target in targets.items():
        if target is None:
            continue
        option = f"--{name}"
        place = str(target) if str(target) == "-" else os.path.realpath(target)
        if place in seen:
            raise InputError("output", option, str(target), f"another place than that of {seen[place]}")
        seen[place] = option
        if place != "-":
            check_file(target, option)
        elif sys.stdout is None:
            raise InputError("output", option, "-", "an open standard output")


def show(console: Console, *parts: RenderableType) -> None:
    """Print tables and lines.

    Raises:
        HastenError: they cannot be written: the disk is full.
    """
    try:
        for part in parts:
            if isinstance(part, Table):
                _drop_columns(part, console.width)
            console.print(part, highlight=False, markup=False)
    except OSError as error:
        raise _lost("standard error" if console.stderr else "standard output", error) from None


def _drop_columns(table: Table, width: int) -> None:
    """Leave the last columns away until those that stay can be read in full; two stay in any case."""
    while len(table.columns) > 2:
        text = io.StringIO()
        Console(file=text, width=width).print(table)
        if "…" not in text.getvalue():
            return
        table.columns.pop()


def write_json(target: Target, document: dict[str, Any], option: str = "--json", indent: int | None = 2) -> None:
    """Write a result where an option says; nothing without it. Of a command that was asked to end it says so.

    Raises:
        HastenError: it cannot be written.
    """
    if target is None:
        return
    signal = signals.asked()
    if signal is not None:
        document = {**document, "interrupted": signal.name}
    text = json.dumps(document, indent=indent, allow_nan=False) + "\n"
    if str(target) != "-":
        write_text(target, text, option)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise _lost("standard output", error) from None


def leave_if_nothing(results: Sequence[object]) -> None:
    """End a command that was asked to end before it had any result."""
    if signals.asked() is not None and not results:
        raise KeyboardInterrupt


def interruption() -> list[str]:
    """A line for people about a command that was asked to end and shows what it has; no line otherwise."""
    signal = signals.asked()
    return [] if signal is None else [f"ended by {signal.name}: this is what was finished"]


def flush_standard_output() -> None:
    """Write what is buffered, so that a full disk is noticed while something can be said about it."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            raise _lost("standard output", error) from None


def _lost(where: str, error: OSError) -> HastenError:
    """The error to raise; what is still buffered is thrown away, or the interpreter's end would stumble on it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return HastenError(f"{where} cannot be written: {error.strerror}")
