"""Verdicts count what they say they count."""

import numpy as np

from hasten.study.analysis import PanelCurves, verdict
from hasten.study.design import SWEEPS, points_of


def test_a_verdict_tells_sure_from_likely_and_counts_loaded_points() -> None:
    points = points_of(SWEEPS["deadline"], ("generated",), quick=True)[:3]
    noise = np.random.default_rng(0).normal(0.0, 0.01, 10)
    noise -= noise.mean()
    greedy = np.full((3, 10), 0.5)
    ours = greedy + np.array([[0.05], [0.008], [-0.05]]) + noise  # beyond all doubt, likely, beyond all doubt
    bound = np.array([[0.53] * 5, [0.52] * 5, [0.502] * 5])  # 6 %, 4 % and 0.4 % above Greedy
    curves = PanelCurves(points[0].panel, tuple(points), {"greedy": greedy, "learned": ours}, bound, bound)
    found = verdict([curves], "learned")
    assert (found.better, found.equal, found.worse, found.points) == (2, 0, 1, 3)
    assert (found.surely_better, found.surely_worse) == (2, 1)
    assert (found.loaded, found.loaded_better, found.idle) == (1, 1, 1)
    assert [point for point, _ in found.worst] == [points[2]]
    many = verdict([curves] * 40, "learned")  # of 120 points, the likely ones no longer stand out
    assert (many.better, many.surely_better, many.surely_worse) == (80, 40, 40)


def test_what_is_reached_of_the_bound_is_told_by_the_seeds_that_have_one() -> None:
    points = points_of(SWEEPS["deadline"], ("generated",), quick=True)[:1]
    greedy = np.array([[0.4] * 5 + [0.8] * 5])
    curves = PanelCurves(points[0].panel, tuple(points), {"greedy": greedy}, np.full((1, 5), 0.5), np.full((1, 5), 0.5))
    np.testing.assert_allclose(curves.reached("greedy"), 0.8)
    np.testing.assert_allclose(curves.mean_bound(), 0.6 / 0.8)
    found = verdict([curves], "greedy")
    assert (found.loaded, found.idle) == (1, 0)


def test_a_scheduler_that_is_not_there_has_no_verdict() -> None:
    assert verdict([], "learned").points == 0
