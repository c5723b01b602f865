"""The result cache of a study. One entry is one scheduler on one realization of one scenario, or one training.

An entry's key is a hash of everything that its value follows from, the contents of recordings and profiles included
(:mod:`hasten.study.input_files`), so results of other seeds, schedulers or conditions are added to those found, and an
interrupted study continues. One SQLite file, written by one process.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from hasten.core.errors import InputError
from hasten.core.version import own_version

CACHE_SCHEMA = "hasten.cells/5"
"""Raised when simulator, solver, schedulers or learner change what they answer: old results are then left unused."""
AT_ONCE = 500
"""SQLite takes so many parameters in one statement anywhere."""


def result_key(kind: str, **facts: Any) -> str:
    """The key of a result of some kind that follows from ``facts`` (plain data), this hasten and this schema."""
    text = json.dumps([CACHE_SCHEMA, own_version(), kind, facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ResultCache:
    """A file of results: key to plain data."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(path)
            with self._file:
                self._file.execute("CREATE TABLE IF NOT EXISTS cells (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise InputError(path, "cache", path.name, f"a SQLite file of results, or none ({error})") from None

    def __enter__(self) -> ResultCache:
        """Use as a context, which closes the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def find(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of the results that are there."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._file.execute(f"SELECT key, value FROM cells WHERE key IN ({marks})", some)
            found |= {key: json.loads(value) for key, value in rows}
        return found

    def keep(self, results: Mapping[str, Any]) -> None:
        """Add results, all or none.

        Raises:
            InputError: they cannot be written: the disk is full, another process writes all the time.
        """
        rows = [(key, json.dumps(value)) for key, value in results.items()]
        try:
            with self._file:
                self._file.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise InputError(self._path, "cache", self._path.name, f"a file that can be written ({error})") from None
