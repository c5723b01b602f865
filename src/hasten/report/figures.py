"""Figures of results, each a function that returns a matplotlib ``Figure``. None computes anything but averages.

They stand on their own: nothing is drawn into a current figure, and no backend is chosen. A notebook shows them after
``%matplotlib inline``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hasten.core.rates import BITS_PER_MS_PER_MBPS, RateTrace
from hasten.core.results import Result
from hasten.core.scenario import Scenario

FloatArray = NDArray[np.float64]

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "axes.edgecolor": "#8a9099",
    "axes.labelcolor": "#30363d",
    "text.color": "#1f2328",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "hasten",
}
COLOURS = ("#0b6bcb", "#e07b00", "#1a9c5b", "#b4308f", "#7a5cd6", "#c4392f", "#008a94", "#8a6d3b", "#6b7280")
LINE_STYLES = ("-", "--", ":", "-.")
SHOWN_PAIRS = 14
"""The map of fixed pairs shows so many of the best, and every pair that is best in some regime."""
ON_LIGHT, ON_DARK = "#101418", "#fefefe"
"""Text on cells that are coloured by value, in a light and a dark page alike."""
WINDOW_MS = 2000.0
"""On-time accuracy over time is averaged over windows this long."""


@dataclass(frozen=True)
class FixedPairs:
    """On-time accuracy of every fixed (exit, partition) in each regime of the link: (P, R) for P pairs, R regimes."""

    pairs: tuple[tuple[int, int], ...]
    regimes: tuple[str, ...]
    on_time_accuracy: FloatArray
    adaptive: FloatArray
    """(R,): the adaptive scheduler's, simulated on the same tasks."""
    adaptive_name: str
    overall: FloatArray
    """(P,): each pair's over all regimes."""
    adaptive_overall: float


@matplotlib.rc_context(STYLE)
def on_time_accuracy(results: Sequence[Result]) -> Figure:
    """Bars of on-time accuracy for each scheduler: measured where there were answers, profiled as a mark."""
    names = list(dict.fromkeys(result.scheduler for result in results))
    figure, axes = _figure(7.6, 0.46 * len(names) + 1.0)
    for y, name in enumerate(names):
        mine = [result for result in results if result.scheduler == name]
        profiled = [result.on_time_accuracy for result in mine]
        measured = [m for m in (result.measured_on_time_accuracy for result in mine) if m is not None]
        shown = measured or profiled
        axes.barh(y, np.mean(shown), color=COLOURS[y % len(COLOURS)], height=0.62)
        if len(shown) > 1:
            axes.plot(shown, [y] * len(shown), "|", color="#1f2328", markersize=9)
        if measured:
            axes.plot(np.mean(profiled), y, "D", color="white", markeredgecolor="#1f2328", markersize=5.5)
        axes.annotate(
            f"{np.mean(shown):.3f}",
            (max(*shown, np.mean(profiled)), y),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.0)
    axes.grid(axis="y", visible=False)
    diamonds = any(result.correct is not None for result in results)
    axes.set_xlabel(
        "on-time accuracy" + (" (bar: measured answers, diamond: from profiled accuracy)" if diamonds else "")
    )
    return figure


@matplotlib.rc_context(STYLE)
def latency_distribution(results: Sequence[Result]) -> Figure:
    """Share of all tasks answered within a time, for each scheduler; where a curve ends is its share of answers."""
    figure, axes = _figure(7.6, 3.5)
    deadlines = sorted({float(d) for result in results for d in np.unique(result.deadline_ms)})
    longest = 1.6 * deadlines[-1] if deadlines else 1.0
    for i, name in enumerate(dict.fromkeys(result.scheduler for result in results)):
        latency = np.concatenate([r.latency_ms for r in results if r.scheduler == name])
        answered = np.sort(latency[np.isfinite(latency)])
        share = np.arange(1, len(answered) + 1) / max(len(latency), 1)
        axes.step(answered, share, where="post", color=COLOURS[i % len(COLOURS)], label=name, linewidth=1.7)
    for deadline in deadlines:
        axes.axvline(deadline, color="#1f2328", linestyle="--", linewidth=1)
        axes.annotate("deadline", (deadline, 1.0), (4, 2), textcoords="offset points", fontsize=9, va="bottom")
    axes.set_xlim(0, longest)
    axes.set_ylim(0, 1.0)
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("share of all tasks answered")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


