"""Rounds read from a folder of task logs, while they grow and afterwards.

What `hasten run --out` writes tells of itself (:mod:`hasten.runtime.local.rounds`). Other logs are taken as they are:
``SCHEDULER-SEED-STREAM.jsonl`` by their names, any other file as a stream of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from hasten.core.errors import InputError
from hasten.core.files import parse_json, validated
from hasten.core.task_log import parse_task
from hasten.runtime.local.rounds import EVENTS_SUFFIX, SUFFIX, RoundEvent, read_round
from hasten.web.state import RoundState, StreamFacts
from hasten.web.tasks import shown_task
from hasten.web.updates import Updates
from hasten.web.view import Plain, summary

MOST_BYTES = 4 << 20
"""So much of a log is read at a time."""
MOST_LINE_BYTES = 1 << 20
_NAME = re.compile(r"(?P<scheduler>.+?)-(?P<seed>\d+)-(?P<stream>.+)")

T = TypeVar("T")


class Tail(Generic[T]):
    """The lines of a file that grows, each made into something; ``unread`` counts those that could not be."""

    def __init__(self, path: Path, read: Callable[[str], T]) -> None:
        self.unread = 0
        self._path, self._read = path, read
        self._offset, self._rest = 0, b""

    def more(self) -> list[T]:
        """What the next whole lines tell, up to ``MOST_BYTES`` of them; nothing where there is no file yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(MOST_BYTES)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_LINE_BYTES:
            self._rest, self.unread = b"", self.unread + 1
        found = []
        for line in lines:
            try:
                if line.strip():
                    found.append(self._read(line.decode()))
            except (InputError, UnicodeDecodeError):
                self.unread += 1
        return found


class _Followed:
    """A round and the files that tell of it."""

    def __init__(self, state: RoundState, logs: list[Path], events: Path | None) -> None:
        self.state = state
        self._logs = [Tail(path, lambda line, path=path: parse_task(line, path)) for path in logs]  # type: ignore[misc]
        self._events = [Tail(events, lambda line: _event(line, events))] if events is not None else []
        self._told_unread = 0

    @property
    def unread(self) -> int:
        """Lines that could not be read."""
        return sum(tail.unread for tail in self._logs) + sum(tail.unread for tail in self._events)

    def refresh(self) -> int:
        """Read what is new; how many tasks that were."""
        heard = [
            (m, shown_task(task, self.state.accuracy[m])) for m, tail in enumerate(self._logs) for task in tail.more()
        ]
        self.state.hear(heard)
        for tail in self._events:
            for event in tail.more():
                self.state.event(event)
        unread = self.unread
        if unread > self._told_unread:
            text = f"{unread - self._told_unread} lines of the logs cannot be read and are left out"
            self.state.happenings.hear(self.state.now_ms(), -1, "unread", text)
            self._told_unread = unread
        return len(heard)


class RunFolder:
    """The rounds of a folder, or of one log.

    Raises:
        InputError: there is nothing to be read there.

    Attributes:
        kind: what a page shows of it.
        rounds: by name, in the order of their beginning.
    """

    kind = "run"

    def __init__(self, path: Path, growing: bool = False) -> None:
        """``growing``: there may be nothing yet."""
        self.rounds: dict[str, RoundState] = {}
        self._path = path
        self._followed: dict[str, _Followed] = {}
        self._read_ns: dict[Path, int] = {}
        if not path.exists():
            raise InputError(path, "run", str(path), "a folder of task logs, as `hasten run --out` writes, or one log")
        self._look()
        if not self.rounds and not growing:
            self._guess()
        if not self.rounds and not growing:
            raise InputError(path, "run", str(path), "a folder with task logs (*.jsonl)")
        heard = 0
        while more := self._read():
            heard += more
        if not heard and not growing and any(followed.unread for followed in self._followed.values()):
            raise InputError(path, "run", str(path), "task logs: no line here tells of a task")

    def refresh(self) -> None:
        """Look for new rounds and read on."""
        self._look()
        self._read()

    def summaries(self) -> list[Plain]:
        """Each round in a line."""
        return [summary(name, state) for name, state in self.rounds.items()]

    def updates(self, name: str, stream: int) -> Updates:
        """For a page that shows a stream of a round, or all of them (-1, or one that is not there)."""
        state = self.rounds[name]
        return Updates(state, stream if stream < len(state.streams) else -1)

    def _read(self) -> int:
        return sum(followed.refresh() for followed in self._followed.values())

    def _look(self) -> None:
        """Read what is told of rounds that are new, or anew."""
        if not self._path.is_dir():
            return
        for path in sorted(self._path.glob(f"*{SUFFIX}")):
            try:
                changed_ns = path.stat().st_mtime_ns
            except OSError:
                continue
            if self._read_ns.get(path) != changed_ns:
                self._read_ns[path] = changed_ns
                self._take(path)
        self.rounds = dict(sorted(self.rounds.items(), key=lambda named: named[1].began_s or 0.0))

    def _take(self, path: Path) -> None:
        told, name = read_round(path), path.name.removesuffix(SUFFIX)
        known = self.rounds.get(name)
        if known is not None and known.began_s == told.began_s:
            known.tell(told)
            return
        facts = [StreamFacts(s.name, s.deadline_ms, len(s.exits), s.blocks) for s in told.streams]
        state = RoundState(told.scenario, told.scheduler, told.seed, facts)
        state.tell(told)
        logs = [self._path / stream.log for stream in told.streams]
        self.rounds[name] = state
        self._followed[name] = _Followed(state, logs, self._path / f"{name}{EVENTS_SUFFIX}")

    def _guess(self) -> None:
        """Logs without a word on their round: by their names."""
        logs = sorted(self._path.glob("*.jsonl")) if self._path.is_dir() else [self._path]
        grouped: dict[tuple[str, int], list[tuple[str, Path]]] = {}
        for path in logs:
            match = _NAME.fullmatch(path.stem)
            key = (match["scheduler"], int(match["seed"])) if match else ("", 0)
            grouped.setdefault(key, []).append((match["stream"] if match else path.stem, path))
        for (scheduler, seed), streams in grouped.items():
            name = f"{scheduler}-{seed}" if scheduler else self._path.name
            state = RoundState(self._path.name, scheduler, seed, [StreamFacts(stream) for stream, _ in streams])
            self.rounds[name] = state
            self._followed[name] = _Followed(state, [path for _, path in streams], None)


def _event(line: str, where: Path) -> RoundEvent:
    return validated(RoundEvent, parse_json(line, where), where)
