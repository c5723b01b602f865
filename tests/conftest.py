"""For all tests."""

from __future__ import annotations

import signal
from functools import partial

import pytest
from hypothesis import settings

# The same examples every time, so that a red build points at a change; `--hypothesis-profile=search` draws new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")

# A shell has background jobs ignore Ctrl-C, which processes started here would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the two processors finish together."""
    items.sort(key=lambda item: "test_demo" not in item.nodeid)


@pytest.fixture
def quick_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that judge by a handful of short runs, where what they end with does not matter."""
    from hasten.learn.validation import Validation

    monkeypatch.setattr("hasten.learn.trainer.Validation", partial(Validation, runs=2, tasks=30))
    monkeypatch.setattr("hasten.learn.validation.BATCHES", 2)
    monkeypatch.setattr("hasten.learn.improvement_margin.BATCHES", 1)
    monkeypatch.setattr("hasten.learn.improvement_margin.DEADLINES", 2)