@matplotlib.rc_context(STYLE)
def choices_over_time(result: Result, scenario: Scenario) -> Figure:
    """The links' rates above; below, each task at its partition point, coloured by exit; crosses did not make it.

    ``scenario`` is the one that the result is of.
    """
    rates = scenario.realize(result.seed).rates
    partitions = max(len(stream.profile.blocks) for stream in scenario.devices)
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.3))
    seconds = result.arrival_ms / 1000.0
    _plot_rates(above, rates, float(seconds.max()) if len(seconds) else 1.0)
    exits = result.decisions[:, 0] if result.answered_exit is None else result.answered_exit
    spread = (result.stream - result.stream.mean()) / max(len(np.unique(result.stream)), 1) * 0.5
    y = result.decisions[:, 1] + spread
    deepest = int(max(exits.max(initial=1), result.decisions[:, 0].max(initial=1)))
    palette = matplotlib.colormaps["viridis"]
    for number in range(1, deepest + 1):
        chosen = result.on_time & (exits == number)
        colour = palette(0.08 + 0.86 * (number - 1) / max(deepest - 1, 1))
        below.scatter(seconds[chosen], y[chosen], s=13, color=colour, label=f"exit {number}", linewidths=0)
    missed = ~result.on_time & ~result.dropped
    below.scatter(seconds[missed], y[missed], s=16, marker="x", color="#c4392f", linewidths=1, label="late")
    floor = -0.85
    dropped = result.dropped
    below.scatter(
        seconds[dropped],
        np.full(dropped.sum(), floor),
        s=12,
        marker="|",
        color="#c4392f",
        linewidths=1,
        label="dropped",
    )
    below.set_yticks(
        [floor, *range(partitions + 1)], ["dropped", "0: all at edge", *map(str, range(1, partitions + 1))]
    )
    below.set_ylabel("partition point")
    below.set_xlabel("time, s")
    below.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, markerscale=1.4)
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_over_time(results: Sequence[Result], scenario: Scenario) -> Figure:
    """On-time accuracy in windows of two seconds for each result, below the links' rates.

    ``scenario`` is the one that the results are of; all are of one seed.
    """
    rates = scenario.realize(results[0].seed).rates
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.3))
    last_ms = max((float(result.arrival_ms.max(initial=0.0)) for result in results), default=0.0)
    _plot_rates(above, rates, last_ms / 1000.0)
    for i, result in enumerate(results):
        middle_ms, mean = windows(result, last_ms)
        colour = COLOURS[i % len(COLOURS)]
        below.plot(middle_ms / 1000.0, mean, color=colour, label=result.scheduler, linewidth=1.6)
    below.set_ylim(0, 1)
    below.set_ylabel("on-time accuracy")
    below.set_xlabel("time, s")
    below.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


@matplotlib.rc_context(STYLE)
def fixed_pairs(fixed: FixedPairs) -> Figure:
    """A map of every fixed pair's on-time accuracy in each regime of the link; the best of a column is framed."""
    best_anywhere = set(fixed.on_time_accuracy.argmax(axis=0))
    ranked = np.argsort(-fixed.overall, kind="stable")
    order = [i for place, i in enumerate(ranked) if place < SHOWN_PAIRS or i in best_anywhere]
    rows = np.vstack([fixed.adaptive, fixed.on_time_accuracy[order]])
    rows = np.column_stack([rows, [fixed.adaptive_overall, *fixed.overall[order]]])
    labels = [fixed.adaptive_name, *(f"exit {e}, partition {p}" for e, p in (fixed.pairs[i] for i in order))]
    columns = [*fixed.regimes, "whole run"]
    figure, axes = _figure(7.6, 0.27 * len(labels) + 1.1)
    axes.grid(visible=False)
    axes.imshow(rows, cmap="YlGnBu", vmin=0, vmax=1, aspect="auto")
    best = rows[1:].argmax(axis=0) + 1
    for (y, x), value in np.ndenumerate(rows):
        axes.text(
            x, y, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=ON_DARK if value > 0.6 else ON_LIGHT
        )
    for x, y in enumerate(best):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#e07b00", linewidth=2))
    axes.axhline(0.5, color="white", linewidth=3)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@matplotlib.rc_context(STYLE)
