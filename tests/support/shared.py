"""Packages that are built once for all workers of a test run: exporting takes seconds."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hasten.split.package import Package, open_package


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Package]) -> Package:
    """The package that ``build`` makes, as ``NAME.hasten`` in a folder of the caller's own."""
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # that of all workers
    kept = run / f"built-{name}.hasten"
    with (run / f"built-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            build(kept)
    return open_package(shutil.copy(kept, factory.mktemp(name) / f"{name}.hasten"))
