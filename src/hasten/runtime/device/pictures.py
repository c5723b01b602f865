"""From a camera's pictures to frames: cropped and resized to the package's input, and turned into its type.

A package says shape and type of its input and nothing else. So this is what pictures become: the largest centred part
of the input's proportions, resized to its size; RGB for three channels, grey for one; the channels first or last as in
the shape; 0..255 as ``uint8``, 0..1 as ``float32``. A network that wants other numbers has to do that inside its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.split.manifest import TensorSpec

Array = NDArray[np.generic]
Picture = NDArray[np.uint8]


def opencv() -> Any:
    """OpenCV, which pictures need.

    Raises:
        HastenError: it is not installed.
    """
    try:
        return import_module("cv2")
    except ImportError as error:
        raise HastenError(f"cameras, videos and pictures need OpenCV: pip install 'hasten[camera]' ({error})") from None


class PictureFit:
    """Turns pictures, as OpenCV gives them (height, width, 3; blue first; uint8), into frames of an input."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        """See whether the package's input is of a kind that pictures fit.

        Raises:
            InputError: there are several; it is not a picture of one or three channels, or of a type that pictures do
                not have.
            HastenError: OpenCV is not installed.
        """
        if len(specs) > 1:
            names = ", ".join(spec.name for spec in specs)
            raise InputError(
                "device", "source", f"pictures for the inputs {names}", "one input; several by MODULE:FUNCTION"
            )
        (spec,) = specs
        shape = spec.shape
        first, last = len(shape) == 3 and shape[0] in (1, 3), len(shape) == 3 and shape[2] in (1, 3)
        if not (first or last) or spec.dtype not in ("uint8", "float32"):
            expected = "an input of 1 or 3 channels, first or last, uint8 or float32; others by MODULE:FUNCTION"
            raise InputError("device", "source", f"pictures for {spec.dtype}{list(shape)}", expected)
        self._first, self._dtype = first, spec.dtype
        self._channels, self._height, self._width = shape if first else (shape[2], shape[0], shape[1])
        self._cv2 = opencv()

    def frame(self, picture: Picture) -> Array:
        """The frame, of the input's shape and type."""
        cv2, wide, high = self._cv2, self._width, self._height
        part = centre(picture, wide / high)
        smaller = part.shape[0] > high
        sized = cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        code = cv2.COLOR_BGR2RGB if self._channels == 3 else cv2.COLOR_BGR2GRAY
        coloured: Array = cv2.cvtColor(sized, code).reshape(high, wide, self._channels)
        if self._first:
            coloured = np.ascontiguousarray(coloured.transpose(2, 0, 1))
        return coloured if self._dtype == "uint8" else coloured.astype(np.float32) / np.float32(255.0)


def centre(picture: Picture, proportion: float) -> Picture:
    """The largest centred part whose width is ``proportion`` times its height."""
    high, wide = picture.shape[:2]
    part_wide = min(wide, max(round(high * proportion), 1))
    part_high = min(high, max(round(wide / proportion), 1))
    top, left = (high - part_high) // 2, (wide - part_wide) // 2
    return picture[top : top + part_high, left : left + part_wide]
