"""A plain PyTorch classifier as you might have one: no exits, and nothing of hasten in it.

Run in this folder,

    hasten build own_model:make_net --exits features.2,features.5,features.8 --data digits -o own.hasten

attaches an exit behind each named layer, trains all exits together and writes a package. That takes some minutes.
"""

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Four convolutions, each halving the side of a 64 x 64 grey picture, and one linear layer for ten classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 16), (16, 24), (24, 32)):
            layers += [
                nn.Conv2d(inputs, outputs, 5, stride=2, padding=2),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10) for pictures (N, 1, 64, 64) with values 0..1."""
        return self.classifier(torch.flatten(self.features(x), 1))


def make_net() -> nn.Module:
    """What ``hasten build`` calls."""
    return Net()
