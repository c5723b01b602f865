"""Makes trainings quick."""

from functools import partial

import pytest

from hasten.learn.validation import Validation


@pytest.fixture
def quick_validation(monkeypatch):
    """Trainings that judge by a handful of short runs, where what they end with does not matter."""
    monkeypatch.setattr("hasten.learn.trainer.Validation", partial(Validation, runs=2, tasks=30))
    monkeypatch.setattr("hasten.learn.validation.BATCHES", 2)
    monkeypatch.setattr("hasten.learn.improvement_margin.BATCHES", 1)
    monkeypatch.setattr("hasten.learn.improvement_margin.DEADLINES", 2)
