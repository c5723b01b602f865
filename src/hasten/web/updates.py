"""What a page is sent: first everything at a time, then only what has changed, so that many streams stay light."""

from __future__ import annotations

from typing import Any

from hasten.web.calibrated import calibration
from hasten.web.happenings import Happening
from hasten.web.state import RoundState
from hasten.web.view import SPAN_MS, STEP_MS, Plain, figures, points, rows, series, timeline

MOST_POINTS, MOST_IN_TIMELINE, MOST_EVENTS = 4_000, 40, 200
"""So many of the last tasks, of tasks with their stages and of events are sent at a time, and kept by a page."""


class Updates:
    """What one page is sent of one round, at times that never go back.

    Args:
        state: the round.
        stream: whose series, tasks and calibration are shown; -1: those of all streams.
    """

    def __init__(self, state: RoundState, stream: int = -1) -> None:
        self._state, self._stream = state, stream
        self._track = state.all if stream < 0 else state.tracks[stream]
        self._rows: list[Plain] = [{} for _ in state.streams]
        self._rest: Plain = {}
        self._tasks = 0
        self._from_ms: float | None = None
        self._counts: dict[int, int] = {}

    def update(self, at_ms: float | None = None) -> Plain:
        """What is new at a time, by default now; from ``series.from_ms`` on the page forgets what it had."""
        state = self._state
        if at_ms is None:
            at_ms = state.now_ms()
        fresh: Plain = {"at_ms": round(at_ms, 1), "series": self._series(at_ms), **self._new_tasks(at_ms)}
        fresh |= self._changed(
            {
                "title": state.title,
                "scheduler": state.scheduler,
                "seed": state.seed,
                "live": state.live,
                "end_ms": round(state.now_ms(), 1),
                "total": figures(state.all, at_ms),
            }
        )
        if fresh["points"] or "calibration" not in self._rest:
            fresh |= self._changed({"calibration": calibration(self._track.tasks[: self._tasks])})
        fresh["rows"] = self._changed_rows(at_ms)
        fresh["events"] = self._new_events(at_ms)
        return fresh

    def _changed(self, values: Plain) -> Plain:
        changed = {name: value for name, value in values.items() if self._rest.get(name) != value}
        self._rest |= changed
        return changed

    def _changed_rows(self, at_ms: float) -> list[list[Any]]:
        """[stream, its changed figures] of each stream of which any changed."""
        found = []
        for m, row in enumerate(rows(self._state, at_ms)):
            known = self._rows[m]
            changed = {name: value for name, value in row.items() if name not in known or known[name] != value}
            if changed:
                found.append([m, changed])
                self._rows[m] = row
        return found

    def _series(self, at_ms: float) -> Plain:
        """From the step on that was not over when it was last sent."""
        from_ms = max(at_ms - SPAN_MS, self._from_ms or 0.0)
        found = series(self._state, self._stream, at_ms, from_ms)
        found["from_ms"] = found["at_ms"][0]
        self._from_ms = at_ms - STEP_MS  # the last steps once more: what ended in them may be heard of later
        return found

    def _new_tasks(self, at_ms: float) -> Plain:
        """Tasks that ended since the last time, the last of them with their stages."""
        known, self._tasks = self._tasks, max(self._track.count(at_ms), self._tasks)
        first = max(known, self._tasks - MOST_POINTS)
        tasks = self._track.tasks[first : self._tasks]
        staged = range(max(known, self._tasks - MOST_IN_TIMELINE), self._tasks)
        owner = self._state.owner if self._stream < 0 else None
        return {
            "points": points(tasks),
            "timeline": [timeline(self._track.tasks[i], owner[i] if owner else self._stream) for i in staged],
        }

    def _new_events(self, at_ms: float) -> list[Plain]:
        """Events that are new or count more than before; those of other streams too."""
        recent = [one for one in self._state.happenings.all[-2 * MOST_EVENTS :] if one.at_ms <= at_ms][-MOST_EVENTS:]
        changed = [one for one in recent if self._counts.get(one.number) != one.count]
        self._counts |= {one.number: one.count for one in changed}
        return [_event(one) for one in changed]


def _event(one: Happening) -> Plain:
    return {
        "number": one.number,
        "at_ms": round(one.at_ms, 1),
        "stream": one.stream,
        "kind": one.kind,
        "text": one.text,
        "count": one.count,
    }
