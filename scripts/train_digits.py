"""Train the network for cluttered digits that ships with hasten: about ten minutes on one core.

Writes ``src/hasten/networks/weights/digits.pt`` and prints the accuracy of every exit on held-out pictures. The same
settings, data and versions give the same weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

import hasten.networks
from hasten.networks.cache import keep_weights
from hasten.networks.calibrate import exit_accuracy
from hasten.networks.default import train_default

WEIGHTS = Path(str(hasten.networks.__file__)).parent / "weights" / "digits.pt"


def main() -> None:
    """Train, save, report."""
    torch.set_num_threads(1)
    said: set[str] = set()

    def progress(what: str, done: float) -> None:
        if what not in said:
            said.add(what)
            print(what, flush=True)

    dataset, network, module = train_default("digits", progress=progress)
    keep_weights(WEIGHTS, module.state_dict())
    found = exit_accuracy(module, dataset.test_x, dataset.test_y)
    for name, accuracy in zip(network.exit_names, found, strict=True):
        print(f"{name:8} {accuracy:.3f}")


if __name__ == "__main__":
    main()