def network(accuracies: Sequence[float], at_worst_cut: Sequence[float], payload_bytes: Sequence[int]) -> Figure:
    """Accuracy of each exit on the device, a mark where a cut's codec lowers it, and bytes at each partition point."""
    figure = Figure(figsize=(9.6, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.bar(range(1, len(accuracies) + 1), accuracies, color=COLOURS[0], width=0.62)
    for number, accuracy in enumerate(accuracies, start=1):
        left.annotate(
            f"{accuracy:.2f}", (number, accuracy), (0, 2), textcoords="offset points", ha="center", fontsize=9
        )
    lowered = [i for i, (alone, worst) in enumerate(zip(accuracies, at_worst_cut, strict=True)) if worst < alone]
    if lowered:
        marks = [i + 1 for i in lowered], [at_worst_cut[i] for i in lowered]
        left.plot(*marks, "D", color=COLOURS[1], markersize=5, label="at its worst cut")
        left.legend(loc="lower right", frameon=True)
    left.set_xticks(range(1, len(accuracies) + 1))
    left.set_xlabel("exit")
    left.set_ylabel("accuracy, held-out images")
    left.set_ylim(0, 1.05)
    right.bar(range(len(payload_bytes)), np.array(payload_bytes) / 1000.0, color=COLOURS[1], width=0.62)
    right.set_xticks(range(len(payload_bytes)), ["0\n(frame)", *map(str, range(1, len(payload_bytes)))])
    right.set_xlabel("partition point")
    right.set_ylabel("KB sent")
    for axes in (left, right):
        axes.grid(axis="x", visible=False)
    return figure


def windows(result: Result, last_ms: float) -> tuple[FloatArray, FloatArray]:
    """On-time accuracy in windows up to ``last_ms``: their middles in ms, and of each its value, NaN without a task."""
    edges = np.arange(0.0, last_ms + WINDOW_MS, WINDOW_MS)
    window = np.digitize(result.arrival_ms, edges) - 1
    tasks = np.bincount(window, minlength=len(edges))
    total = np.bincount(window, np.where(result.on_time, worth(result), 0.0), minlength=len(edges))
    return edges + 0.5 * WINDOW_MS, np.where(tasks > 0, total / np.maximum(tasks, 1), np.nan)


def worth(result: Result) -> FloatArray:
    """(N,): how good each answer was, measured where it was, else as profiled."""
    return result.accuracy if result.correct is None else result.correct


def _plot_rates(axes: Axes, rates: Sequence[RateTrace], seconds: float) -> None:
    times = np.linspace(0.0, max(seconds, 1e-3), 1200)
    for i, rate in enumerate(rates):
        mbps = [rate.at(1000.0 * time) / BITS_PER_MS_PER_MBPS for time in times]
        axes.plot(times, mbps, color="#57606a", linewidth=1.1, linestyle=LINE_STYLES[i % 4], drawstyle="steps-post")
        axes.fill_between(times, mbps, step="post", color="#d0d7de", alpha=0.5 / len(rates))
    axes.set_ylabel("uplink,\nMbit/s")
    axes.set_ylim(bottom=0)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def svg_of(figure: Figure) -> str:
    """The figure as inline SVG, the same for the same figure."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
