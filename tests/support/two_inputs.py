"""A picture and a few numbers that decide together: networks and data to build packages from, by name."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

CLASSES = 4


class Scene(nn.Module):
    """Half of the answer is in the picture, the other in the numbers, which join it in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.numbers = nn.Linear(3, 8)
        self.joined = nn.Sequential(nn.Linear(40, 16), nn.ReLU())
        self.more = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
        self.answer = nn.Linear(16, CLASSES)

    def forward(self, shade: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Logits (N, CLASSES) of pictures (N, 1, 8, 8) and numbers (N, 3)."""
        together = torch.cat([self.picture(shade).flatten(1), torch.relu(self.numbers(numbers))], 1)
        return self.answer(self.more(self.joined(together)))


class TwoAnswers(Scene):
    """The same with an exit of its own behind the layer ``joined``."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(16, CLASSES)

    def forward(self, shade: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two times logits (N, CLASSES)."""
        together = torch.cat([self.picture(shade).flatten(1), torch.relu(self.numbers(numbers))], 1)
        joined = self.joined(together)
        return self.early(joined), self.answer(self.more(joined))


def scenes(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Pictures (N, 1, 8, 8) uint8 of which one half is bright, numbers (N, 3) float32, and classes (N,)."""
    rng = np.random.default_rng(seed)
    upper, positive = rng.integers(0, 2, (2, count))
    shade = rng.integers(0, 120, (count, 1, 8, 8))
    shade[upper == 1, :, :4] += 100
    shade[upper == 0, :, 4:] += 100
    numbers = rng.standard_normal((count, 3)).astype(np.float32)
    numbers[:, 1] = np.abs(numbers[:, 1]) * (2 * positive - 1)
    return {"shade": shade.astype(np.uint8), "numbers": numbers}, 2 * upper + positive


def load_scenes() -> dict[str, object]:
    """Data as ``hasten build`` takes it."""
    return {"train": scenes(480, 0), "test": scenes(80, 1)}


def make_scene() -> Scene:
    """With random weights."""
    return Scene()


@cache
def _trained_weights(kind: type[nn.Module]) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = kind()
    inputs, labels = scenes(480, 0)
    shade, numbers, wanted = torch.from_numpy(inputs["shade"]) / 255, torch.from_numpy(inputs["numbers"]), labels
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        outputs = module(shade, numbers)
        for logits in outputs if isinstance(outputs, tuple) else (outputs,):
            nn.functional.cross_entropy(logits, torch.from_numpy(wanted)).backward(retain_graph=True)
        optimizer.step()
    return module.state_dict()


def _trained(kind: type[nn.Module]) -> nn.Module:
    """Trained when it is first asked for."""
    module = kind()
    module.load_state_dict(_trained_weights(kind))
    return module.eval()


def trained_scene() -> nn.Module:
    """One that is right on nearly all scenes."""
    return _trained(Scene)


def trained_exits() -> nn.Module:
    """The same with its own two exits."""
    return _trained(TwoAnswers)
