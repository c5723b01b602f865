"""A tiny package whose exits give maps of classes, measured by mean_iou; the last exit is always right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny_detector import FRAMES
from torch import nn

from hasten.split.build import build_package
from hasten.split.package import Package


class Segmenter(nn.Module):
    """Two exits, each a map of three classes at full size; the early one from coarser features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.early, self.late = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.first(x))
        early = nn.functional.interpolate(self.early(x), scale_factor=2)
        return early, nn.functional.interpolate(self.late(torch.relu(self.second(x))), scale_factor=4)


def build_maps(path: Path) -> Package:
    """Build the package at ``path`` with random weights, always the same; its targets are what the last exit says."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        module = Segmenter().eval()
        targets = module(torch.from_numpy(FRAMES) / 255)[1].argmax(1).numpy().astype(np.int64)
    return build_package(
        module, FRAMES, targets, name="maps", exit_names=["early", "late"], metric="mean_iou", path=path
    )
