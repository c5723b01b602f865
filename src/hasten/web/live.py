"""The page of a run that this process plays, with what may be changed in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from hasten.core.errors import InputError
from hasten.runtime.local.changes import LEAST_FACTOR, MOST_FACTOR, Changes, Kind, RunChange
from hasten.schedulers import scheduler_names
from hasten.web.folder import RunFolder
from hasten.web.server import WebPlace, WebServer


class RunControls:
    """What a person may change in a shaped run; each change holds until the end of its round."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def offered(self) -> list[dict[str, Any]]:
        """Each control: what it does, how it is asked for."""
        factor = {"kind": "number", "value": 1, "min": LEAST_FACTOR, "max": MOST_FACTOR}
        return [
            {"do": "rate", "title": "link rate ×", **factor},
            {"do": "pace", "title": "arrival rate ×", **factor},
            {"do": "scheduler", "title": "scheduler", "kind": "text", "value": "greedy", "choices": scheduler_names()},
            {"do": "kill_edge", "title": "Kill the edge", "kind": "button"},
            {"do": "restart_edge", "title": "Restart the edge", "kind": "button"},
        ]

    def do(self, order: dict[str, Any]) -> str:
        """Have the run do it; what was done, in words."""
        kind, value = order.get("do"), order.get("value")
        if kind not in get_args(Kind):
            raise InputError("web", "do", kind, f"one of {', '.join(get_args(Kind))}")
        if kind == "scheduler":
            if not isinstance(value, str):
                raise InputError("web", "value", value, "a scheduler's name")
            return self._changes.ask(RunChange(kind, scheduler=value))
        if kind in ("rate", "pace"):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise InputError("web", "value", value, "a number")
            return self._changes.ask(RunChange(cast(Kind, kind), factor=float(value)))
        return self._changes.ask(RunChange(cast(Kind, kind)))


@contextmanager
def live_page(place: WebPlace, folder: Path, say: Callable[[str], None]) -> Iterator[Changes]:
    """Serve the page of a run that logs to ``folder``, and have its controls change it; ``say`` is told the address."""
    folder.mkdir(parents=True, exist_ok=True)
    changes = Changes()
    with WebServer(RunFolder(folder, growing=True), place, RunControls(changes)) as server:
        say(f"page: {server.address}")
        yield changes
