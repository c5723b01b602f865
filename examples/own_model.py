"""A plain PyTorch classifier as you might have one: no exits, and nothing of hasten in it.

Run in this folder,

    hasten build own_model:make_net --exits features.2,features.5,features.8 --data own_model:data -o own.hasten

attaches an exit behind each named layer, trains all exits together (the network here knows nothing yet), cuts the
network everywhere useful and writes a package: less than a minute. What every exit and cut is worth is printed.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
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
    """What ``hasten build`` calls; on one thread, as so small a network trains no faster on more."""
    torch.set_num_threads(1)
    return Net()


def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Handwritten digits (N, 1, 64, 64) uint8 and their classes; "train" trains, "test" measures accuracies."""
    small, y = load_digits(return_X_y=True)
    x = np.kron(small.reshape(-1, 1, 8, 8) * 15, np.ones((8, 8))).astype(np.uint8)
    return {"train": (x[:1200], y[:1200]), "test": (x[1200:], y[1200:])}
