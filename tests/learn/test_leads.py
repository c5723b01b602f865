"""Leads: a policy whose values are worth nothing is held to Greedy, one that knows as much as Greedy is left alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from learn_scenarios import cameras

from hasten.core.backlogs import gains_of, greedy_action
from hasten.learn.domain import FIXED
from hasten.learn.leads import choose_leads
from hasten.learn.pairs import backlog_sight

ACTIONS = 13
TRIED = (0.0, 0.05, 0.5)
ONE = dataclasses.replace(FIXED, arrival_rate=(0.5, 2.0))


LONGEST_DEVICE_SHARE = 9
"""Place in an observation."""


def share_at(deadline_ms):
    longest_ms = cameras().options.device_ms[0].max()
    return longest_ms / (longest_ms + deadline_ms)


def as_greedy(observation):
    values = np.zeros((len(observation), ACTIONS), dtype=np.float32)
    values[np.arange(len(values)), greedy_action(observation, ACTIONS)] = 0.01
    return values


def test_the_smallest_of_equal_leads_is_chosen():
    leads = choose_leads(cameras(), ONE, backlog_sight, as_greedy, TRIED)
    assert leads.lead == ((0.0,),)


def test_values_are_held_to_greedy_where_they_are_useless():
    rng = np.random.default_rng(0)

    def noise_at_short_deadlines(observation):
        noise = rng.normal(0.0, 0.3, (len(observation), ACTIONS)).astype(np.float32)
        short = observation[:, LONGEST_DEVICE_SHARE, None] > share_at(100.0)
        return np.where(short, gains_of(observation, ACTIONS) + noise, as_greedy(observation))

    domain = dataclasses.replace(ONE, deadline=(0.5, 2.0))
    leads = choose_leads(cameras(), domain, backlog_sight, noise_at_short_deadlines, TRIED)
    assert leads.lead == ((0.5, 0.5, 0.0, 0.0, 0.0),)


def test_leads_cover_the_domain():
    domain = dataclasses.replace(ONE, deadline=(0.5, 2.0), streams=(1, 3))
    leads = choose_leads(cameras(), domain, backlog_sight, as_greedy, TRIED)
    assert leads.streams == (1, 2, 3)
    assert leads.deadline_ms == pytest.approx([60.0, 84.85, 120.0, 169.7, 240.0], rel=1e-3)
    assert leads.lead == ((0.0,) * 5,) * 3


def test_nothing_to_choose_from_is_no_lead():
    assert choose_leads(cameras(), ONE, backlog_sight, as_greedy, (0.0,)) is None
