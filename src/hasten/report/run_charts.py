"""Charts of runs, to be explored: latencies, choices and on-time accuracy over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.rates import BITS_PER_MS_PER_MBPS
from hasten.core.results import Result
from hasten.core.scenario import Scenario
from hasten.report.charts import Chart, ChartLine, FloatArray, Style, exit_tone, tone
from hasten.report.figures import windows

READ_OFF = 400
"""Distributions are drawn at so many latencies."""
RATE_STEPS = 1000
MOST_LINKS = 4
"""More links than this are drawn as their mean and range."""
MOST_TASKS = 4000
"""So many tasks are shown one by one, from the beginning."""


def latency_chart(results: Sequence[Result]) -> Chart:
    """Share of all tasks answered within a time, a line for each scheduler."""
    deadlines = sorted({float(d) for result in results for d in np.unique(result.deadline_ms)})
    x = np.linspace(0.0, 1.6 * max(deadlines, default=1.0), READ_OFF + 1)
    lines = []
    for i, name in enumerate(dict.fromkeys(result.scheduler for result in results)):
        latency = np.sort(np.concatenate([r.latency_ms for r in results if r.scheduler == name]))
        share = np.searchsorted(latency, x, side="right") / max(len(latency), 1)
        lines.append(ChartLine(name, share, tone(i)))
    marks = {deadline: "deadline" if len(deadlines) == 1 else f"{deadline:g} ms" for deadline in deadlines[:6]}
    return Chart(x, lines, "latency, ms", "share of all tasks answered", low=0.0, high=1.0, marks=marks, height=300)


def rates_chart(scenario: Scenario, seed: int) -> Chart:
    """The links' rates over time."""
    realization = scenario.realize(seed)
    x = np.linspace(0.0, _seconds(realization.arrival_ms), RATE_STEPS)
    rates = np.array([[trace.at(1000.0 * time) for time in x] for trace in realization.rates]) / BITS_PER_MS_PER_MBPS
    if len(rates) > MOST_LINKS:
        ends = rates.min(axis=0), rates.max(axis=0)
        lines = [ChartLine(f"mean of {len(rates)} links, and their range", rates.mean(axis=0), "soft", "steps", ends)]
    else:
        names = _link_names(scenario)
        styles: tuple[Style, ...] = ("steps", "dashed", "dotted", "line")
        lines = [
            ChartLine(name, rate, "soft", styles[i], fill=len(rates) == 1)
            for i, (name, rate) in enumerate(zip(names, rates, strict=True))
        ]
    return Chart(x, lines, "time, s", "uplink, Mbit/s", low=0.0, height=150)


def _link_names(scenario: Scenario) -> list[str]:
    """One for each link, in the order of a realization's rates."""
    several = len(scenario.every_edge) > 1
    names = []
    for way in scenario.every_edge:
        shared = way.uplink.topology == "shared"
        links = ["link"] if shared else [f"link of {stream.name}" for stream in scenario.devices]
        names += [f"{link} to {way.name}" for link in links] if several else links
    return names


def choices_chart(result: Result, scenario: Scenario) -> Chart:
    """Each task at its partition point, coloured by the exit that answered; below those that were dropped."""
    names = [stream.name for stream in scenario.devices]
    n = min(result.tasks, MOST_TASKS)
    exits = (result.decisions[:, 0] if result.answered_exit is None else result.answered_exit)[:n]
    decided, stream = result.decisions[:n], result.stream[:n]
    on_time, dropped = result.on_time[:n], result.dropped[:n]
    partitions = max(len(stream.profile.blocks) for stream in scenario.devices)
    y = decided[:, 1] + 0.5 * (stream - (len(names) - 1) / 2) / max(len(names), 1)
    floor = -1.0
    deepest = max(len(stream.profile.exits) for stream in scenario.devices)

    def points(label: str, shown: FloatArray, chosen: NDArray[np.bool_], colour: str, rings: bool = False) -> ChartLine:
        return ChartLine(label, np.where(chosen, shown, np.nan), colour, "rings" if rings else "dots")

    lines = [
        points(f"exit {number}", y, on_time & (exits == number), exit_tone(number, deepest))
        for number in range(1, deepest + 1)
        if np.any(on_time & (exits == number))
    ]
    if np.any(late := ~on_time & ~dropped):
        lines.append(points("late", y, late, "bad", rings=True))
    if np.any(dropped):
        lines.append(points("dropped", np.full(n, floor), dropped, "bad"))
    step = max(round(partitions / 10), 1)
    named = {floor: "dropped", 0.0: "0: edge"} | {float(p): str(p) for p in range(step, partitions + 1, step)}
    return Chart(
        result.arrival_ms[:n] / 1000.0,
        lines,
        "time, s",
        "partition point",
        low=floor - 0.6,
        high=partitions + 0.6,
        names=named,
        notes=[_told(result, i, names) for i in range(n)],
        height=360,
    )


def accuracy_chart(results: Sequence[Result]) -> Chart:
    """On-time accuracy in windows, a line for each result; all are of one seed."""
    last_ms = max((float(result.arrival_ms.max(initial=0.0)) for result in results), default=0.0)
    lines = [ChartLine(result.scheduler, windows(result, last_ms)[1], tone(i)) for i, result in enumerate(results)]
    x = windows(results[0], last_ms)[0] / 1000.0
    return Chart(x, lines, "time, s", "on-time accuracy", low=0.0, high=1.0, height=300)


def _told(result: Result, i: int, names: Sequence[str]) -> str:
    """A task in a line."""
    exit_, partition = result.decisions[i].tolist()
    where = f"{names[result.stream[i]]}, {result.arrival_ms[i] / 1000.0:.2f} s: "
    if exit_ == 0:
        return f"{where}dropped"
    latency = result.latency_ms[i]
    ended = f"{latency:.1f} of {result.deadline_ms[i]:g} ms" if np.isfinite(latency) else "no answer"
    answered = exit_ if result.answered_exit is None else int(result.answered_exit[i])
    other = f", exit {answered} answered" if answered not in (0, exit_) else ""
    return f"{where}exit {exit_}, partition {partition}{other}, {ended}"


def _seconds(arrival_ms: FloatArray) -> float:
    return max(float(arrival_ms.max(initial=0.0)) / 1000.0, 1e-3)
