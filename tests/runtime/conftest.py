"""For the runtime's tests: a tiny package (two exits over three blocks, uint8 frames), and time that does not pass."""

from __future__ import annotations

import heapq
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hasten.split.build import build_package
from hasten.split.package import Package


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.conv3 = nn.Conv2d(4, 8, 3, 2, 1)
        self.head1, self.head2 = nn.Linear(4, 5), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        first = self.head1(x.mean((2, 3)))
        return first, self.head2(torch.relu(self.conv3(x)).mean((2, 3)))


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    path: Path = tmp_path_factory.mktemp("package") / "tiny.hasten"
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 1, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 5, 40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Tiny().eval()
    return build_package(module, frames, labels, name="tiny", exit_names=["a", "b"], path=path, samples=12)


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
