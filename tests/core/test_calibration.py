"""Calibration curves, against slow definitions."""

import math

import numpy as np
import pytest

from hasten.core.calibration import (
    DOUBT_STEP,
    KEEP,
    LOCAL,
    MEMORY,
    MOST_DOUBT,
    NODES,
    PATIENCE,
    PRIOR_WEIGHT,
    SENT,
    SLACK_NODES,
    Curves,
    counted_share,
    expected_share,
    hear,
    prior_shares,
    read_shares,
    share_at,
)
from hasten.core.compiled import compiled
from hasten.core.decision import View


def isotonic(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The non-decreasing fit by its min-max formula: the least mean of what follows in the largest of what precedes."""
    n = len(value)

    def mean(i: int, j: int) -> float:
        return float(np.dot(value[i : j + 1], weight[i : j + 1]) / weight[i : j + 1].sum())

    return np.array([max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)])


def tell(curves: Curves, slack: float, sends: bool, on_time: bool) -> None:
    """An outcome of what was promised just now."""
    curves.tell(slack, sends, curves.promised(slack, sends), on_time)


def hats(slack: float) -> np.ndarray:
    """Weights (K,) of a slack at the nodes."""
    place = math.sqrt(min(max(slack, 0.0), 1.0)) * (NODES - 1)
    return np.maximum(1.0 - np.abs(np.arange(NODES) - place), 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_reading_is_the_isotonic_regression_of_the_nodes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = rng.uniform(0.0, 20.0, NODES) * (rng.random(NODES) < 0.7)
    kept = told * rng.random(NODES)
    prior = np.sort(rng.random(NODES))
    share = np.full(NODES, np.nan)
    read_shares(kept, told, prior, share)
    weight = told + PRIOR_WEIGHT
    np.testing.assert_allclose(share, isotonic((kept + PRIOR_WEIGHT * prior) / weight, weight), rtol=1e-12)
    assert np.all(np.diff(share) >= 0.0)


def test_what_is_told_counts_answers_in_time_that_were_found_otherwise() -> None:
    """Of ten tasks one is late, three are saved at half their worth: 75 % of the worth is kept, 90 % are on time."""
    rng, curves = np.random.default_rng(0), Curves()
    promised, on_time = [], []
    for _ in range(4000):
        draw = rng.random()
        promised.append(curves.promised(0.3, LOCAL))
        on_time.append(draw >= 0.1)
        curves.tell(0.3, LOCAL, promised[-1], bool(draw >= 0.4), saved=0.5 if draw >= 0.1 else 0.0)
    assert share_at(0.3, curves.share[0, LOCAL]) == pytest.approx(0.75, abs=0.05)
    assert np.mean(promised[400:]) == pytest.approx(np.mean(on_time[400:]), abs=0.01)


def test_compiled_reading_is_the_same() -> None:
    rng = np.random.default_rng(1)
    told = rng.uniform(0.0, 20.0, NODES)
    kept, prior = told * rng.random(NODES), np.ones(NODES)
    share, again = np.zeros(NODES), np.zeros(NODES)

    @compiled
    def reading(kept: np.ndarray, told: np.ndarray, prior: np.ndarray, share: np.ndarray) -> float:
        read_shares(kept, told, prior, share)
        return share_at(0.3, share)

    found = reading(kept, told, prior, again)
    read_shares(kept, told, prior, share)
    np.testing.assert_array_equal(share, again)
    assert found == share_at(0.3, share)


@pytest.mark.parametrize("slack", [-0.2, 0.0, 0.003, 0.2, 0.25, 0.999, 1.0, 1.7])
def test_an_outcome_counts_at_the_nodes_next_to_its_slack(slack: float) -> None:
    kept, told = np.zeros((2, NODES)), np.zeros((2, NODES))
    for got in (1.0, 0.25):
        hear(SENT, slack, got, kept, told, np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(told[SENT], (1.0 + KEEP) * hats(slack), atol=1e-12)
    np.testing.assert_allclose(kept[SENT], (KEEP + 0.25) * hats(slack), atol=1e-12)
    assert not kept[LOCAL].any() and not told[LOCAL].any()
    assert share_at(slack, SLACK_NODES) == pytest.approx(float(hats(slack) @ SLACK_NODES))


def test_curves_forget_by_the_rule() -> None:
    rng = np.random.default_rng(2)
    outcomes = [
        (float(slack), bool(sends), bool(kept))
        for slack, sends, kept in zip(rng.random(300), np.arange(300) // 30 % 3 > 0, rng.random(300) < 0.8, strict=True)
    ]
    curves, promised = Curves(), []
    for slack, sends, on_time in outcomes:
        promised.append(curves.promised(slack, sends))
        curves.tell(slack, sends, promised[-1], on_time)
    for kind in (LOCAL, SENT):
        told, kept, since, doubt = np.zeros(NODES), np.zeros(NODES), 0, 0.0
        for (slack, sends, on_time), share in zip(outcomes, promised, strict=True):
            since = 0 if sends == (kind == SENT) else since + 1
            keep = 1.0 - 1.0 / (MEMORY if since < PATIENCE else PATIENCE)
            told, kept = keep * told, keep * kept
            if since == 0:
                told, kept = told + hats(slack), kept + on_time * hats(slack)
                doubt = np.clip(doubt + DOUBT_STEP * (share - on_time), -MOST_DOUBT, MOST_DOUBT)
            elif since >= PATIENCE:
                doubt *= keep
        weight = told + PRIOR_WEIGHT
        expected = isotonic((kept + PRIOR_WEIGHT) / weight, weight)
        np.testing.assert_allclose(curves.share[0, kind], expected, rtol=1e-9)
        promise = max(1.0 - (1.0 - float(hats(0.1) @ expected)) * np.exp(doubt), 0.0)
        assert curves.promised(0.1, kind == SENT) == pytest.approx(promise)


def test_what_was_saved_of_a_broken_promise_makes_the_option_worth_more_and_is_on_time() -> None:
    lost, saved = Curves(), Curves()
    for on_time in 150 * [True, False]:
        lost.tell(0.25, True, lost.promised(0.25, True), on_time)
        saved.tell(0.25, True, saved.promised(0.25, True), on_time, 0.6)
    assert share_at(0.25, lost.share[0, SENT]) == pytest.approx(0.5, abs=0.05)
    assert share_at(0.25, saved.share[0, SENT]) == pytest.approx(0.8, abs=0.05)
    assert lost.promised(0.25, True) == pytest.approx(0.5, abs=0.08)
    assert saved.promised(0.25, True) > 0.94  # none was late


def test_as_many_are_broken_as_promised_however_the_world_drifts() -> None:
    """Shares that fall and rise, of options that the choice prefers where they were promised too much."""
    rng = np.random.default_rng(5)
    curves, promised, kept = Curves(), [], []
    for k in range(6000):
        slack = max(rng.random(3), key=lambda one: curves.promised(one, True))
        share = curves.promised(slack, True)
        on_time = rng.random() < 0.6 + 0.3 * np.sin(k / 400.0) * slack
        promised.append(share)
        kept.append(on_time)
        curves.tell(slack, True, share, on_time)
    assert np.mean(promised) == pytest.approx(np.mean(kept), abs=0.01)


def test_what_was_not_seen_for_long_is_promised_again() -> None:
    curves = Curves()
    for _ in range(50):
        tell(curves, 0.1, True, False)
    assert curves.promised(0.1, SENT) < 0.05
    for _ in range(2000):
        tell(curves, 0.5, True, True)
    assert curves.promised(0.1, SENT) > 0.99


def test_a_kind_that_is_not_tried_any_more_is_soon_promised_again() -> None:
    curves = Curves()
    for _ in range(10):
        tell(curves, 0.6, True, False)
    assert counted_share(curves.promised(0.6, SENT)) < 0.5
    for _ in range(120):
        tell(curves, 0.5, False, True)
    assert counted_share(curves.promised(0.6, SENT)) == 1.0


def test_promises_that_are_kept_stay_exactly_sure() -> None:
    curves = Curves()
    rng = np.random.default_rng(3)
    for slack in rng.random(500):
        tell(curves, float(slack), True, True)
    assert np.all(curves.share == 1.0)


def test_many_shares_at_once_are_those_of_each_curve() -> None:
    rng = np.random.default_rng(4)
    shares = np.sort(rng.random((6, 2, NODES)), axis=2)
    slack, sends = rng.uniform(-0.1, 1.2, (6, 5)), rng.random((6, 5)) < 0.5
    found = expected_share(a_view(shares), slack, sends)
    slow = [[share_at(slack[b, j], shares[b, int(sends[b, j])]) for j in range(5)] for b in range(6)]
    np.testing.assert_array_equal(found, slow)
    one_row = expected_share(a_view(shares), slack, sends[:1])
    np.testing.assert_array_equal(one_row[0], found[0])


def test_a_view_without_curves_is_taken_at_its_word() -> None:
    assert np.all(expected_share(a_view(None), np.zeros((2, 3)), np.zeros((1, 3), dtype=bool)) == 1.0)


def test_shares_count_in_steps_upwards() -> None:
    np.testing.assert_allclose(
        counted_share(np.array([1.0, 0.95, 0.901, 0.899, 0.5, 0.0])), [1.0, 1.0, 1.0, 0.9, 0.5, 0.0], atol=1e-12
    )


def test_every_edge_has_a_curve_of_its_own() -> None:
    curves, alone = Curves(prior_shares(edges=2)), Curves()
    for k in range(60):
        on_time = k % 3 > 0
        curves.tell(0.3, LOCAL, 1.0, True)
        alone.tell(0.3, LOCAL, 1.0, True)
        curves.tell(0.3, SENT + 1, curves.promised(0.3, SENT + 1), on_time)
        alone.tell(0.3, SENT, alone.promised(0.3, SENT), on_time)
    assert curves.share.shape == (1, 3, NODES)
    assert curves.promised(0.3, SENT) == 1.0
    np.testing.assert_array_equal(curves.share[0, [LOCAL, SENT + 1]], alone.share[0])
    view, kind = a_view(curves.share), np.array([[LOCAL, SENT, SENT + 1]])
    slow = [share_at(0.3, curves.shares[each]) for each in kind[0]]
    np.testing.assert_array_equal(expected_share(view, np.full((1, 3), 0.3), kind)[0], slow)


def test_promises_of_a_stream_that_nothing_is_known_of_are_sure() -> None:
    assert np.all(prior_shares() == 1.0)
    assert prior_shares().shape == (2, NODES)


def a_view(shares: np.ndarray | None) -> View:
    """A view with these curves (B, 2, K)."""
    rows = 2 if shares is None else len(shares)
    nothing = np.zeros(rows)
    return View(
        row=np.arange(rows),
        now_ms=nothing,
        stream=np.zeros(rows, dtype=np.int64),
        device_wait_ms=nothing,
        uplink_wait_ms=nothing,
        edge_wait_ms=np.zeros((rows, 1)),
        rate_bits_per_ms=nothing,
        others_wait_ms=np.zeros((rows, 1)),
        kept_share=shares,
    )
