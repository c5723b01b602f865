"""What a network takes: one array, or several by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Inputs = Array | Mapping[str, Array]
"""Held-out inputs (N, *shape); of a network with several inputs each by its name, in the network's order."""
Frame = list[Array]
"""One frame: of each input (1, *shape)."""

MAX_INPUTS = 8


def arrays_of(inputs: Inputs) -> list[Array]:
    """The array of each input, (N, *shape)."""
    return list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]


def count_of(inputs: Inputs) -> int:
    """N."""
    return len(arrays_of(inputs)[0])


def rows_of(inputs: Inputs, rows: slice | NDArray[np.integer]) -> Inputs:
    """These rows of each input."""
    return {name: array[rows] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[rows]


def first_of(inputs: Inputs, count: int) -> Inputs:
    """The first ``count`` (count, *shape) of each input."""
    return rows_of(inputs, slice(count))


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The rows of all parts, which have the same inputs, one part after another."""
    first = parts[0]
    if not isinstance(first, Mapping):
        return np.concatenate([arrays_of(part)[0] for part in parts])
    columns = zip(*map(arrays_of, parts), strict=True)
    return {name: np.concatenate(column) for name, column in zip(first, columns, strict=True)}


def shapes_of(inputs: Inputs) -> dict[str, str]:
    """Type and shape of one frame's array of each input, in words; the one input has no name."""
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    return {name: f"{array.dtype}{list(array.shape[1:])}" for name, array in named.items()}


def frame_of(inputs: Inputs, index: int) -> Frame:
    """The frame of this number."""
    return [array[index : index + 1] for array in arrays_of(inputs)]
