"""The study's figures: on-time accuracy along a sweep, what is gained over Greedy, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hasten.report.figures import COLOURS, LINE_STYLES, STYLE
from hasten.study.analysis import BASELINE, PanelCurves
from hasten.study.statistics import interval
from hasten.study.training import Variant
from hasten.study.work import LEARNED, OPTIMUM, PRICED, TUNED_PAIR, TUNED_THRESHOLD

FloatArray = NDArray[np.float64]

SHOWN = {
    LEARNED: COLOURS[0],
    BASELINE: COLOURS[1],
    OPTIMUM: "#1f2328",
    "rolling-horizon": COLOURS[2],
    PRICED: COLOURS[3],
    TUNED_THRESHOLD: COLOURS[4],
    TUNED_PAIR: COLOURS[7],
    "neurosurgeon": COLOURS[5],
    "linucb": COLOURS[6],
}
"""Schedulers with a curve of their own; the tables have all of them."""
COMPARED = (LEARNED, OPTIMUM, "rolling-horizon", PRICED)
"""Schedulers whose improvement over Greedy is drawn with its interval."""
LEARNING_PANELS = (("actions", "a value for each action (DQN)"), ("backlogs", "values of backlogs, from pairs"))
"""Kinds of values, and what they are called above their learning curves."""
PANEL_WIDTH, ROW_HEIGHT = 2.75, 2.7


@matplotlib.rc_context(STYLE)
def sweep(panels: Sequence[PanelCurves], axis: str) -> Figure:
    """Above, on-time accuracy and the offline bound; below, improvement over Greedy; one column for each panel."""
    figure = Figure(figsize=(max(PANEL_WIDTH * len(panels), 6.0) + 1.6, 2 * ROW_HEIGHT), layout="constrained")
    axes = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    for column, curves in enumerate(panels):
        above, below = axes[0, column], axes[1, column]
        _accuracy(above, curves)
        _improvement(below, curves)
        above.set_title(curves.panel.label, fontsize=10)
        below.set_xticks(curves.x, [f"{x:.3g}" for x in curves.x], fontsize=8.5)
    axes[0, 0].set_ylabel("on-time accuracy")
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylabel("gained over Greedy, %")
    figure.supxlabel(axis, fontsize=10, color="#30363d")
    lines = {line.get_label(): line for column in axes[0] for line in column.get_lines()}
    order = [name for name in (*SHOWN, "offline bound") if name in lines]
    figure.legend(
        [lines[name] for name in order], order, loc="outside right upper", frameon=False, fontsize=9, handlelength=1.6
    )
    return figure


def _accuracy(axes: Axes, curves: PanelCurves) -> None:
    axes.fill_between(curves.x, curves.mean_bound(), 1.0, color="#eceff2", linewidth=0)
    axes.plot(curves.x, curves.mean_bound(), color="#8a9099", linewidth=1.2, label="offline bound")
    for name, colour in SHOWN.items():
        if name in curves.gain:
            strong = name in (*COMPARED, BASELINE)
            axes.plot(
                curves.x,
                curves.mean(name),
                color=colour,
                label=name,
                linewidth=1.9 if strong else 1.1,
                linestyle=":" if name == OPTIMUM else "-" if strong else "--",
                zorder=4 if name in (LEARNED, OPTIMUM) else 3,
            )
    axes.set_ylim(top=float(curves.mean_bound().max()) * 1.06)


def _improvement(axes: Axes, curves: PanelCurves) -> None:
    axes.axhline(0.0, color=SHOWN[BASELINE], linewidth=1.4)
    for name in COMPARED:
        if name in curves.gain:
            found = curves.improvements(name)
            low, mean, high = (
                100 * np.array([getattr(point, end) for point in found]) for end in ("low", "mean", "high")
            )
            axes.plot(
                curves.x, mean, color=SHOWN[name], linewidth=1.6, linestyle=":" if name == OPTIMUM else "-", marker=""
            )
            axes.fill_between(curves.x, low, high, color=SHOWN[name], alpha=0.15, linewidth=0)


@matplotlib.rc_context(STYLE)
def learning_curves(curves: Mapping[Variant, tuple[FloatArray, FloatArray]], greedy: float, planned: float) -> Figure:
    """Validation gain (S, T) over gradient steps (T,): mean over seeds and 95 % band, for both kinds of values."""
    figure = Figure(figsize=(10.4, 4.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, (values, title) in zip(axes, LEARNING_PANELS, strict=True):
        mine = [variant for variant in curves if variant.values == values]
        for i, variant in enumerate(mine):
            steps, gain = curves[variant]
            bands = [interval(gain[:, t]) for t in range(len(steps))]
            panel.plot(
                steps,
                [band.mean for band in bands],
                color=COLOURS[i],
                label=variant.label,
                linewidth=1.7,
                linestyle=LINE_STYLES[i % 4],
            )
            low, high = [band.low for band in bands], [band.high for band in bands]
            panel.fill_between(steps, low, high, color=COLOURS[i], alpha=0.13, linewidth=0)
        panel.axhline(greedy, color="#57606a", linewidth=1.0)
        panel.annotate("Greedy", (0.01, greedy), (0, -11), ("axes fraction", "data"), "offset points", fontsize=9)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("gradient steps")
        panel.legend(loc="lower right", frameon=False, fontsize=9)
    lowest = min(float(gain.min()) for _, gain in curves.values())
    axes[0].set_ylim(min(lowest, greedy) * 0.995, planned)
    axes[0].set_ylabel("validation gain per task")
    return figure
