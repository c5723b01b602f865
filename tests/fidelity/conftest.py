"""For the tests of measuring: a tiny package."""

from __future__ import annotations

import pytest
from tiny_package import build_tiny

from hasten.split.package import Package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_tiny(tmp_path_factory.mktemp("package") / "tiny.hasten")
