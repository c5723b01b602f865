"""Whether what a program hands over is a frame of the package: its shape and type, nothing converted silently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.split.manifest import TensorSpec

Array = NDArray[np.generic]


class FrameInput:
    """The one input of a package, and what is asked of a frame for it."""

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._batch, self._dtype = (1, *spec.shape), np.dtype(spec.dtype)

    def batch(self, frame: Any, copy: bool) -> Array:
        """The frame as (1, *shape), contiguous; a copy if asked for.

        Args:
            frame: an array of the input's shape and type, with or without a leading axis of 1; or a dict with it by
                the input's name.
            copy: whether the caller may change the array afterwards.

        Raises:
            InputError: it is something else, or holds a number that is not finite.
        """
        given = self._of_dict(frame) if isinstance(frame, Mapping) else frame
        if not isinstance(given, np.ndarray):
            raise InputError("device", "frame", type(given).__name__, self._expected())
        shape = given.shape
        if given.dtype != self._dtype or (shape != self._batch and shape != self.spec.shape):
            raise InputError("device", "frame", f"{given.dtype}{list(shape)}", self._expected())
        if self._dtype.kind == "f":
            self._require_finite(given)
        given = given.reshape(self._batch)
        return given.copy(order="C") if copy else np.ascontiguousarray(given)

    def _of_dict(self, frame: Mapping[Any, Any]) -> Any:
        if list(frame) != [self.spec.name]:
            raise InputError("device", "frame", sorted(map(str, frame)), f"one input, named {self.spec.name!r}")
        return frame[self.spec.name]

    def _require_finite(self, given: Array) -> None:
        flat = given.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(np.dot(flat, flat)):  # one fast pass; what overflows here is looked at again
                return
        finite = np.isfinite(flat)
        if not finite.all():
            raise InputError("device", "frame", float(flat[~finite][0]), "finite numbers")

    def _expected(self) -> str:
        spec = self.spec
        return f"a numpy array {spec.dtype}{list(spec.shape)}, or a dict with it as {spec.name!r}"
