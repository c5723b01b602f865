"""Formulas of arrays, run again and again without making an array: recorded once, as the numpy operations they are.

A device decides in microseconds, and making an array takes one. To write a formula a second time with ``out=`` would
let the two drift apart; so the one formula, the timing law for instance, is called once with recording arrays, and what
it did is then repeated in buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Step = tuple[np.ufunc, FloatArray, FloatArray, FloatArray]
"""An operation of two arrays, and where its result goes."""


class _Recording(NDArrayOperatorsMixin):
    """Stands for an array, and notes what is done with it."""

    def __init__(self, steps: list[Step], array: FloatArray) -> None:
        self._steps, self.array = steps, array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or len(inputs) != 2:
            return NotImplemented
        a, b = (x.array if isinstance(x, _Recording) else np.asarray(x, dtype=np.float64) for x in inputs)
        result = np.zeros(np.broadcast_shapes(a.shape, b.shape))
        self._steps.append((ufunc, a, b, result))
        return _Recording(self._steps, result)


def recorded(
    formula: Callable[..., Sequence[Any]], arguments: Sequence[FloatArray | float], results: Sequence[FloatArray | None]
) -> list[Step]:
    """The steps that compute ``formula(*arguments)`` into the arrays ``results``; None for what nobody needs.

    Arrays among the arguments are read anew at each repetition, numbers are constants. The formula may do with them
    what numpy's functions of two arrays do.
    """
    steps: list[Step] = []
    given = [_Recording(steps, x) if isinstance(x, np.ndarray) else x for x in arguments]
    into: dict[int, FloatArray] = {}
    for found, result in zip(formula(*given), results, strict=True):
        if result is not None:
            into[id(found.array)] = result
    return [(do, into.get(id(a), a), into.get(id(b), b), into.get(id(out), out)) for do, a, b, out in steps]


def repeat(steps: Sequence[Step]) -> None:
    """Do recorded steps with what their arrays hold now."""
    for do, a, b, out in steps:
        do(a, b, out=out)
