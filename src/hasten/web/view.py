"""The page of a round at a time, as plain data: rows, series, tasks, events. Windows end at that time.

``now`` figures are of the tasks that ended in the last ``NOW_MS``; series cover the last ``SPAN_MS`` in steps of
``STEP_MS``. The rate believed and the backlogs are those that devices saw at the decisions of those tasks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hasten.web.state import RoundState
from hasten.web.tasks import OUTCOMES, ShownTask
from hasten.web.track import Track, quantile

NOW_MS, SPAN_MS, STEP_MS = 10_000.0, 60_000.0, 500.0
ACCURACY_STEPS = 8
"""On-time accuracy over time is of the tasks of so many steps: single steps have too few."""
MEANS = ("rate_mbps", "device_wait_ms", "uplink_wait_ms", "edge_wait_ms")

Plain = dict[str, Any]


def figures(track: Track, at_ms: float) -> Plain:
    """A stream's, or all streams', figures at a time."""
    last = track.count(at_ms)
    first = track.count(at_ms - NOW_MS)
    latencies = track.latencies_ms(first, last)
    choice = track.usual_choice(first, last)
    return {
        "tasks": last,
        "rate_hz": _rounded((last - first) / (min(max(at_ms, 1.0), NOW_MS) / 1000.0), 2),
        "accuracy": _rounded(track.accuracy(0, last)),
        "measured": track.measured(0, last),
        "accuracy_now": _rounded(track.accuracy(first, last)),
        "on_time": _rounded(track.mean("on_time", 0, last)),
        "late": _rounded(track.mean("late", 0, last)),
        "dropped": _rounded(track.mean("dropped", 0, last)),
        "fallback": _rounded(track.mean("fallback", 0, last)),
        "p50_ms": _rounded(quantile(latencies, 0.5), 1),
        "p95_ms": _rounded(quantile(latencies, 0.95), 1),
        "exit": choice[0] if choice else None,
        "partition": choice[1] if choice else None,
        "place": choice[2] if choice else None,
        "choice_share": _rounded(choice[3], 2) if choice else None,
        **{name: _rounded(track.mean(name, first, last)) for name in MEANS},
    }


def summary(name: str, state: RoundState) -> Plain:
    """A round in a line, as far as it is known."""
    last = len(state.all)
    return {
        "name": name,
        "scheduler": state.scheduler,
        "seed": state.seed,
        "tasks": last,
        "accuracy": _rounded(state.all.accuracy(0, last)),
        "measured": state.all.measured(0, last),
        "on_time": _rounded(state.all.mean("on_time", 0, last)),
        "live": state.live,
    }


def rows(state: RoundState, at_ms: float) -> list[Plain]:
    """The figures of each stream, with its name and deadline."""
    return [
        {
            "name": facts.name,
            "deadline_ms": facts.deadline_ms or (track.tasks[0].deadline_ms if track.tasks else None),
            "exits": facts.exits or track.exits,
            "blocks": facts.blocks or None,
            "shaped_mbps": _rounded(state.shaped_mbps(m, at_ms)),
            **figures(track, at_ms),
        }
        for m, (facts, track) in enumerate(zip(state.streams, state.tracks, strict=True))
    ]


def steps(first_ms: float, at_ms: float) -> list[float]:
    """The ends of the steps from ``first_ms`` to ``at_ms``, the last of which is not over yet."""
    first, last = int(first_ms // STEP_MS), int(at_ms // STEP_MS)
    return [STEP_MS * (step + 1) for step in range(max(first, 0), last + 1)]


def series(state: RoundState, stream: int, at_ms: float, first_ms: float) -> Plain:
    """Over time, from ``first_ms`` on: of one stream, or of all (-1)."""
    track = state.all if stream < 0 else state.tracks[stream]
    ends = steps(first_ms, at_ms)
    counts = [track.count(min(end, at_ms)) for end in [end - STEP_MS for end in ends[:1]] + ends]
    found: Plain = {"at_ms": ends}
    wide = [track.count(end - ACCURACY_STEPS * STEP_MS) for end in ends]
    found["accuracy"] = [_rounded(track.accuracy(i, j)) for i, j in zip(wide, counts[1:], strict=True)]
    found["on_time"] = [_rounded(track.mean("on_time", i, j)) for i, j in zip(wide, counts[1:], strict=True)]
    for name in MEANS:
        found[name] = [_rounded(track.mean(name, i, j)) for i, j in pairwise(counts)]
    found["shaped_mbps"] = [_shaped(state, stream, min(end - 0.5 * STEP_MS, at_ms)) for end in ends]
    return found


def points(tasks: list[ShownTask]) -> list[list[float | int | None]]:
    """Of each task: when it ended, latency (None without an answer), deadline, outcome's place in ``OUTCOMES``."""
    return [
        [round(t.ended_ms, 1), _rounded(t.latency_ms, 1), round(t.deadline_ms, 1), OUTCOMES.index(t.outcome)]
        for t in tasks
    ]


def timeline(task: ShownTask, stream: int) -> Plain:
    """A task with its stages, for the timeline."""
    return {
        "stream": stream,
        "number": task.number,
        "arrival_ms": round(task.arrival_ms, 2),
        "ended_ms": round(task.ended_ms, 2),
        "deadline_ms": round(task.deadline_ms, 2),
        "latency_ms": _rounded(task.latency_ms, 2),
        "outcome": task.outcome,
        "reason": task.reason,
        "fallback": task.fallback,
        "exit": task.exit,
        "partition": task.partition,
        "edge": task.edge,
        "stages": [[name, round(took_ms, 2)] for name, took_ms in task.stages if took_ms > 0.0],
    }


def _shaped(state: RoundState, stream: int, at_ms: float) -> float | None:
    """Of one stream; of all the mean over the streams."""
    if stream >= 0 or state.links == 1:
        return _rounded(state.shaped_mbps(max(stream, 0), at_ms))
    rates = [rate for m in range(state.links) if (rate := state.shaped_mbps(m, at_ms)) is not None]
    return _rounded(sum(rates) / len(rates)) if rates else None


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
