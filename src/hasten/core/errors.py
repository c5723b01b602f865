"""The errors that hasten raises on purpose. Each message is one line a user can act on."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

MAX_EXPECTED = 1000
MAX_PLACE = 200
"""Letters of a message's parts."""


class HastenError(Exception):
    """Any failure that hasten foresaw; the command line prints it in one line and exits with code 2."""


class InputError(HastenError, ValueError):
    """A file, key or argument that cannot be used: names where, which field, the value and what was expected."""

    where: str
    field: str
    value: object
    expected: str

    def __init__(self, where: str | Path, field: str, value: object, expected: str) -> None:
        place, name = _one_line(str(where), MAX_PLACE), _one_line(field, MAX_PLACE)
        super().__init__(f"{place}: {name}: got {brief(value)}, expected {_one_line(expected, MAX_EXPECTED)}")
        self.where = str(where)
        self.field = field
        self.value = value
        self.expected = expected

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, object, str]]:
        """So that it passes from a worker process to its parent."""
        return InputError, (self.where, self.field, self.value, self.expected)


class ClosedError(HastenError):
    """Something was asked of a device or an edge that has been closed."""


def one_of(name: str, names: Sequence[str]) -> str:
    """What was expected instead of a wrong ``name``: one of ``names``, and which one, if one is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"one of {', '.join(names)}{f' (did you mean {near[0]}?)' if near else ''}"


def brief(value: object) -> str:
    """``repr`` in one short line, in a short time whatever the value: a part of what is long, nested or shared."""
    return _one_line(_BRIEF.repr(value), 80)


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 4
        self.maxdict = 3
        self.maxstring = 72

    def repr_int(self, x: int, level: int) -> str:
        """Digits only of numbers that a person would read."""
        if x.bit_length() <= 100:
            return repr(x)
        return f"an integer of {int(x.bit_length() * 0.30103) + 1} digits"

    def repr_instance(self, x: Any, level: int) -> str:
        """Anything but Python's own collections."""
        if isinstance(x, bytes | bytearray):
            return repr(x[:72])
        if isinstance(x, float | complex | bool | PurePath) or x is None or type(x).__module__ == "numpy":
            return repr(x)
        return f"<{type(x).__name__}>"


_BRIEF = _Brief()


def _one_line(text: str, limit: int) -> str:
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(letter if letter.isprintable() else " " for letter in cut)
