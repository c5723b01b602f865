"""Paired statistics against values worked out by hand or by scipy."""

import numpy as np
import pytest
import scipy

from hasten.study.statistics import (
    area_under_curve,
    average_improvement,
    average_share,
    first_reaching,
    holm,
    improvement,
    interval,
    p_value,
    ratio_of_means,
)


def test_interval_is_scipys_t_interval() -> None:
    values = np.array([0.3, 0.5, 0.45, 0.61, 0.2])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_one_seed_has_no_spread() -> None:
    assert interval(np.array([0.4])) == (found := interval(np.array([0.4]))) and found.low == found.high == 0.4


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = [(i := interval(rng.normal(0.2, 1.0, 10))).low < 0.2 < i.high for _ in range(2000)]
    assert 0.93 < np.mean(covered) < 0.97


def test_improvement_is_the_ratio_of_means_and_paired() -> None:
    greedy = np.array([0.2, 0.4, 0.6])
    found = improvement(greedy + 0.04, greedy)
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1) == found.high  # all seeds agree, however different they are


def test_average_improvement_is_the_mean_over_points() -> None:
    greedy = np.array([[0.5, 0.5], [0.25, 0.25], [0.0, 0.0]])  # nothing can be said about the last point
    ours = np.array([[0.5, 0.6], [0.25, 0.3], [0.1, 0.1]])
    found = average_improvement(ours, greedy)
    assert found.mean == pytest.approx(0.1)
    per_seed = np.array([0.0, 0.2])
    assert found.high - found.low == pytest.approx(2 * scipy.stats.t.ppf(0.975, 1) * scipy.stats.sem(per_seed))


def test_average_share_weighs_points_alike() -> None:
    found = average_share(np.array([[0.5, 0.5], [0.09, 0.09]]), np.array([[1.0, 1.0], [0.1, 0.1]]))
    assert found.mean == pytest.approx(0.7)


def test_steps_to_a_level_and_area() -> None:
    at, value = np.array([100.0, 200.0, 400.0]), np.array([0.0, 0.5, 1.0])
    assert first_reaching(at, value, 0.5) == 200.0
    assert np.isnan(first_reaching(at, value, 1.1))
    assert area_under_curve(at, value) == pytest.approx((0.25 * 100 + 0.75 * 200) / 300)


def test_p_value_is_scipys_t_test() -> None:
    values = np.array([0.3, 0.5, -0.45, 0.61, 0.2])
    assert p_value(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0.0).pvalue)
    assert p_value(np.zeros(5)) == p_value(np.array([0.4])) == p_value(np.array([np.nan, 1.0])) == 1.0
    assert p_value(np.full(4, 0.25)) == 0.0


def test_holm_is_the_textbooks() -> None:
    # Four tests at 5 %: 0.005 <= 0.05 / 4, 0.015 <= 0.05 / 3, 0.03 > 0.05 / 2; what comes after a failure fails, too.
    assert holm(np.array([0.03, 0.005, 0.04, 0.015])).tolist() == [False, True, False, True]
    assert holm(np.array([0.02, 0.001])).tolist() == [True, True]
    assert not holm(np.array([0.026, 0.9])).any()


def test_holm_is_seldom_wrong_about_any_of_many() -> None:
    rng = np.random.default_rng(0)
    wrong = [holm(rng.random(100)).any() for _ in range(2000)]
    assert 0.035 < np.mean(wrong) < 0.065


def test_a_ratio_of_means_is_paired_and_covers_the_truth() -> None:
    rng = np.random.default_rng(5)
    covered, half = 0, 0.0
    for _ in range(400):
        below = rng.normal(0.08, 0.02, 8)
        found = ratio_of_means(0.7 * below + rng.normal(0.0, 0.004, 8), below)
        covered += found.low <= 0.7 <= found.high
        half += 0.5 * (found.high - found.low)
    assert 0.90 <= covered / 400 <= 0.98
    assert half / 400 < 0.1  # of two means that were not paired it would be 0.2
    exact = ratio_of_means(np.array([0.10, 0.105]), np.array([0.20, 0.21]))
    assert (exact.mean, exact.low, exact.high) == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(ratio_of_means(np.array([0.1, 0.2]), np.array([-0.1, 0.2])).mean)
