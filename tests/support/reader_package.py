"""A network with two inputs, tokens and which of them count, and its package: two exits behind attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hasten.split.build import build_package
from hasten.split.package import Package

WORDS, LENGTH, CLASSES = 20, 12, 4


class Reader(nn.Module):
    """Mean over the tokens that count, behind each of two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(16, CLASSES) for _ in range(2))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, answers = self.embed(ids), []
        for layer, head in zip(self.layers, self.heads, strict=True):
            x = layer(x, src_key_padding_mask=~mask)
            weights = mask.unsqueeze(2).float()
            answers.append(head((x * weights).sum(1) / weights.sum(1)))
        return tuple(answers)


def texts(count: int = 40) -> dict[str, np.ndarray]:
    """Token ids (N, LENGTH) int64 and mask (N, LENGTH) bool, at least one token each."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, LENGTH + 1, count)
    return {
        "ids": rng.integers(0, WORDS, (count, LENGTH)),
        "mask": np.arange(LENGTH)[None] < lengths[:, None],
    }


def make_reader() -> Reader:
    """With random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader().eval()


def build_reader(path: Path) -> Package:
    """Build the package at ``path``; the labels are what the last exit says."""
    module, inputs = make_reader(), texts()
    with torch.no_grad():
        labels = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})[-1].argmax(1).numpy()
    return build_package(module, inputs, labels, name="reader", exit_names=["a", "b"], path=path, samples=12)
