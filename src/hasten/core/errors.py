"""The errors that hasten raises on purpose. Each message is one line a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class HastenError(Exception):
    """Any failure that hasten foresaw; the command line prints it in one line and exits with code 2."""


class InputError(HastenError):
    """A file, key or argument that cannot be used: names where, which field, the value and what was expected."""

    def __init__(self, where: str | Path, field: str, value: object, expected: str) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{where}: {field}: got {shown}, expected {expected}")
        self.where = str(where)
        self.field = field
        self.value = value
        self.expected = expected


def one_of(name: str, names: Sequence[str]) -> str:
    """What was expected instead of a wrong ``name``: one of ``names``, and which one, if one is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"one of {', '.join(names)}{f' (did you mean {near[0]}?)' if near else ''}"
