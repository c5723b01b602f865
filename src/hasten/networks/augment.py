"""Pictures that training has not seen but might have: mirrored, or moved a little. Off unless asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hasten.core.errors import InputError
from hasten.split.inputs import Inputs, shapes_of
from hasten.split.modules import Batch

AUGMENTATIONS = ("flip", "shift")
SHIFT_SHARE = 8
"""A picture moves by up to one part in so many of its sides."""


def augmented(pictures: Batch, how: Sequence[str]) -> Batch:
    """``pictures`` (N, C, H, W), each changed at random: mirrored (``flip``), moved (``shift``)."""
    if isinstance(pictures, dict):  # several inputs, which are not changed
        return pictures
    if "flip" in how:
        mirrored = torch.rand(len(pictures), 1, 1, 1) < 0.5
        pictures = torch.where(mirrored, pictures.flip(3), pictures)
    if "shift" in how:
        rows, columns = (_moved(pictures.shape[axis], len(pictures)) for axis in (2, 3))
        picture = torch.arange(len(pictures))[:, None, None]
        pictures = pictures.movedim(1, 3)[picture, rows[:, :, None], columns[:, None, :]].movedim(3, 1)
    return pictures


def _moved(side: int, count: int) -> Tensor:
    """Which rows (or columns) of a picture each of ``count`` moved ones shows, (count, side)."""
    most = side // SHIFT_SHARE
    by = torch.randint(-most, most + 1, (count, 1))
    return (torch.arange(side) + by).clamp(0, side - 1)


def check_augmentation(how: Sequence[str], inputs: Inputs) -> None:
    """Refuse unknown ways, and those that make no sense for ``inputs``."""
    for name in how:
        if name not in AUGMENTATIONS:
            raise InputError("training", "augment", name, f"one of {', '.join(AUGMENTATIONS)}")
    if how and (isinstance(inputs, Mapping) or inputs.ndim != 4):
        found = ", ".join(f"{name} {shape}".strip() for name, shape in shapes_of(inputs).items())
        raise InputError("training", "augment", ",".join(how), f"pictures (N, C, H, W) as the one input, not {found}")
