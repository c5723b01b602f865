"""Files that are looked at now and then: which are new, other than before, or gone.

A file is told of once it has stopped changing, so that one that is being written is left alone. Whether it is whole is
for whoever opens it to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

LOOK_EVERY_S = 0.5

Stamp = tuple[int, int, int]
"""File number, size and time of the last change: one that was replaced has another, too."""


class WatchedFiles:
    """Files that ``listed`` names, each time it is asked."""

    def __init__(self, listed: Callable[[], Iterable[Path]]) -> None:
        self._listed = listed
        self._seen: dict[Path, Stamp] = {}
        self._told: dict[Path, Stamp] = {}

    def look(self, settled: bool = True) -> tuple[list[Path], list[Path]]:
        """Those that are new or have changed since they were told of, and those that are gone; both in order of name.

        ``settled``: leave those for later that are not as they were at the last look.
        """
        found = {path: stamp for path in self._listed() if (stamp := _stamp(path)) is not None}
        changed = [
            path
            for path, stamp in sorted(found.items())
            if stamp != self._told.get(path) and (not settled or stamp == self._seen.get(path))
        ]
        gone = sorted(path for path in self._told if path not in found)
        self._seen = found
        self._told.update((path, found[path]) for path in changed)
        for path in gone:
            del self._told[path]
        return changed, gone


def _stamp(path: Path) -> Stamp | None:
    """None where there is no file, or none that may be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
