"""A tiny package: two exits over three blocks, uint8 frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


def build_tiny(path: Path, seed: int = 0, **others: Any) -> Package:
    """Build the package at ``path`` with random weights, by ``seed``, and frames that are always the same."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 1, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 5, 40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Tiny().eval()
    return build_package(
        module, frames, labels, name="tiny", exit_names=["a", "b"], path=path, samples=12, codec="uint8-zstd", **others
    )
