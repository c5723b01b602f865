"""A model that somebody has trained already gets exits, and stays what it is: only the heads are trained.

Run it in any folder: it writes trained.hasten there. The same on the command line, in this folder:

    hasten build trained_model:load_model --exits 2,5 --data trained_model:load_data -o trained.hasten
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import hasten as hs


def load_data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pictures (N, 1, 8, 8) of digits with values 0..1, and their classes, in two parts."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return {"train": (x[:1200], y[:1200]), "test": (x[1200:], y[1200:])}


def load_model() -> nn.Module:
    """Your trained model; here one that is trained for a second."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = (torch.from_numpy(part) for part in load_data()["train"])
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    """Attach two exits, train their heads, write the package."""
    model, data = load_model(), load_data()
    network = hs.attach_exits(model, at=["2", "5"], input_shape=(1, 8, 8))
    package = hs.build_package(
        network, *data["test"], name="digits", path=Path("trained.hasten"), train="heads", train_data=data["train"]
    )
    for exit_ in package.manifest.exits:
        print(f"{exit_.name:>6} {exit_.accuracy:.3f}")


if __name__ == "__main__":
    main()
