"""For the tests of measuring: tiny packages."""

from __future__ import annotations

import pytest
from shared import built_once
from tiny_maps import build_maps
from tiny_package import build_tiny

from hasten.split.package import Package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return built_once(tmp_path_factory, "tiny", build_tiny)


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Its exits give maps of classes, measured by mean_iou; the last is always right."""
    return built_once(tmp_path_factory, "maps", build_maps)
