"""What a program is told of its edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EdgeNews = Literal["connected", "lost", "unreachable"]


@dataclass(frozen=True, slots=True)
class EdgeEvent:
    """The edge has come, has gone, or could not be reached."""

    kind: EdgeNews
    text: str
    """In words, with the reason."""


EdgeListener = Callable[[EdgeEvent], None]
