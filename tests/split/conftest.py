"""Test networks, each with something that naive cutting gets wrong, and one package built from the first of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from shared import built_once
from torch import nn

from hasten.split.build import build_package
from hasten.split.export import export_network
from hasten.split.graph import ExportedNetwork
from hasten.split.package import Package


class ResidualBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            self.skip = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += self.skip(x)
        return self.relu(y)


class TinyResidual(nn.Module):
    """Three exits, residual blocks, in-place operations, a slice that is written to, a branch on the input's shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(inplace=True))
        self.stage1 = nn.Sequential(ResidualBlock(8, 8, 1), ResidualBlock(8, 8, 1))
        self.stage2 = ResidualBlock(8, 16, 2)
        self.stage3 = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 32, 1))
        self.head1, self.head2, self.head3 = nn.Linear(8, 5), nn.Linear(16, 5), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.stem(x)
        if x.shape[-1] > 16:
            x = nn.functional.max_pool2d(x, 2)
        x = self.stage1(x)
        first = self.head1(x.mean((2, 3)))
        x = self.stage2(x)
        x[:, :4].mul_(0.5)
        second = self.head2(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        x = self.stage3(x)
        return first, second, self.head3(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class ExitInsideBlock(nn.Module):
    """The first exit taps the middle of a residual block, so two tensors cross there; the second reads the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.conv3 = nn.Conv2d(4, 4, 3, 1, 1)
        self.head1, self.head2, self.head3 = nn.Linear(4, 5), nn.Linear(9, 5), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.conv1(x))
        inside = torch.relu(self.conv2(x))
        first = self.head1(inside.mean((2, 3)))
        x = torch.relu(x + self.conv3(inside))
        second = self.head2(torch.cat([x.mean((2, 3)), first], 1))
        x = torch.relu(self.conv2(x))
        return first, second, self.head3(x.mean((2, 3)))


class Shuffle(nn.Module):
    """Operations with several results (chunk, max with indices) and exits whose heads run after the whole trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.conv3 = nn.Conv2d(8, 8, 3, 2, 1)
        self.head1, self.head2 = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.conv1(x))
        left, right = x.chunk(2, 1)
        middle = torch.cat([self.conv2(left), right], 1)
        values, _ = torch.relu(self.conv3(middle)).flatten(2).max(-1)
        return self.head1(middle.mean((2, 3))), self.head2(values)


class Perceptron(nn.Module):
    """Float features instead of images, no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.head1, self.head2 = nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.layers[1](torch.relu(self.layers[0](x))))
        first = self.head1(x)
        return first, self.head2(torch.relu(self.layers[3](torch.relu(self.layers[2](x)))))


NETS: dict[str, tuple[type[nn.Module], int, tuple[int, ...]]] = {
    "residual": (TinyResidual, 3, (1, 20, 20)),
    "inside": (ExitInsideBlock, 3, (1, 12, 12)),
    "shuffle": (Shuffle, 2, (1, 12, 12)),
    "perceptron": (Perceptron, 2, (16,)),
}


@pytest.fixture(scope="session")
def make_net() -> Callable[[str], tuple[nn.Module, int, tuple[int, ...]]]:
    """name -> (module in eval mode with batch statistics of its own, number of exits, input shape)."""

    def make(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
        kind, exits, shape = NETS[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = kind().train()
            with torch.no_grad():
                for _ in range(10):
                    module(torch.rand(8, *shape))
        return module.eval(), exits, shape

    return make


@pytest.fixture(scope="session")
def exported(make_net) -> Callable[[str], tuple[nn.Module, int, tuple[int, ...], ExportedNetwork]]:
    """As ``make_net``, and the exported graph; each exported once."""

    @functools.cache
    def export(name: str) -> tuple[nn.Module, int, tuple[int, ...], ExportedNetwork]:
        module, exits, shape = make_net(name)
        return module, exits, shape, export_network(module, torch.rand(1, *shape))

    return export


@pytest.fixture(scope="session")
def package(make_net: Callable[[str], tuple[nn.Module, int, tuple[int, ...]]], tmp_path_factory) -> Package:
    """The residual network as a package of uint8 frames."""
    module, _, shape = make_net("residual")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
    labels = rng.integers(0, 5, 40)

    def build(path: Path) -> Package:
        return build_package(module, frames, labels, name="tiny", exit_names=["a", "b", "c"], path=path, samples=12)

    return built_once(tmp_path_factory, "residual", build)
