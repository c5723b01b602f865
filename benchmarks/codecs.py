"""What do codecs chosen cut by cut save, and what do they cost? Bytes and accuracy against one codec for all cuts.

The demo's residual network on cluttered digits, and a network of four attention layers over 64 tokens, trained here to
tell which of eight words is the most frequent. Each is built twice from the same weights: with `uint8-zstd` at every
cut, as all packages were before codecs were chosen, and with `auto`. Points lost are accuracy without the codec less
with it, in hundredths, at the exit behind the cut that loses most; what the 1,000 inputs cannot tell from chance counts
as none.

Usage: python benchmarks/codecs.py [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hasten.networks.attach import attach_exits
from hasten.networks.backbone import digits_resnet
from hasten.networks.build import pack
from hasten.networks.cache import cached_weights
from hasten.networks.calibrate import Calibrated
from hasten.networks.data import Dataset, load_dataset, own_dataset
from hasten.networks.default import SHIPPED_WEIGHTS
from hasten.networks.fit import fit
from hasten.networks.train import TrainSettings
from hasten.split.inspect import describe

CODECS = ("uint8-zstd", "auto")
TRAINED, TESTED = 4_000, 1_000
WIDTH, LAYERS, WORDS, LENGTH, CLASSES, EPOCHS = 64, 4, 32, 64, 8, 4


class Words(nn.Module):
    """Attention over tokens, without a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (N, CLASSES) of tokens (N, LENGTH)."""
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        logits: torch.Tensor = self.out(self.norm(x).mean(1))
        return logits


def texts() -> Dataset:
    """Tokens (N, LENGTH), and which of the first CLASSES words is the most frequent, one that no other equals."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, WORDS, (3 * (TRAINED + TESTED), LENGTH))
    counts = np.stack([(ids == word).sum(1) for word in range(CLASSES)], axis=1)
    alone = (counts == counts.max(1, keepdims=True)).sum(1) == 1
    ids, labels = ids[alone], counts[alone].argmax(1)
    return own_dataset(((ids[:TRAINED], labels[:TRAINED]), (ids[-TESTED:], labels[-TESTED:])), "texts")


def attention(dataset: Dataset) -> tuple[nn.Module, list[str]]:
    """The trained network with an exit behind each layer, and the exits' names."""
    torch.manual_seed(0)
    layers = [f"layers.{number}" for number in range(LAYERS - 1)]
    network = attach_exits(Words(), layers, example=torch.from_numpy(dataset.train_x[:2]))
    fitted = fit(network, dataset, "all", TrainSettings(epochs=EPOCHS, peak_lr=2e-3), None)
    return fitted.module, list(network.exit_names)


def residual() -> tuple[nn.Module, list[str]]:
    """The demo's network with the weights that ship with hasten."""
    network, weights = digits_resnet(), cached_weights(SHIPPED_WEIGHTS)
    assert weights is not None, f"{SHIPPED_WEIGHTS} is missing"
    module = Calibrated(network, [1.0] * len(network.exit_names))
    module.load_state_dict(weights)
    return module.eval(), list(network.exit_names)


def compare(name: str, module: nn.Module, exits: list[str], dataset: Dataset) -> list[dict[str, Any]]:
    """One row per cut: raw bytes, and codec, bytes and points lost of each way to build."""
    cuts = {}
    with tempfile.TemporaryDirectory() as folder:
        for codec in CODECS:
            path = Path(folder) / f"{codec}.hasten"
            cuts[codec] = describe(pack(module, dataset, name, exits, path, codec=codec))["cuts"]
    return [
        {
            "network": name,
            "cut": before["partition"],
            "after": before["name"],
            "raw_bytes": before["plain_bytes"],
            **{codec: {key: cuts[codec][row][key] for key in ("codec", "bytes", "points_lost")} for codec in CODECS},
        }
        for row, before in enumerate(cuts["auto"][:-1])  # behind the last block nothing is sent
    ]


def shown(row: dict[str, Any]) -> str:
    """A row of the table."""
    one, auto = row["uint8-zstd"], row["auto"]
    before = f"{row['raw_bytes']:,} | {one['bytes']:,} | {one['points_lost']:.1f}"
    after = f"{auto['codec']} | {auto['bytes']:,} | {auto['points_lost']:.1f}"
    return f"| {row['network']} | {row['cut']} | {row['after']} | {before} | {after} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    print("| network | cut | after | raw | uint8-zstd | points lost | auto | bytes | points lost |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    words, pictures = texts(), load_dataset("digits").first(TRAINED, TESTED)
    for name, (module, exits), dataset in (
        ("attention", attention(words), words),
        ("residual", residual(), pictures),
    ):
        for row in compare(name, module, exits, dataset):
            rows.append(row)
            print(shown(row), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
