"""One source for interpreted and compiled use: functions marked here may be called from numba kernels.

A device runs without numba, a simulator with it. ``@jitable`` leaves a function plain Python (numpy broadcasting
included) and, where numba is installed, lets compiled kernels inline the very same source.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

LOADED_S = time.time()
"""When this process began to import hasten, seconds since the epoch: files changed later may not be those in memory."""

F = TypeVar("F", bound=Callable[..., Any])

_known_to_kernels: Callable[..., Any] | None
try:
    from numba.extending import overload

    from hasten.core.kernel_parts import known_to_kernels as _known_to_kernels
except ImportError:  # a device without the planning extra
    _known_to_kernels = None


def jitable(function: F) -> F:
    """Mark ``function`` as callable both from Python and from numba-compiled code."""
    if _known_to_kernels:
        _known_to_kernels(function, {})
    return function


def jitable_inline(function: F) -> F:
    """As :func:`jitable`, but always compiled into its callers: handing it many arrays would cost more than it does."""
    if _known_to_kernels:
        _known_to_kernels(function, {"forceinline": True})
    return function


def select(condition: Any, if_true: Any, if_false: Any) -> Any:
    """``np.where``, which in compiled code would allocate an array even for scalars."""
    return np.where(condition, if_true, if_false)


def larger(a: Any, b: Any) -> Any:
    """``np.maximum``, which in compiled code would also look for NaN."""
    return np.maximum(a, b)


def smaller(a: Any, b: Any) -> Any:
    """``np.minimum``, which in compiled code would also look for NaN."""
    return np.minimum(a, b)


if _known_to_kernels is not None:

    @overload(select, inline="always", strict=False)
    def _select_scalar(condition: Any, if_true: Any, if_false: Any) -> Any:
        return lambda condition, if_true, if_false: if_true if condition else if_false

    @overload(larger, inline="always", strict=False)
    def _larger_scalar(a: Any, b: Any) -> Any:
        return lambda a, b: a if a > b else b

    @overload(smaller, inline="always", strict=False)
    def _smaller_scalar(a: Any, b: Any) -> Any:
        return lambda a, b: a if a < b else b
