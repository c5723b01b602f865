"""ImprovementMargins: a policy whose values are worth nothing is held to Greedy, one that gains more is let go."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from learn_scenarios import cameras

from hasten.features.afterstates import gains_of, greedy_action
from hasten.learn import improvement_margin as margins
from hasten.learn.domain import FIXED
from hasten.learn.improvement_margin import choose_margins
from hasten.learn.pairs import afterstate_observation
from hasten.schedulers.greedy import Greedy

ACTIONS = 13
TRIED = (0.0, 0.05, 0.5)
ONE = dataclasses.replace(FIXED, arrival_rate=(0.5, 2.0))


def as_greedy(observation):
    values = np.zeros((len(observation), ACTIONS), dtype=np.float32)
    values[np.arange(len(values)), greedy_action(observation)] = 0.01
    return values


def test_values_are_held_to_greedy_where_they_are_useless():
    rng = np.random.default_rng(0)

    def noise(observation):
        return gains_of(observation) + rng.normal(0.0, 0.3, (len(observation), ACTIONS)).astype(np.float32)

    assert choose_margins(cameras(), ONE, afterstate_observation, noise, TRIED).margin == ((0.5,),)


@pytest.mark.parametrize(
    ("gain", "margin"),
    [
        ([0.6, 0.5996, 0.55], 0.05),
        ([0.6, 0.599, 0.5996], 0.5),
        ([0.6, 0.599, 0.5], 0.0),
        ([0.4, 0.5, 0.4], 0.05),
    ],
)
def test_of_margins_nearly_as_good_as_the_best_the_largest_is_chosen(monkeypatch, gain, margin):
    def gains(batch, times, scheduler):
        found = np.array([0.5] if isinstance(scheduler, Greedy) else gain)
        return np.tile(found[:, None], len(batch.realizations))

    monkeypatch.setattr(margins, "_gains", gains)
    assert choose_margins(cameras(), ONE, afterstate_observation, as_greedy, TRIED).margin == ((margin,),)


def test_each_deadline_has_a_margin_of_its_own(monkeypatch):
    def gains_at_long_deadlines(batch, times, scheduler):
        ahead = batch.scenario.deadlines_ms[0] > 100.0 and not isinstance(scheduler, Greedy)
        return np.tile(np.linspace(1.0 + ahead, 1.0, times)[:, None], len(batch.realizations))

    monkeypatch.setattr(margins, "_gains", gains_at_long_deadlines)
    domain = dataclasses.replace(ONE, deadline=(0.5, 2.0))
    assert choose_margins(cameras(), domain, afterstate_observation, as_greedy, TRIED).margin == (
        (0.5, 0.5, 0.0, 0.0, 0.0),
    )


def test_margins_cover_the_domain(monkeypatch):
    monkeypatch.setattr(margins, "BATCHES", 1)
    domain = dataclasses.replace(ONE, deadline=(0.5, 2.0), streams=(1, 3))
    found = choose_margins(cameras(), domain, afterstate_observation, as_greedy, TRIED)
    assert found.streams == (1, 2, 3)
    assert found.deadline_ms == pytest.approx([60.0, 84.85, 120.0, 169.7, 240.0], rel=1e-3)
    assert found.margin == ((0.5,) * 5,) * 3, "as good as Greedy"


def test_nothing_to_choose_from_is_no_margin():
    assert choose_margins(cameras(), ONE, afterstate_observation, as_greedy, (0.0,)) is None
