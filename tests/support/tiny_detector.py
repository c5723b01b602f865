"""A tiny package whose exits give several outputs of several types, of other shapes at each exit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hasten.split.build import build_package
from hasten.split.package import Package

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)


class Detector(nn.Module):
    """Boxes, scores, class numbers and which of them count; another number of boxes per exit."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.early, self.late = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self._found(self.early(x)), self._found(self.late(torch.relu(self.second(x))))

    @staticmethod
    def _found(maps):
        cells = maps.flatten(2).transpose(1, 2)
        scores = cells[:, :, 4].sigmoid()
        return {"boxes": cells[:, :, :4], "scores": scores, "kind": cells[:, :, 4:].argmax(2), "valid": scores > 0.5}


def make_detector() -> Detector:
    """With random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Detector().eval()


def build_detector(path: Path) -> Package:
    """Build the package at ``path``; its metric is a function."""

    def found_any(outputs: dict[str, Any], target: Any) -> float:
        return float(outputs["valid"].any() == target.any())

    targets = np.random.default_rng(1).random((len(FRAMES), 2)) > 0.5
    return build_package(
        make_detector(), FRAMES, targets, name="detector", exit_names=["early", "late"], metric=found_any, path=path
    )
