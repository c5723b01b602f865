"""Paired rollouts: what they are told apart by, and that their difference is what the option was worth."""

import numpy as np
import pytest
from learn_scenarios import cameras

from hasten.features.afterstates import afterstates_of, gains_of
from hasten.features.layout import CONTEXT_FEATURES
from hasten.learn import paired_rollouts
from hasten.learn.change import Change, changed
from hasten.learn.domain import Domain, Runs
from hasten.learn.pairs import ALTERNATIVE, CHOSEN, shortfall_of
from hasten.sim import simulate_realizations

DISCOUNT = 0.9


def busy(order, count=3):
    return cameras(count, order, rate_hz=40, deadline_ms=90)


def as_greedy(seen):
    """Values by which Greedy decides, all but ties of gain."""
    return gains_of(seen)


def played(order, runs=4, seed=0, span=None):
    scenario = changed(busy(order), Change(link_variation=0.4), 3, 40)
    drawn = Runs(scenario, tuple(scenario.realize(seed + i) for i in range(runs)))
    span = span or paired_rollouts.span_of(drawn)
    recorder = paired_rollouts.RolloutRecorder(as_greedy, 120, span, np.random.default_rng(seed))
    rows = [run for run in drawn.realizations for _ in range(1 + paired_rollouts.ROLLOUTS)]
    return recorder, simulate_realizations(scenario, recorder, rows), span


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_pairs_are_the_differences_of_two_runs(order):
    recorder, results, span = played(order)
    found = recorder.pairs([result.gain for result in results], DISCOUNT, order == "ready")
    at = 0
    for row in range(len(results)):
        plain = row - row % (1 + paired_rollouts.ROLLOUTS)
        if row == plain:
            continue
        gain, plain_gain = results[row].gain, results[plain].gain
        for slot in range(0, recorder.seen.shape[1] - 1, 2):
            k = recorder._first[row] + slot * span
            action = recorder.action[row, slot], recorder.action[plain, slot]
            if k + span >= len(gain) or action[0] == action[1]:
                continue
            between = 0.0
            for i in range(1, span):
                between += gain[k + i] - plain_gain[k + i]
            for i in range(1, span + 1):
                if order == "ready" and k - i >= 0:
                    between += gain[k - i] - plain_gain[k - i]
            assert found.between[at] == pytest.approx(between, abs=1e-6)
            assert found.discount[at] == pytest.approx(DISCOUNT)
            for side, (r, gains) in enumerate(((row, gain), (plain, plain_gain))):
                seen = recorder.seen[r, slot]
                np.testing.assert_array_equal(found.context[at, side], seen[:CONTEXT_FEATURES])
                np.testing.assert_array_equal(
                    found.afterstate[at, side], afterstates_of(seen[None])[0, :, action[side]]
                )
                lost = shortfall_of(seen[None], np.array([action[side]]), gains[[k]])
                np.testing.assert_allclose(found.shortfall[at, side], lost[0])
                np.testing.assert_array_equal(found.next_obs[at, side], recorder.seen[r, slot + 1])
                np.testing.assert_array_equal(found.next_mask[at, side], recorder.mask[r, slot + 1])
            at += 1
    assert at == len(found) > 0


@pytest.mark.parametrize("order", ["grant", "ready"])
def test_the_first_of_each_family_never_branches_and_rollouts_differ_from_it_by_their_branches_alone(order):
    recorder, results, _ = played(order)
    family = 1 + paired_rollouts.ROLLOUTS
    for plain in range(0, len(results), family):
        alone = paired_rollouts.RolloutRecorder(as_greedy, 120, 10**6, np.random.default_rng(9))
        scenario = changed(busy(order), Change(link_variation=0.4), 3, 40)
        run = simulate_realizations(scenario, alone, [scenario.realize(plain // family)] * family)
        np.testing.assert_array_equal(run[0].gain, results[plain].gain)
        first = recorder._first[plain]
        for row in range(plain + 1, plain + family):
            same = (results[row].decisions == results[plain].decisions).all(axis=1)
            forked = recorder.action[row, ::2] != recorder.action[plain, ::2]
            assert same[:first].all() and (forked[0] or same[first])
            assert forked.mean() > 0.5


def test_in_grant_order_nothing_earlier_changes_and_in_ready_order_it_does():
    changed_before = {}
    for order in ("grant", "ready"):
        family, before = 1 + paired_rollouts.ROLLOUTS, []
        for seed in range(4):
            recorder, results, _ = played(order, runs=12, seed=seed, span=20)  # branches late, with much under way
            before += [
                results[row].gain[: recorder._first[row]] - results[row - row % family].gain[: recorder._first[row]]
                for row in range(len(results))
            ]
        changed_before[order] = np.abs(np.concatenate(before)).max()
    assert changed_before["grant"] == 0.0 and changed_before["ready"] > 0.0


def test_a_batch_is_drawn_for_the_most_streams_there_can_be():
    domain, rng = Domain(streams=(2, 4)), np.random.default_rng(0)
    found = paired_rollouts.collect_rollouts(busy("ready", 2), domain, as_greedy, DISCOUNT, rng)
    assert len(found) > 1000
    assert np.abs(found.between).max() > 0.3 and np.isfinite(found.shortfall).all()
    assert abs(found.shortfall[:, CHOSEN].mean() - found.shortfall[:, ALTERNATIVE].mean()) < 0.2
