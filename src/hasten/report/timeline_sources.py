"""What timelines are drawn of: simulated results, and the task logs of runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from hasten.core.errors import InputError
from hasten.core.rates import BITS_PER_MS_PER_MBPS, RateTrace
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.core.task_log import LoggedTask, parse_task
from hasten.report.timeline import StageSlice, TracedRound, TracedTask
from hasten.runtime.local.rounds import SUFFIX, Round, read_round

OUTCOMES = ("on_time", "late", "dropped")
PLACE_OF = {"device": "device", "encode": "device", "uplink": "uplink", "edge": "edge", "decode": "edge"}
"""Parts of a log that keep a place busy; the others are waits and ways, which show as gaps."""


def simulated_round(scenario: Scenario, result: Result) -> TracedRound:
    """A simulated result of a scenario, whose devices do not finish tasks by themselves: of that no times are kept.

    Raises:
        InputError: devices do, as they see by themselves.
    """
    require_times(scenario)
    from hasten.sim.stage_times import stage_times

    realization = scenario.realize(result.seed)
    times = stage_times(scenario, realization, result)
    ways = scenario.every_edge
    at = np.zeros(result.tasks, dtype=np.int64) if result.edge is None else result.edge
    names = [stream.name for stream in scenario.devices]
    outcome = np.where(result.on_time, 0, np.where(result.dropped, 2, 1))
    counts = np.zeros(len(names), dtype=np.int64)
    tasks = []
    for i in range(result.tasks):
        stream = names[result.stream[i]]
        way = ways[at[i]]
        uplink = "uplink" if way.uplink.topology == "shared" else f"{stream}: uplink"
        tracks = (
            f"{stream}: device",
            uplink if len(ways) == 1 else f"{uplink} to {way.name}",
            way.name if way.edge.workers == 1 else f"{way.name}, worker {times.worker[i] + 1}",
        )
        bounds = (
            (times.device_start_ms[i], times.device_end_ms[i]),
            (times.uplink_start_ms[i], times.uplink_end_ms[i]),
            (times.edge_start_ms[i], times.edge_end_ms[i]),
        )
        stages = [
            StageSlice(place, track, place, begin, end)
            for place, track, (begin, end) in zip(("device", "uplink", "edge"), tracks, bounds, strict=True)
            if np.isfinite(end) and end > begin
        ]
        number = int(counts[result.stream[i]])
        counts[result.stream[i]] += 1
        told = _told(stream, number, result.decisions[i].tolist(), float(result.latency_ms[i]))
        ended = OUTCOMES[outcome[i]]
        arrival_ms, deadline_ms = float(result.arrival_ms[i]), float(result.deadline_ms[i])
        tasks.append(TracedTask(f"{stream} #{number}", tracks[0], arrival_ms, deadline_ms, ended, stages, told))
    until_ms = float(result.arrival_ms.max(initial=0.0))
    rates: dict[str, list[tuple[float, float]]] = {}
    for e, way in enumerate(ways):
        own = realization.rates_of(scenario.links[e])
        to = "" if len(ways) == 1 else f" to {way.name}"
        rates |= {f"{name}{to}": steps for name, steps in _rates(own, names, until_ms).items()}
    return TracedRound(f"{result.scheduler}, seed {result.seed}", tasks, rates)


def require_times(scenario: Scenario) -> None:
    """Raise an :class:`InputError` where simulated tasks have no times of stages."""
    if scenario.view.kind == "device":
        expected = (
            "fresh; for what devices finish by themselves run it in virtual time, hasten conform --virtual --out DIR, "
            "then hasten trace DIR"
        )
        raise InputError(scenario.name, "view.kind", "device", expected)


def logged_rounds(path: Path, only: Collection[str] | None = None) -> list[TracedRound]:
    """The rounds of a folder that `hasten run --out` wrote, those named ``only`` where that is given.

    A log by itself, and each in a folder without a word on its rounds, is a round of its own.

    Raises:
        InputError: there is nothing to be read there, or a line is none of a task log.
    """
    if path.is_dir():
        files = [file for file in path.glob(f"*{SUFFIX}") if only is None or file.name.removesuffix(SUFFIX) in only]
        told = sorted(map(read_round, files), key=lambda one: one.began_s)
        if told:
            return [_logged_round(path, one) for one in told]
    logs = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not logs:
        raise InputError(path, "run", str(path), "a folder that `hasten run --out` wrote, or one task log")
    return [TracedRound(log.stem, [_logged(log.stem, task) for task in read_tasks(log)]) for log in logs]


def read_tasks(path: Path) -> list[LoggedTask]:
    """A log's tasks, in order of arrival."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "log", str(path), f"a task log ({error})") from None
    return sorted((parse_task(line, path) for line in lines if line.strip()), key=lambda task: task.arrival_ms)


def _logged_round(folder: Path, told: Round) -> TracedRound:
    edges = [edge.name for edge in told.edges]
    tasks = [_logged(stream.name, task, edges) for stream in told.streams for task in read_tasks(folder / stream.log)]
    names = [stream.name for stream in told.streams]
    until_ms = max((task.arrival_ms for task in tasks), default=0.0)
    rates: dict[str, list[tuple[float, float]]] = {}
    for to, links in [(f" to {edge.name}", edge.links) for edge in told.edges] or [("", told.links)]:
        drawn = _rates([link.trace() for link in links], names, until_ms)
        rates |= {f"{name}{to}": steps for name, steps in drawn.items()}
    return TracedRound(f"{told.scheduler}, seed {told.seed}", tasks, rates)


def _logged(stream: str, task: LoggedTask, edges: Sequence[str] = ()) -> TracedTask:
    """A task of a log: its parts one after the other, from its arrival on; ``edges`` are the names of several."""
    edge = edges[task.edge] if task.edge < len(edges) else None
    uplink = "uplink" if edge is None else f"uplink to {edge}"
    tracks = {"device": f"{stream}: device", "uplink": f"{stream}: {uplink}", "edge": edge or "edge"}
    stages, at_ms = [], task.arrival_ms
    for name, took_ms in task.stages():
        place = PLACE_OF.get(name)
        if place is not None and took_ms > 0.0:
            stages.append(StageSlice(place, tracks[place], name, at_ms, at_ms + took_ms))
        at_ms += took_ms
    outcome = task.outcome or ("dropped" if task.latency_ms is None else "on_time")
    told = _told(stream, task.task, [task.exit, task.partition], task.latency_ms)
    told |= {"answered_exit": task.answered_exit, "fallback": task.fallback, "reason": task.reason}
    told |= {f"{name}_ms": took_ms for name, took_ms in (task.parts or {}).items()}
    name = f"{stream} #{task.task}"
    return TracedTask(name, tracks["device"], task.arrival_ms, task.deadline_ms, outcome, stages, told)


def _told(stream: str, number: int, decision: Sequence[int], latency_ms: float | None) -> dict[str, object]:
    known = latency_ms is not None and np.isfinite(latency_ms)
    latency = {"latency_ms": round(float(latency_ms), 3)} if known and latency_ms is not None else {}
    return {"stream": stream, "task": number, "exit": decision[0], "partition": decision[1], **latency}


def _rates(rates: Sequence[RateTrace], names: Sequence[str], until_ms: float) -> dict[str, list[tuple[float, float]]]:
    """Where each link's rate changes, up to a time."""
    called = ["uplink"] if len(rates) == 1 else [f"uplink of {name}" for name in names]
    return {
        name: [(at_ms, rate / BITS_PER_MS_PER_MBPS) for at_ms, rate in trace.changes(until_ms)]
        for name, trace in zip(called, rates, strict=True)
    }
