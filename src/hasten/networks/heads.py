"""The head of an exit: average what a layer gives over space or time, then one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

POOLED_SIDE = 4
"""A head looks at a feature map through a grid of at most this side."""

MAX_WEIGHTS, MIN_MIDDLE = 1 << 18, 32
"""A head's weights (1 MiB), and the least width of a narrow middle: fewer cannot tell many classes apart."""


@dataclass(frozen=True)
class Layout:
    """Which axis of a layer's output is the batch and which holds the features; the others are space or time."""

    batch: int
    features: int


class AttachedHead(nn.Module):
    """Average pooling to at most 4 x 4, then one linear layer, as in Shallow-Deep Networks (Kaya et al., ICML 2019).

    A map keeps a grid of at most 4 x 4; what has one axis of tokens or time is averaged over it. Which axis is which
    says ``layout``; without it activations are (N, C, H, W), (N, tokens, C) or (N, C). The width is inferred in the
    first call. A head has at most some :data:`MAX_WEIGHTS` weights: with many classes the grid becomes coarser, and if
    that is not enough the linear layer narrow in the middle.
    """

    def __init__(self, num_classes: int, layout: Layout | None = None) -> None:
        super().__init__()
        self.classify: nn.Module = nn.LazyLinear(num_classes)
        self.num_classes = num_classes
        self.layout = layout
        self.side: int | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        features = self.pool(features)  # which in the first call may choose another linear layer
        logits: Tensor = self.classify(features)
        return logits

    def pool(self, features: Tensor) -> Tensor:
        """Return what the linear layer reads, (N, width)."""
        layout = self.layout or Layout(0, 2 if features.ndim == 3 else 1)
        features = features.movedim((layout.batch, layout.features), (0, 1))
        if self.side is None:
            self.side = self._fitting_side(features)
        if features.ndim == 4:
            features = pooled(features, self.side)
        elif features.ndim == 3:
            features = features.mean(dim=2)
        return features.flatten(1)

    def _fitting_side(self, features: Tensor) -> int:
        """Choose the grid, and a narrow middle if need be, for features (N, C, ...) of the first call."""
        channels, side = features.shape[1], POOLED_SIDE
        while side > 1 and _width(features, side) * self.num_classes > MAX_WEIGHTS:
            side //= 2
        width = _width(features, side)
        if width * self.num_classes > MAX_WEIGHTS:
            middle = max(MIN_MIDDLE, MAX_WEIGHTS // (width + self.num_classes))
            if middle < min(channels, self.num_classes):
                self.classify = nn.Sequential(nn.LazyLinear(middle, bias=False), nn.Linear(middle, self.num_classes))
        return side


def _width(features: Tensor, side: int) -> int:
    """How many numbers of one input (C, ...) are left behind the pooling."""
    if features.ndim != 4:
        return features.shape[1]
    return features.shape[1] * math.prod(-(-size // -(-size // side)) for size in features.shape[2:])


def pooled(maps: Tensor, side: int = POOLED_SIDE) -> Tensor:
    """Average (N, C, H, W) over windows such that at most ``side`` x ``side`` remain; a ragged last one what it has."""
    kernel = [-(-size // side) for size in maps.shape[2:]]
    ragged = any(size % window for size, window in zip(maps.shape[2:], kernel, strict=True))
    return F.avg_pool2d(maps, kernel, ceil_mode=ragged, count_include_pad=not ragged)
