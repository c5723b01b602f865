"""For the runtime's tests: a tiny package, and time that does not pass."""

from __future__ import annotations

import heapq
import itertools

import pytest
from shared import built_once
from tiny_detector import build_detector
from tiny_maps import build_maps
from tiny_package import build_tiny

from hasten.split.package import Package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return built_once(tmp_path_factory, "tiny", build_tiny)


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Another version of the tiny package: other weights."""
    return build_tiny(tmp_path_factory.mktemp("package") / "newer.hasten", seed=1)


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Its exits give boxes, scores, kinds and which of them count; no classes."""
    return built_once(tmp_path_factory, "detector", build_detector)


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Its exits give maps of classes, measured by mean_iou; the last is always right."""
    return built_once(tmp_path_factory, "maps", build_maps)


class VirtualClock:
    """Time that passes only when told to; what falls due on the way is done in order."""

    def __init__(self):
        self.time_ms = 1000.0
        self.due = []
        self.order = itertools.count()

    def now_ms(self):
        return self.time_ms

    def call_at(self, when_ms, call):
        heapq.heappush(self.due, (when_ms, next(self.order), call))

    def close(self):
        self.due.clear()

    def run(self, for_ms):
        end_ms = self.time_ms + for_ms
        while self.due and self.due[0][0] <= end_ms:
            when_ms, _, call = heapq.heappop(self.due)
            self.time_ms = max(self.time_ms, when_ms)
            call()
        self.time_ms = end_ms


@pytest.fixture
def clock():
    return VirtualClock()
