"""What the runs say: on-time accuracy by panel, point and scheduler, and the comparisons made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hasten.study.design import Panel, Point
from hasten.study.statistics import Interval, average_improvement, average_share, holm, improvement, p_value
from hasten.study.work import OPTIMUM, Plain

FloatArray = NDArray[np.float64]
BASELINE = "greedy"
NOTHING_LEFT = 0.01
"""Where Greedy is this close to the upper bound, there is nothing to gain."""
LOADED = 0.05
"""Where Greedy is this far from it, a point counts as loaded."""


@dataclass(frozen=True)
class PanelCurves:
    """A panel's results: arrays (P, S) for P points and S seeds, all on the same tasks."""

    panel: Panel
    points: tuple[Point, ...]
    gain: Mapping[str, FloatArray]
    """Per scheduler; on-time accuracy, since that is the gain of the study."""
    bound: FloatArray
    """(P, B): the offline upper bounds of the first B seeds."""
    planned: FloatArray
    """(P, B): what the offline plan of the same seeds gains."""
    notes: Mapping[str, FloatArray] = field(default_factory=dict)
    """(P, S) per scheduler: decisions about which it had something to say, e.g. that it fell back to Greedy."""

    @property
    def x(self) -> FloatArray:
        """(P,): the swept condition."""
        return np.array([point.x for point in self.points])

    def mean(self, scheduler: str) -> FloatArray:
        """(P,): mean over seeds."""
        return np.asarray(self.gain[scheduler].mean(axis=1))

    def reached(self, scheduler: str) -> FloatArray:
        """(P,): share of the offline upper bound, on the seeds that have bounds."""
        gain = self.gain[scheduler][:, : self.bound.shape[1]]
        return np.asarray(gain.mean(axis=1) / np.maximum(self.bound.mean(axis=1), 1e-12))

    def mean_bound(self) -> FloatArray:
        """(P,): the bound's mean over all seeds, by what Greedy reaches of it on those that have one.

        Seeds differ much on recordings; the mean of some of the bounds may lie below the mean of all gains.
        """
        reached = self.reached(BASELINE)
        known = self.bound.mean(axis=1)
        return np.asarray(np.where(reached > 0.0, self.mean(BASELINE) / np.maximum(reached, 1e-12), known))

    def improvements(self, scheduler: str) -> list[Interval]:
        """Relative improvement over Greedy at each point."""
        pairs = zip(self.gain[scheduler], self.gain[BASELINE], strict=True)
        return [improvement(ours, greedy) for ours, greedy in pairs]

    def average_improvement(self, scheduler: str) -> Interval:
        """Over Greedy, mean over points."""
        return average_improvement(self.gain[scheduler], self.gain[BASELINE])

    def share_of_bound(self, scheduler: str) -> Interval:
        """Of the offline upper bound, mean over points, on the seeds that have bounds."""
        return average_share(self.gain[scheduler][:, : self.bound.shape[1]], self.bound)

    def share_of_optimum(self, scheduler: str) -> Interval | None:
        """Of the online optimum, mean over points, where that is known."""
        return average_share(self.gain[scheduler], self.gain[OPTIMUM]) if OPTIMUM in self.gain else None

    def least_share_of_optimum(self, scheduler: str) -> float | None:
        """The smallest share over the points."""
        if OPTIMUM not in self.gain:
            return None
        return float((self.mean(scheduler) / np.maximum(self.mean(OPTIMUM), 1e-12)).min())

    def planned_share(self) -> float:
        """How near the offline plans are to their bounds: the certificate."""
        return float(average_share(self.planned, self.bound).mean)


@dataclass(frozen=True)
class Comparison:
    """How a scheduler compares with Greedy at the points of some panels, by 95 % intervals."""

    better: int
    equal: int
    worse: int
    idle: int
    """Points, of any of these, where Greedy is within 1 % of the upper bound."""
    worst: Sequence[tuple[Point, Interval]]
    """The points where it is worse, the worst first."""
    surely_better: int
    """Points where it still counts as better when all points are tested at once (:func:`statistics.holm`)."""
    surely_worse: int
    loaded: int
    """Points where Greedy is at least 5 % from the upper bound."""
    loaded_better: int
    """Those of them where it is better."""

    @property
    def points(self) -> int:
        """All points."""
        return self.better + self.equal + self.worse


def curves_of(points: Iterable[Point], rows: Iterable[Plain]) -> list[PanelCurves]:
    """Arrange runs, as rows of the study's table, by panel."""
    cells: dict[tuple[Panel, float, str], dict[int, Plain]] = {}
    for row in rows:
        cells.setdefault((row["panel"], row["x"], row["scheduler"]), {})[row["seed"]] = row
    panels: dict[Panel, list[Point]] = {}
    for point in points:
        panels.setdefault(point.panel, []).append(point)
    return [_curves(panel, own, cells) for panel, own in panels.items()]


def _curves(
    panel: Panel, points: list[Point], cells: Mapping[tuple[Panel, float, str], dict[int, Plain]]
) -> PanelCurves:
    def values(scheduler: str, name: str) -> FloatArray:
        rows = [cells[panel, point.x, scheduler] for point in points]
        return np.array([[row[seed][name] for seed in sorted(row)] for row in rows], dtype=np.float64)

    known = list(dict.fromkeys(name for at, _, name in cells if at == panel and name != "offline"))
    everywhere = [name for name in known if all((panel, point.x, name) in cells for point in points)]
    return PanelCurves(
        panel,
        tuple(points),
        {name: values(name, "gain") for name in everywhere},
        values("offline", "upper_bound"),
        values("offline", "gain"),
        {name: values(name, "notes") for name in everywhere},
    )


def verdict(all_curves: Iterable[PanelCurves], scheduler: str) -> Comparison:
    """Count where a scheduler is better than Greedy, worse, or neither."""
    better = equal = worse = idle = loaded = loaded_better = 0
    bad: list[tuple[Point, Interval]] = []
    means: list[float] = []
    chances: list[float] = []
    for curves in all_curves:
        if scheduler not in curves.gain:
            continue
        reached = curves.reached(BASELINE)
        idle += int((reached >= 1.0 - NOTHING_LEFT).sum())
        far = reached <= 1.0 - LOADED
        loaded += int(far.sum())
        chances += [p_value(difference) for difference in curves.gain[scheduler] - curves.gain[BASELINE]]
        for point, is_far, found in zip(curves.points, far, curves.improvements(scheduler), strict=True):
            means.append(found.mean)
            if found.low > 0:
                better += 1
                loaded_better += int(is_far)
            elif found.high < 0:
                worse += 1
                bad.append((point, found))
            else:
                equal += 1
    sure, up = holm(np.array(chances)), np.array(means) > 0
    return Comparison(
        better,
        equal,
        worse,
        idle,
        sorted(bad, key=lambda entry: entry[1].mean),
        surely_better=int((sure & up).sum()),
        surely_worse=int((sure & ~up).sum()),
        loaded=loaded,
        loaded_better=loaded_better,
    )
