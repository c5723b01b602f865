"""For all tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest test, so that the two processors finish together."""
    items.sort(key=lambda item: "test_demo" not in item.nodeid)
