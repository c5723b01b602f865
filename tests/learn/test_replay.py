"""Replay memory against brute force and against the formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.learn.replay import PrioritizedReplay, UniformReplay, find_leaves, set_leaves
from hasten.learn.transitions import Transitions


def numbered(first: int, count: int) -> Transitions:
    """Transitions whose reward tells them apart."""
    return Transitions(
        obs=np.zeros((count, 2), np.float32),
        mask=np.ones((count, 3), np.int8),
        action=np.zeros(count, np.int64),
        reward=np.arange(first, first + count, dtype=np.float32),
        next_obs=np.zeros((count, 2), np.float32),
        next_mask=np.ones((count, 3), np.int8),
        discount=np.full(count, 0.9, np.float32),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.lists(st.floats(0, 0.999999), min_size=1, max_size=20))
def test_sum_tree_finds_what_a_running_sum_finds(values, shares):
    leaves = 64
    tree = np.zeros(2 * leaves)
    set_leaves(tree, np.arange(len(values)), np.array(values))
    assert tree[1] == pytest.approx(sum(values))
    if tree[1] == 0:
        return
    found = np.empty(len(shares), np.int64)
    find_leaves(tree, np.array(shares), found)
    running = np.cumsum(values)
    for leaf, share in zip(found, shares, strict=True):
        assert values[leaf] > 0
        slack = 1e-9 * tree[1]
        assert running[leaf] - values[leaf] - slack <= share * tree[1] <= running[leaf] + slack


def test_sums_do_not_drift_over_many_updates():
    rng, tree = np.random.default_rng(0), np.zeros(256)
    for _ in range(2000):
        set_leaves(tree, rng.integers(128, size=16), rng.random(16) * 10 ** rng.uniform(-6, 6))
    assert tree[1] == pytest.approx(tree[128:].sum(), rel=1e-12)


def test_transitions_are_drawn_as_often_as_their_priority_says():
    replay = PrioritizedReplay(numbered(0, 0), 8, alpha=0.5, epsilon=0.0)
    replay.add(numbered(0, 4))
    error = np.array([1.0, 4.0, 9.0, 16.0])
    replay.set_errors(np.arange(4), -error)
    place = np.concatenate([replay.sample(64, np.random.default_rng(i))[0] for i in range(200)])
    count = np.bincount(place, minlength=4)
    expected = len(place) * np.sqrt(error) / np.sqrt(error).sum()
    assert ((count - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, 1 in 1000


def test_draws_are_stratified():
    replay = PrioritizedReplay(numbered(0, 0), 64)
    replay.add(numbered(0, 64))
    for seed in range(5):
        assert sorted(replay.sample(64, np.random.default_rng(seed))[0]) == list(range(64))


def test_importance_weights_follow_the_formula_and_the_largest_of_a_batch_is_one():
    replay = PrioritizedReplay(numbered(0, 0), 8, alpha=0.6, epsilon=0.01)
    replay.add(numbered(0, 5))
    error = np.array([0.0, 0.5, 1.0, 2.0, 8.0])
    replay.set_errors(np.arange(5), error)
    replay.beta = 0.4
    place, weight = replay.sample(32, np.random.default_rng(0))
    chance = (error + 0.01) ** 0.6 / ((error + 0.01) ** 0.6).sum()  # epsilon before the exponent
    expected = (5 * chance[place]) ** -0.4
    np.testing.assert_allclose(weight, expected / expected.max(), rtol=1e-12)
    assert weight.max() == 1.0


def test_new_transitions_have_the_largest_priority():
    replay = PrioritizedReplay(numbered(0, 0), 8, alpha=1.0, epsilon=0.0)
    replay.add(numbered(0, 2))
    replay.set_errors(np.array([0, 1]), np.array([0.001, 5.0]))
    place = replay.add(numbered(2, 1))
    drawn = np.concatenate([replay.sample(100, np.random.default_rng(i))[0] for i in range(20)])
    assert np.mean(drawn == place[0]) == pytest.approx(0.5, abs=0.02)
    replay.set_errors(np.array([0, 1, 2]), np.full(3, 0.1))  # what was large once is forgotten
    replay.add(numbered(3, 1))
    drawn = np.concatenate([replay.sample(100, np.random.default_rng(i))[0] for i in range(20)])
    assert np.mean(drawn == 3) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("kind", [UniformReplay, PrioritizedReplay])
def test_demonstrations_are_never_overwritten(kind):
    replay = kind(numbered(1000, 5), 10)
    for first in range(0, 37, 4):
        replay.add(numbered(first, 4))
    rewards = replay.at(np.arange(replay.size)).reward
    assert rewards[:5].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert sorted(rewards[5:].tolist()) == list(range(30, 40))


def test_demonstrations_are_drawn_more_often_by_their_bonus():
    replay = PrioritizedReplay(numbered(0, 4), 8, alpha=1.0, epsilon=0.0, demonstration_bonus=3.0)
    replay.add(numbered(4, 4))
    replay.set_errors(np.arange(8), np.ones(8))
    place = np.concatenate([replay.sample(50, np.random.default_rng(i))[0] for i in range(40)])
    assert np.mean(place < 4) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("kind", [UniformReplay, PrioritizedReplay])
def test_restored_memory_draws_and_overwrites_alike(kind):
    replay = kind(numbered(0, 3), 10)
    replay.add(numbered(3, 12))
    if isinstance(replay, PrioritizedReplay):
        replay.set_errors(np.arange(6), np.arange(6.0))
    again = kind(numbered(0, 3), 10)
    again.restore(replay.state())
    replay.add(numbered(20, 3)), again.add(numbered(20, 3))
    for one, other in zip(
        replay.sample(16, np.random.default_rng(1)), again.sample(16, np.random.default_rng(1)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(replay.at(np.arange(13)).reward, again.at(np.arange(13)).reward)
