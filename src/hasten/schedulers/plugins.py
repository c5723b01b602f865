"""Schedulers of other packages: entry points of the group ``hasten.schedulers``.

An entry point is named as its scheduler and refers to a factory, which takes the argument after the colon ("" when
there is none) and returns the scheduler; a class with such an ``__init__`` is one. hasten's own names come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hasten.core.decision import Scheduler
from hasten.core.errors import HastenError, InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hasten.schedulers"


def plugin_names() -> list[str]:
    """Names of the schedulers of other packages; none of these packages is imported."""
    return sorted({entry.name for entry in _entries()})


def make_plugin(spec: str) -> Scheduler | None:
    """Make another package's scheduler by ``NAME`` or ``NAME:ARGUMENT``; None where no package has one of this name.

    Raises:
        InputError: two packages have it; or it cannot be imported, made, or used.
    """
    name, _, argument = spec.partition(":")
    entries = {entry.value: entry for entry in _entries() if entry.name == name}
    if not entries:
        return None
    if len(entries) > 1:
        raise InputError("schedulers", name, ", ".join(sorted(entries)), "one package with a scheduler of this name")
    (entry,) = entries.values()
    where = f"scheduler {name} ({entry.value}{f' of {entry.dist.name}' if entry.dist is not None else ''})"
    try:
        scheduler = entry.load()(argument)
    except HastenError:
        raise  # it says by itself what is wrong with the argument
    except (Exception, SystemExit) as error:
        reason = f"a scheduler that can be made ({type(error).__name__}: {error})"
        raise InputError(where, "argument", argument, reason) from error
    if not isinstance(scheduler, Scheduler):
        raise InputError(where, "object", scheduler, "a scheduler, which has name, reset and decide")
    try:
        scheduler.name = spec
    except AttributeError as error:
        raise InputError(where, "name", scheduler.name, "a name that can be set") from error
    return scheduler


def _entries() -> list[EntryPoint]:
    from importlib import metadata  # on first use: it is slow to import, and most devices need none

    return list(metadata.entry_points(group=GROUP))
