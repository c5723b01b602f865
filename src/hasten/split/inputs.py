"""What a network takes: one array, or several by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

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


def first_of(inputs: Inputs, count: int) -> Inputs:
    """The first ``count`` (count, *shape) of each input."""
    return {name: array[:count] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[:count]


def frame_of(inputs: Inputs, index: int) -> Frame:
    """The frame of this number."""
    return [array[index : index + 1] for array in arrays_of(inputs)]
