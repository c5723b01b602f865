"""The default networks: a compact residual CNN with six exits, narrow where it may be cut and wide inside.

What a cut sends is the trunk between two blocks, so the trunk is kept narrow while each block widens it, computes and
narrows it again (the shape of MobileNetV2, Sandler et al., CVPR 2018, with full convolutions and a rectified trunk,
whose zeros compress well). Every trunk is smaller than the frame, and the later the smaller. A block sees little
further than the one before it, so that accuracy keeps rising from exit to exit instead of being reached at once.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hasten.networks.attach import MultiExit, attach_exits

BLOCKS = ((8, 40, 1), (8, 40, 1), (8, 48, 1), (16, 144, 2), (16, 144, 1), (32, 320, 2))
"""Trunk channels behind the block, channels inside it per width, stride.

Each of the six costs 0.8 to 1.5 million products per width."""

EXIT_LAYERS = tuple(f"block{number}" for number in range(1, len(BLOCKS)))
"""Where the default networks have their first five exits; the sixth is the end."""

LAST_SIDE = 4
"""Side of the map that the blocks leave."""


class ConvNorm(nn.Sequential):
    """Convolution without bias and batch normalisation, which the export folds into one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
        )


class WideBlock(nn.Module):
    """Residual block (N, inputs, H, W) -> (N, outputs, H/stride, W/stride) with ``inner`` channels inside."""

    def __init__(self, inputs: int, outputs: int, inner: int, stride: int) -> None:
        super().__init__()
        self.widen = ConvNorm(inputs, inner, 3, stride)
        self.narrow = ConvNorm(inner, outputs, 1)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next trunk, not negative."""
        return F.relu(self.skip(x) + self.narrow(F.relu(self.widen(x))))


class CompactResNet(nn.Module):
    """A plain residual classifier without exits: ``stem``, ``block1`` .. ``block6`` and one linear layer.

    Takes square images (N, channels, side, side) of side 16 * ``stem_stride``, values 0..1. ``width`` multiplies what
    each block computes, but not what a cut sends.
    """

    def __init__(self, channels: int, stem_stride: int, num_classes: int, width: int = 1) -> None:
        super().__init__()
        trunk = BLOCKS[0][0]
        self.stem = ConvNorm(channels, trunk, 2 * stem_stride - 1, stem_stride)
        self.blocks = len(BLOCKS)
        for number, (outputs, inner, stride) in enumerate(BLOCKS, start=1):
            self.add_module(f"block{number}", WideBlock(trunk, outputs, width * inner, stride))
            trunk = outputs
        self.classify = nn.Linear(trunk * LAST_SIDE**2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        x = F.relu(self.stem(x))
        for number in range(1, self.blocks + 1):
            x = self.get_submodule(f"block{number}")(x)
        logits: Tensor = self.classify(x.flatten(1))
        return logits


def digits_resnet() -> MultiExit:
    """Six exits for the cluttered digits: uint8 (N, 1, 64, 64) to six times (N, 10)."""
    return attach_exits(CompactResNet(1, stem_stride=4, num_classes=10, width=4), EXIT_LAYERS, 10, (1, 64, 64))


def cifar_resnet() -> MultiExit:
    """Six exits for CIFAR-10: uint8 (N, 3, 32, 32) to six times (N, 10)."""
    return attach_exits(CompactResNet(3, stem_stride=2, num_classes=10), EXIT_LAYERS, 10, (3, 32, 32))
