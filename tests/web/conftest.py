"""A run's folder."""

from __future__ import annotations

import pytest
from web_logs import write_logs


@pytest.fixture
def folder(tmp_path):
    """A run's folder of two streams without a word on the round."""
    write_logs(tmp_path)
    return tmp_path
