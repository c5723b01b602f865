"""For all tests."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import settings

# The same examples every time, so that a red build points at a change; `--hypothesis-profile=search` draws new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")

# A shell has background jobs ignore Ctrl-C, and nohup the end of a terminal, which processes started here would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


gc.disable()  # until all tests are collected: what they import stays


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the two processors finish together."""
    items.sort(key=lambda item: "test_demo" not in item.nodeid)


def pytest_collection_finish() -> None:
    """Let torch use the one processor that this worker has, and export quickly: more threads only wait for each other.

    The garbage collector need not look at the modules again.
    """
    gc.freeze()
    gc.enable()
    if "torch" in sys.modules:
        import torch
        from quick_export import make_tables_once

        torch.set_num_threads(1)
        make_tables_once()


def _quick_training() -> Iterator[None]:
    """Trainings that learn from and judge by a handful of short runs, where what they end with does not matter."""
    from hasten.learn.validation import Validation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hasten.learn.trainer.Validation", partial(Validation, runs=2, tasks=30))
        patch.setattr("hasten.learn.validation.BATCHES", 2)
        patch.setattr("hasten.learn.demonstrations.RUNS_PER_BATCH", 2)
        patch.setattr("hasten.learn.demonstrations.TASKS_PER_RUN", 64)
        patch.setattr("hasten.learn.paired_rollouts.RUNS", 8)
        patch.setattr("hasten.learn.paired_rollouts.TASKS", 100)
        patch.setattr("hasten.learn.improvement_margin.BATCHES", 1)
        patch.setattr("hasten.learn.improvement_margin.DEADLINES", 2)
        patch.setattr("hasten.learn.improvement_margin.RUNS", 2)
        patch.setattr("hasten.learn.improvement_margin.TASKS", 30)
        yield


quick_training = pytest.fixture(_quick_training, name="quick_training")
quick_training_everywhere = pytest.fixture(_quick_training, scope="module", name="quick_training_everywhere")
"""The same for a whole file, and what its fixtures train."""
