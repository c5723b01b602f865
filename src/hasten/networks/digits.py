"""Handwritten digits on a cluttered canvas: real pen strokes, made as bulky and as hard as a small camera's frame.

Each picture holds one whole digit, at a random size and place, among fragments cut from other digits: the manner of
Cluttered MNIST (Mnih, Heess, Graves and Kavukcuoglu, "Recurrent Models of Visual Attention", 2014). The digits are the
1,797 of the UCI set bundled with scikit-learn (8 x 8 pixels, 17 grey levels). Lighting and sensor noise are added, so
that a frame does not compress to nothing as a flat black background would.

The originals are divided into training, validation and test digits *before* pictures are made, always in the same way,
and the fragments of a part come from that part's digits alone: nothing of a test picture was seen in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CANVAS = 64
"""Side of a picture in pixels."""

ORIGINAL = 8
"""Side of an original digit in pixels."""

SPLIT_SEED = 1797
VALIDATION_ORIGINALS = 200
TEST_ORIGINALS = 400

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Clutter:
    """How hard the pictures are. Lengths in pixels of the canvas, grey levels as shares of white."""

    digit_px: tuple[int, int] = (26, 40)
    """Smallest and largest side of the digit; smaller is harder."""
    fragments: int = 6
    """Fragments of other digits on each picture; more is harder."""
    fragment_px: tuple[int, int] = (8, 14)
    """Smallest and largest side of a fragment."""
    ink: tuple[float, float] = (0.45, 0.8)
    """Brightness of full ink above the background."""
    background: tuple[float, float] = (0.05, 0.2)
    """Brightness of the empty canvas."""
    noise: float = 0.04
    """Standard deviation of the sensor noise of a pixel."""


def digits_by_part() -> dict[str, tuple[Floats, Labels]]:
    """Return scikit-learn's digits as ``{"train" | "val" | "test": (images (N, 8, 8) in 0..1, labels (N,))}``."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = (bundled.images / 16.0).astype(np.float32)
    labels = bundled.target.astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    test, val, train = np.split(order, [TEST_ORIGINALS, TEST_ORIGINALS + VALIDATION_ORIGINALS])
    return {part: (images[rows], labels[rows]) for part, rows in (("train", train), ("val", val), ("test", test))}


def cluttered(
    originals: Floats, labels: Labels, count: int, seed: int, clutter: Clutter | None = None
) -> tuple[Images, Labels]:
    """Make ``count`` pictures from ``originals`` (N, 8, 8); every original is used before one is used again.

    Returns images (count, 1, 64, 64) and their labels (count,). Equal arguments give equal pictures.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, 1, CANVAS, CANVAS), np.uint8)
    rounds = -(-count // len(originals))
    chosen = np.concatenate([rng.permutation(len(originals)) for _ in range(rounds)])[:count]
    for start in range(0, count, 1024):
        rows = chosen[start : start + 1024]
        images[start : start + len(rows), 0] = _pictures(originals, rows, rng, clutter or Clutter())
    return images, labels[chosen]


def _pictures(originals: Floats, rows: NDArray[np.int64], rng: np.random.Generator, clutter: Clutter) -> Images:
    """Draw one picture per row: the digit, then the fragments, then light and noise."""
    count = len(rows)
    size = rng.uniform(*clutter.digit_px, count)
    corner = rng.uniform(0, 1, (2, count)) * (CANVAS - size)
    ink = paste(originals[rows], size, corner)
    for _ in range(clutter.fragments):
        _add_fragment(ink, originals, rng, clutter)
    ink *= rng.uniform(*clutter.ink, (count, 1, 1)).astype(np.float32)
    ink += rng.uniform(*clutter.background, (count, 1, 1)).astype(np.float32)
    ink += rng.standard_normal(ink.shape, dtype=np.float32) * np.float32(clutter.noise)
    np.clip(ink, 0.0, 1.0, out=ink)
    return np.asarray(np.rint(ink * 255.0), np.uint8)


def _add_fragment(ink: Floats, originals: Floats, rng: np.random.Generator, clutter: Clutter) -> None:
    """Lay one fragment of a random other digit over every picture of ``ink`` (N, 64, 64), in place."""
    count = len(ink)
    donor = originals[rng.integers(len(originals), size=count)]
    size = rng.uniform(*clutter.digit_px, count)
    side = np.minimum(rng.uniform(*clutter.fragment_px, count), size)
    window = rng.uniform(0, 1, (2, count)) * (CANVAS - side)
    inside = rng.uniform(0, 1, (2, count)) * (size - side)
    np.maximum(ink, paste(donor, size, window - inside, window, side), out=ink)


def paste(
    digits: Floats,
    size: NDArray[np.float64],
    corner: NDArray[np.float64],
    window: NDArray[np.float64] | None = None,
    side: NDArray[np.float64] | None = None,
) -> Floats:
    """Scale ``digits`` (N, 8, 8) to ``size`` (N,) pixels at ``corner`` (2, N: top, left) of empty canvases (N, 64, 64).

    Bilinear interpolation is separable: canvas = rows @ digit @ columns^T with one weight matrix per axis. Only what
    falls into the square ``window`` (2, N) of ``side`` (N,) pixels is kept, when given.
    """
    down, across = (_weights(size, corner[axis], None if window is None else window[axis], side) for axis in (0, 1))
    return np.asarray(down @ digits @ across.transpose(0, 2, 1), np.float32)


def _weights(
    size: NDArray[np.float64],
    corner: NDArray[np.float64],
    window: NDArray[np.float64] | None,
    side: NDArray[np.float64] | None,
) -> Floats:
    """Interpolation weights (N, 64, 8) of one axis: row i holds what each original pixel gives to canvas pixel i."""
    centre = np.arange(CANVAS) + 0.5
    source = (centre - corner[:, None]) * (ORIGINAL / size[:, None]) - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(source[:, :, None] - np.arange(ORIGINAL)))
    if window is not None and side is not None:
        weights[(centre < window[:, None]) | (centre >= window[:, None] + side[:, None])] = 0.0
    return weights.astype(np.float32)
