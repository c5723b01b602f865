"""Whether what a program hands over is a frame of the package: shapes and types, nothing converted silently."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.split.inputs import Frame
from hasten.split.manifest import TensorSpec

Array = NDArray[np.generic]


class FrameInput:
    """The inputs of a package, and what is asked of a frame for them."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._inputs = [_OneInput(spec, "frame" if len(specs) == 1 else f"frame: {spec.name}") for spec in specs]

    def batch(self, frame: Any, copy: bool) -> Frame:
        """Of each input an array (1, *shape), contiguous; a copy if asked for.

        Args:
            frame: an array of the input's shape and type, with or without a leading axis of 1; or a dict of such arrays
                by the inputs' names, which several inputs need.
            copy: whether the caller may change the arrays afterwards.

        Raises:
            InputError: it is something else, or holds a number that is not finite.
        """
        if isinstance(frame, Mapping):
            names = [one.spec.name for one in self._inputs]
            if set(frame) != set(names):
                raise InputError("device", "frame", sorted(map(str, frame)), _named(names))
            return [one.batch(frame[one.spec.name], copy) for one in self._inputs]
        if len(self._inputs) > 1:
            expected = ", ".join(f"{one.spec.name!r}: {one.shown}" for one in self._inputs)
            raise InputError("device", "frame", type(frame).__name__, f"a dict {{{expected}}}")
        return [self._inputs[0].batch(frame, copy)]


class _OneInput:
    """One input; ``field`` is what errors call it."""

    def __init__(self, spec: TensorSpec, field: str) -> None:
        self.spec, self._field = spec, field
        self._batch, self._dtype = (1, *spec.shape), np.dtype(spec.dtype)
        self.shown = f"{spec.dtype}{list(spec.shape)}"

    def batch(self, given: Any, copy: bool) -> Array:
        """The array as (1, *shape)."""
        if not isinstance(given, np.ndarray):
            raise InputError("device", self._field, type(given).__name__, self._expected())
        shape = given.shape
        if given.dtype != self._dtype or (shape != self._batch and shape != self.spec.shape):
            raise InputError("device", self._field, f"{given.dtype}{list(shape)}", self._expected())
        if self._dtype.kind == "f":
            self._require_finite(given)
        given = given.reshape(self._batch)
        return given.copy(order="C") if copy else np.ascontiguousarray(given)

    def _require_finite(self, given: Array) -> None:
        flat = given.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(np.dot(flat, flat)):  # one fast pass; what overflows here is looked at again
                return
        finite = np.isfinite(flat)
        if not finite.all():
            raise InputError("device", self._field, float(flat[~finite][0]), "finite numbers")

    def _expected(self) -> str:
        return f"a numpy array {self.shown}, or a dict with it as {self.spec.name!r}"


def _named(names: Sequence[str]) -> str:
    return f"one input, named {names[0]!r}" if len(names) == 1 else f"the inputs {', '.join(names)}"
