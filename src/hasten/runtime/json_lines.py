"""What a process tells its operator as JSON, one object a line on standard error, for what collects logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from hasten.runtime.notes import say_on_stderr

WARNINGS = ("refused", "stuck", "error", "limits", "memory", "reply", "accept")


class JsonLines:
    """Writes events of one kind of process.

    Args:
        source: ``edge`` or ``device``.
        say: takes each line.
    """

    def __init__(self, source: str, say: Callable[[str], None] = say_on_stderr) -> None:
        self._source, self._say = source, say

    def write(self, event: str, text: str, fields: Mapping[str, object] | None = None) -> None:
        """One event: its kind, what is told of it in words, and what of that is data."""
        name = event.lower().replace(" ", "_")
        warning = name in WARNINGS or name.startswith("task_")
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "warning" if warning else "info",
            "source": self._source,
            "event": name,
            "message": text.removeprefix(f"{self._source}: "),
            **(fields or {}),
        }
        self._say(json.dumps(line, ensure_ascii=False, default=str))
