"""For all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import cache, partial

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the two processors finish together."""
    items.sort(key=lambda item: "test_demo" not in item.nodeid)


def pytest_collection_finish() -> None:
    """Let torch use the one processor that this worker has, and make its exporter's table of operators once.

    More threads only wait for each other, and every export would take a second to make the same table.
    """
    if "torch" in sys.modules:
        import torch
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        torch.set_num_threads(1)
        ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))


def _quick_validation() -> Iterator[None]:
    """Trainings that judge by a handful of short runs, where what they end with does not matter."""
    from hasten.learn.validation import Validation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hasten.learn.trainer.Validation", partial(Validation, runs=2, tasks=30))
        patch.setattr("hasten.learn.validation.BATCHES", 2)
        patch.setattr("hasten.learn.improvement_margin.BATCHES", 1)
        patch.setattr("hasten.learn.improvement_margin.DEADLINES", 2)
        patch.setattr("hasten.learn.improvement_margin.RUNS", 2)
        patch.setattr("hasten.learn.improvement_margin.TASKS", 30)
        yield


quick_validation = pytest.fixture(_quick_validation, name="quick_validation")
quick_validation_everywhere = pytest.fixture(_quick_validation, scope="module", name="quick_validation_everywhere")
"""The same for a whole file, and what its fixtures train."""
