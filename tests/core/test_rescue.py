"""The law by which a device finishes what it has sent."""

from __future__ import annotations

import math

import pytest

from hasten.core.rescue import HOPELESS, SURE, answer_chance, last_look_ms, look_ms, takes_back

LATE_MS = [-5.0, 0.0, 10.0, math.inf]
"""How much later than predicted answers came; the last did not."""


def test_a_task_is_looked_at_before_the_last_moment_of_a_way():
    assert look_ms(1000.0, 30.0, 80.0) == 1000.0 - 30.0 - 8.0  # a tenth of the deadline
    assert look_ms(1000.0, 30.0, 400.0) == 1000.0 - 30.0 - 15.0
    assert last_look_ms(1000.0, 30.0) == 1000.0 - 30.0 - 3.0


@pytest.mark.parametrize(
    ("late_ms", "slack_ms", "chance"),
    [(-10.0, 0.0, 0.5), (-10.0, 20.0, 0.75), (-1.0, 20.0, 2 / 3), (5.0, 20.0, 0.5), (5.0, 8.0, 0.0), (20.0, 20.0, 0.0)],
)
def test_answers_before_tell_how_likely_one_is(late_ms, slack_ms, chance):
    assert answer_chance(LATE_MS, len(LATE_MS), 0, late_ms, slack_ms, 40.0) == pytest.approx(chance)


def test_answers_that_are_later_than_this_one_may_be_did_not_come_in_time():
    assert answer_chance(LATE_MS, len(LATE_MS), 1, -10.0, 20.0, 40.0) == pytest.approx(3 / 5)
    assert answer_chance([], 0, 1, -10.0, 20.0, 40.0) == 0.0


def test_without_experience_an_answer_is_likely_until_half_of_its_time_has_passed_again_but_not_sure_once_late():
    assert [answer_chance([], 0, 0, late_ms, 100.0, 40.0) for late_ms in (0.0, 0.1, 19.0, 20.0)] == [1.0, 0.9, 0.9, 0.0]
    assert [answer_chance([], 0, 0, late_ms, 100.0, 4.0) for late_ms in (4.0, 5.0)] == [0.9, 0.0]
    assert answer_chance([0.0] * 32, 32, 0, 1.0, 100.0, 40.0) == 0.9 < SURE


def test_an_idle_device_takes_back_what_is_not_sure_and_a_busy_one_what_is_worth_it():
    assert not takes_back(SURE, 0.9, 0.5, 0.0, True)
    assert takes_back(0.5, 0.1, 0.9, 0.0, True)
    assert not takes_back(0.5, 0.4, 0.9, 0.0, False)
    assert takes_back(0.5, 0.5, 0.9, 0.0, False)
    assert not takes_back(0.5, 0.5, 0.9, 0.2, False)  # a shorter way is left
    assert takes_back(HOPELESS, 0.5, 0.9, 0.3, False)
