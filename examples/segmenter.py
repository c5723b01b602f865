"""A small segmenter with three exits: trained on scenes made here, built into a package, run split over a socket.

Run it in any folder; it takes some seconds and writes segmenter.hasten there. Each exit gives a map of classes for
every pixel, so accuracy is mean_iou, and an answer is an array instead of a class.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import hasten as hs

SIDE, CLASSES = 32, 3  # background, disc, square


def make_scenes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy grey pictures (count, 1, SIDE, SIDE) of a disc and a square each, and the class of every pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    frames, targets = np.empty((count, 1, SIDE, SIDE), np.uint8), np.zeros((count, SIDE, SIDE), np.int64)
    for frame, target in zip(frames, targets, strict=True):
        row, column, other_row, other_column = rng.integers(5, SIDE - 5, 4)
        radius, half = rng.integers(3, 8, 2)
        target[(abs(rows - other_row) < half) & (abs(columns - other_column) < half)] = 2
        target[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 1
        shade = np.append(rng.integers(20, 60), rng.integers(100, 200, 2))
        frame[0] = np.clip(shade[target] + rng.normal(0, 20, target.shape), 0, 255)
    return frames, targets


class Segmenter(nn.Module):
    """Three blocks, each behind the other; after each a map of classes at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 5, stride, 2), nn.ReLU())
            for inputs, outputs, stride in ((1, 8, 2), (8, 16, 1), (16, 16, 1))
        )
        self.heads = nn.ModuleList(nn.Conv2d(inputs, CLASSES, 1) for inputs in (8, 16, 16))

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], ...]:
        """The output of each exit by name, maps (N, CLASSES, SIDE, SIDE), for pictures (N, 1, SIDE, SIDE) in 0..1."""
        maps = []
        for block, head in zip(self.blocks, self.heads, strict=True):
            x = block(x)
            maps.append({"mask": nn.functional.interpolate(head(x), scale_factor=2, mode="bilinear")})
        return tuple(maps)


def train(model: Segmenter, frames: np.ndarray, targets: np.ndarray, epochs: int = 12) -> None:
    """Train all exits together; on one thread, as so small a network is slower with more."""
    torch.set_num_threads(1)
    x, y = torch.from_numpy(frames) / 255, torch.from_numpy(targets)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(20):
            optimizer.zero_grad()
            torch.stack(
                [nn.functional.cross_entropy(maps["mask"], y[rows]) for maps in model(x[rows])]
            ).sum().backward()
            optimizer.step()


def main(path: str = "segmenter.hasten") -> None:
    """Train, build, and answer single scenes at every exit and cut."""
    torch.manual_seed(0)
    model = Segmenter()
    train(model, *make_scenes(400, seed=1))
    frames, targets = make_scenes(100, seed=2)
    package = hs.build_package(
        model.eval(), frames, targets,
        name="segmenter", exit_names=["early", "middle", "late"], metric="mean_iou", path=Path(path),
    )  # fmt: skip
    for number, exit_ in enumerate(package.manifest.exits, start=1):
        print(f"exit {number}: mean IoU {exit_.accuracy:.3f}")
    with hs.Edge([package], port=0) as edge:
        for exit_, partition in package.manifest.options():
            with hs.Device(package, edge.address, f"fixed:{exit_},{partition}", deadline_ms=1000) as device:
                answer = device.infer(frames[0])
                right = np.mean(answer.outputs["mask"].argmax(axis=0) == targets[0])
                print(
                    f"exit {answer.exit}, cut {answer.partition}, on {answer.ran_on}: {right:.0%} of the pixels right"
                )


if __name__ == "__main__":
    main()
