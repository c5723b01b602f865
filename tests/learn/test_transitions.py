"""n-step transitions against a hand-written loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.core.errors import HastenError
from hasten.learn.transitions import UNKNOWN, Transitions, joined, transitions_of_episode


def episode(count, seed=0):
    rng = np.random.default_rng(seed)
    obs = np.arange(count, dtype=np.float32)[:, None]
    mask, action, gain, alone = (
        np.ones((count, 3), np.int8),
        rng.integers(3, size=count),
        rng.random(count),
        rng.random(count),
    )
    return obs, mask, action, gain, alone


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 5), st.sampled_from([0.0, 0.5, 0.99]))
def test_returns_equal_a_loop(count, steps, discount):
    obs, mask, action, gain, alone = episode(count)
    found = transitions_of_episode(obs, mask, action, gain, alone, discount, steps)
    assert len(found) == count - 1
    for t in range(count - 1):
        total, factor, k = 0.0, 1.0, t
        while k < t + steps and k < count - 1:  # the last decision is only bootstrapped from: truncation
            total += factor * (gain[k] - alone[k])
            factor *= discount
            k += 1
        assert found.reward[t] == pytest.approx(total, rel=1e-6)
        assert found.discount[t] == pytest.approx(factor, rel=1e-6)
        assert found.next_obs[t, 0] == k and found.obs[t, 0] == t


def test_no_transition_leads_out_of_its_episode():
    parts = [transitions_of_episode(*episode(5), 0.9, 3) for _ in range(3)]
    found = joined(parts)
    assert len(found) == 12
    assert (found.next_obs[:, 0] > found.obs[:, 0]).all()
    assert (found.discount > 0).all()  # the horizon's end is truncation: always bootstrapped


def test_unknown_actions_begin_no_transition_but_their_gain_counts():
    obs, mask, action, gain, alone = episode(4)
    action[1] = UNKNOWN
    found = transitions_of_episode(obs, mask, action, gain, alone, 1.0, 2)
    assert found.obs[:, 0].tolist() == [0, 2]
    assert found.reward[0] == pytest.approx(gain[0] + gain[1] - alone[0] - alone[1])


def test_arrays_that_do_not_fit_are_refused():
    found = transitions_of_episode(*episode(4), 0.9, 1)
    with pytest.raises(HastenError, match="reward"):
        Transitions(
            found.obs, found.mask, found.action, found.reward[1:], found.next_obs, found.next_mask, found.discount
        )
