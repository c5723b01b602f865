"""The head of an exit: average what a layer gives over space or time, then one linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

POOLED_SIDE = 4
"""A head looks at a feature map through a grid of at most this side."""


@dataclass(frozen=True)
class Layout:
    """Which axis of a layer's output is the batch and which holds the features; the others are space or time."""

    batch: int
    features: int


class AttachedHead(nn.Module):
    """Average pooling to at most 4 x 4, then one linear layer, as in Shallow-Deep Networks (Kaya et al., ICML 2019).

    A map keeps a grid of at most 4 x 4; what has one axis of tokens or time is averaged over it. Which axis is which
    says ``layout``; without it activations are (N, C, H, W), (N, tokens, C) or (N, C). The width is inferred in the
    first call.
    """

    def __init__(self, num_classes: int, layout: Layout | None = None) -> None:
        super().__init__()
        self.classify = nn.LazyLinear(num_classes)
        self.layout = layout

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        layout = self.layout or Layout(0, 2 if features.ndim == 3 else 1)
        features = features.movedim((layout.batch, layout.features), (0, 1))
        if features.ndim == 4:
            features = _pooled(features)
        elif features.ndim == 3:
            features = features.mean(dim=2)
        logits: Tensor = self.classify(features.flatten(1))
        return logits


def _pooled(maps: Tensor) -> Tensor:
    """Average (N, C, H, W) over windows such that at most 4 x 4 remain; a ragged last window averages what it has."""
    kernel = [-(-side // POOLED_SIDE) for side in maps.shape[2:]]
    ragged = any(side % window for side, window in zip(maps.shape[2:], kernel, strict=True))
    return F.avg_pool2d(maps, kernel, ceil_mode=ragged, count_include_pad=not ragged)
