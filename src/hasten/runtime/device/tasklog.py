"""The task log: one JSON line per task, written beside the event loop, and what a failing disk may do to it: nothing.

Lines are handed to a thread, which writes each at once, so that the log can be read while it grows. A disk that is full
ends the log and a disk that hangs leaves lines out; both are told once, and tasks go on as if nothing had happened.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hasten.core.errors import InputError

MOST_WAITING = 10_000
"""So many lines wait for a slow disk; what comes beyond is left out."""
CLOSING_S = 2.0
"""So long closing waits for a disk that hangs."""

STDOUT = Path("-")

Record = dict[str, Any]


class TaskLog:
    """Takes each task's record.

    Args:
        path: the file, if there is to be one; ``-`` is standard output.
        what: it is called in what is told of it.
        keep: whether to keep all records in memory (``records``), for a run of known size.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path | None, keep: bool = False, what: str = "task log") -> None:
        self.records: list[Record] = []
        self.on_trouble: Callable[[str], None] = lambda text: None
        """Told, once, what is wrong with the file; from whichever thread notices."""
        self.trouble: str | None = None
        """What is wrong with the file, if anything was."""
        self._keep = keep
        self._writer = _Writer(path, what, self._trouble) if path is not None else None

    def write(self, record: Record) -> None:
        """Add a record; never fails and never waits."""
        if self._keep:
            self.records.append(record)
        if self._writer is not None:
            self._writer.put(record)

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            self._writer.close()

    def _trouble(self, text: str) -> None:
        if self.trouble is None:
            self.trouble = text
            self.on_trouble(text)


class _Writer:
    def __init__(self, path: Path, what: str, trouble: Callable[[str], None]) -> None:
        self._path, self._what, self._trouble = path, f"{what} {path}", trouble
        try:
            self._file: IO[str] = sys.stdout if path == STDOUT else path.open("w", buffering=1, encoding="utf-8")
        except OSError as error:
            raise InputError(path, "log", path.name, f"a file that can be written ({error.strerror})") from None
        self._lines: queue.Queue[Record | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="task-log", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._trouble(f"{self._what}: the disk is too slow; lines are left out")

    def close(self) -> None:
        try:
            self._lines.put(None, timeout=CLOSING_S)
        except queue.Full:
            pass  # the disk hangs: it has been told, and the thread ends with the process
        else:
            self._thread.join(CLOSING_S)

    def _run(self) -> None:
        works = True
        while (record := self._lines.get()) is not None:
            if works:
                works = self._write(record)
        try:
            if self._path != STDOUT:
                self._file.close()
        except OSError as error:
            self._trouble(f"{self._what}: {error.strerror}")

    def _write(self, record: Record) -> bool:
        """Write a line; False when the file takes no more."""
        try:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            if self._path == STDOUT:  # which may be a pipe
                self._file.flush()
        except OSError as error:
            self._trouble(f"{self._what}: {error.strerror}; no more lines are written")
            return False
        except (TypeError, ValueError) as error:
            self._trouble(f"{self._what}: a line is left out ({error})")
        return True
