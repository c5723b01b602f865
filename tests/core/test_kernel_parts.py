"""What kernels call is part of their machine code, and has none of its own until Python calls it."""

from __future__ import annotations

from types import FunctionType

import pytest

from hasten.core import compiled as cache
from hasten.core.compiled import compiled
from hasten.core.jit import jitable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of this test's own, with the sources as they were loaded."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(cache, "sources_unchanged", lambda: True)
    return tmp_path / "kernels"


def test_what_a_kernel_calls_is_compiled_with_it_and_kept_with_it(folder):
    @compiled
    def twice(x):
        return 2.0 * x

    @compiled
    def four_times(x):
        return twice(twice(x))

    assert four_times(1.5) == 6.0
    assert not twice.overloads and len(list(folder.iterdir())) == 1  # nothing that Python could call
    assert twice(1.5) == 3.0 and len(list(folder.iterdir())) == 2


def test_what_devices_call_as_it_is_kernels_compile():
    @jitable
    def quarter(x):
        return x / 4.0

    @compiled
    def eighth(x):
        return quarter(x) / 2.0

    assert eighth(2.0) == quarter(1.0) == 0.25
    assert isinstance(quarter, FunctionType)
