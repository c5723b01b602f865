"""The errors that hasten raises on purpose. Each message is one line a user can act on."""

from __future__ import annotations

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
