"""The study's figures to be explored: the same numbers as in ``sweep_figures``, to be read off, zoomed and switched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hasten.report.charts import Chart, ChartLine, FloatArray, Style, tone
from hasten.study.analysis import BASELINE, PanelCurves
from hasten.study.statistics import interval
from hasten.study.sweep_figures import COMPARED, LEARNING_PANELS, SHOWN
from hasten.study.training import Variant
from hasten.study.work import OPTIMUM

TONES = {name: "text" if name == OPTIMUM else tone(i) for i, name in enumerate(SHOWN)}
STYLES: tuple[Style, ...] = ("line", "dashed", "dotted")


def sweep_charts(panels: Sequence[PanelCurves], axis: str) -> list[Chart]:
    """Of each panel on-time accuracy and the offline bound, then the improvements over Greedy with their intervals."""
    return [_accuracy(curves, axis) for curves in panels] + [_improvement(curves, axis) for curves in panels]


def _accuracy(curves: PanelCurves, axis: str) -> Chart:
    strong = (*COMPARED, BASELINE)
    lines = [
        ChartLine(
            name,
            curves.mean(name),
            TONES[name],
            "dotted" if name == OPTIMUM else "line" if name in strong else "dashed",
        )
        for name in SHOWN
        if name in curves.gain
    ]
    lines.append(ChartLine("offline bound", curves.mean_bound(), "soft", "dashed"))
    return Chart(curves.x, lines, axis, "on-time accuracy", curves.panel.label, low=0.0)


def _improvement(curves: PanelCurves, axis: str) -> Chart:
    lines = [ChartLine(BASELINE, np.zeros(len(curves.x)), TONES[BASELINE])]
    for name in COMPARED:
        if name in curves.gain:
            found = curves.improvements(name)
            low, mean, high = (
                100.0 * np.array([getattr(one, end) for one in found]) for end in ("low", "mean", "high")
            )
            style: Style = "dotted" if name == OPTIMUM else "line"
            lines.append(ChartLine(name, mean, TONES[name], style, (low, high)))
    return Chart(curves.x, lines, axis, "gained over Greedy, %", curves.panel.label, digits=2)


def learning_charts(
    curves: Mapping[Variant, tuple[FloatArray, FloatArray]], greedy: float, planned: float
) -> list[Chart]:
    """Validation gain (S, T) over gradient steps (T,), mean and 95 % band, a chart for each kind of values."""
    return [
        _learning(
            {variant: found for variant, found in curves.items() if variant.values == values}, greedy, planned, title
        )
        for values, title in LEARNING_PANELS
    ]


def _learning(
    curves: Mapping[Variant, tuple[FloatArray, FloatArray]], greedy: float, planned: float, title: str
) -> Chart:
    """Variants need not have been looked at after the same steps: each line is drawn where it has a value."""
    x = np.unique(np.concatenate([steps for steps, _ in curves.values()]))
    lines = []
    for i, (variant, (steps, gain)) in enumerate(curves.items()):
        bands = [interval(gain[:, t]) for t in range(len(steps))]
        low, mean, high = (
            _spread(x, steps, np.array([getattr(b, end) for b in bands])) for end in ("low", "mean", "high")
        )
        lines.append(ChartLine(variant.label, mean, tone(i), STYLES[i % len(STYLES)], (low, high)))
    lines.append(ChartLine("Greedy", np.full(len(x), greedy), "soft"))
    lowest = min(float(gain.min()) for _, gain in curves.values())
    return Chart(x, lines, "gradient steps", "validation gain per task", title, 0.995 * min(lowest, greedy), planned, 4)


def _spread(x: FloatArray, steps: FloatArray, values: FloatArray) -> FloatArray:
    """Values at ``steps`` on the axis ``x``: between them on the line, nothing before and beyond."""
    return np.interp(x, steps, values, left=np.nan, right=np.nan)
