"""What an extra of the installation brings, asked for in one line where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hasten.core.errors import HastenError


@contextmanager
def needing(extra: str, option: str) -> Iterator[None]:
    """Import within; what is missing is a :class:`HastenError` that names ``extra``."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise HastenError(f"`{option}` needs {missing}: pip install 'hasten[{extra}]'") from error
