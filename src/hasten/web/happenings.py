"""What goes wrong while tasks pass, as a list for people: equal things close together are one entry with a count."""

from __future__ import annotations

from dataclasses import dataclass

from hasten.web.tasks import ShownTask

TOGETHER_MS = 2_000.0
"""Equal events of a stream are one while they began so short a time ago."""

TEXTS = {
    "fallback_unreachable": "decided alone: no connection to the edge",
    "fallback_lost": "finished on the device: the connection broke",
    "fallback_silent": "finished on the device: no answer in time",
    "fallback_late": "finished on the device: link or edge would have been too late",
    "fallback_refused": "finished on the device: the edge refused",
    "fallback_bad_answer": "finished on the device: the edge's answer cannot be true",
    "cancelled_device": "too late at the device",
    "cancelled_uplink": "too late at the uplink",
    "cancelled_edge": "too late at the edge",
    "no_exit_in_time": "the edge failed, no exit left in time",
    "no_answer": "no answer",
    "failed": "could not be run on the device",
    "invalid": "output not finite",
    "bad_answer": "the edge's answer cannot be true",
    "answered_late": "answered late",
}


@dataclass(slots=True)
class Happening:
    """``count`` tasks of a stream met ``kind`` from ``at_ms`` on; ``stream`` -1 is the round as a whole."""

    number: int
    at_ms: float
    stream: int
    kind: str
    text: str
    count: int = 1


class Happenings:
    """The list; ``since`` tells what has changed.

    Attributes:
        all: in the order of their beginning.
    """

    def __init__(self) -> None:
        self.all: list[Happening] = []
        self._open: dict[tuple[int, str], Happening] = {}

    def hear_task(self, stream: int, task: ShownTask) -> Happening | None:
        """A task has ended; the entry that it made or changed, if it did."""
        kind = _kind(task)
        return None if kind is None else self.hear(task.ended_ms, stream, kind, TEXTS.get(kind, kind))

    def hear(self, at_ms: float, stream: int, kind: str, text: str) -> Happening:
        """Something happened to a stream, or to the round (-1)."""
        known = self._open.get((stream, kind))
        if known is not None and stream >= 0 and at_ms - known.at_ms < TOGETHER_MS:
            known.count += 1
            return known
        fresh = Happening(len(self.all), at_ms, stream, kind, text)
        self.all.append(fresh)
        self._open[stream, kind] = fresh
        return fresh


def _kind(task: ShownTask) -> str | None:
    if task.fallback is not None:
        return f"fallback_{task.fallback}"
    if task.reason in TEXTS:
        return task.reason
    return "answered_late" if task.reason == "answered" and task.outcome == "late" else None
