"""Recorded formulas: the same numbers as the formula gives, in buffers, from what the arguments hold now."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.in_place import recorded, repeat
from hasten.core.timing import edge_ends, larger


def test_repeating_gives_what_the_formula_gives_for_the_newest_arguments():
    rng = np.random.default_rng(0)
    sent_ms, free_ms, edge_ms = rng.random(6), np.zeros(()), rng.random(6)
    end_ms, answer_ms = np.zeros(6), np.zeros(6)
    steps = recorded(edge_ends, (sent_ms, free_ms, edge_ms, 7.0), (end_ms, answer_ms))
    for _ in range(3):
        sent_ms[:] = rng.random(6)
        free_ms.fill(rng.random())
        repeat(steps)
        expected = edge_ends(sent_ms, free_ms, edge_ms, 7.0)
        np.testing.assert_array_equal([end_ms, answer_ms], expected)


def test_results_that_others_are_computed_from_may_have_buffers_too_and_unneeded_ones_none():
    a, first, second = np.array([1.0, 5.0]), np.zeros(2), np.zeros(2)

    def formula(x):
        more = 2.0 * x
        return more, larger(more, 3.0) - 1.0, more + 1.0

    repeat(recorded(formula, (a,), (first, second, None)))
    assert first.tolist() == [2.0, 10.0] and second.tolist() == [2.0, 9.0]
    assert a.tolist() == [1.0, 5.0]


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(TypeError):
        recorded(lambda x: (np.sqrt(x),), (np.ones(2),), (None,))
