"""For the library's tests: a busy machine changes no decision."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Schedulers are waited for, or Greedy would decide in their place when the machine is busy."""
    for name in ("START_PATIENCE_MS", "FIRST_PATIENCE_MS", "SLOW_PATIENCE_MS"):
        monkeypatch.setattr(f"hasten.runtime.device.scheduler_host.{name}", 30_000.0)
