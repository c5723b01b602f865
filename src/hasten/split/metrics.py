"""How good an exit's outputs are: a number in 0..1 per held-out input, whose mean is the exit's accuracy.

``accuracy``: the largest of the first output is at the target class. ``mean_iou``: the first output has the classes on
its first axis (C, H, W); intersection over union with the target (H, W), mean over the classes that either shows, per
input. ``mse``: 1 - squared error / variance of the targets, at least 0. Or any function of the outputs and the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]
"""An exit's outputs by name, without the batch axis."""
Metric = Callable[[Outputs, Array], float]

ACCURACY = "accuracy"
NAMES = (ACCURACY, "mean_iou", "mse")


def make_metric(metric: str | Callable[..., Any], targets: Array) -> Metric:
    """The metric of a name, or a function (outputs, target) -> 0..1, checked at each call.

    Args:
        metric: one of ``NAMES``, or a function.
        targets: (N, *shape) of the data that it will be used on; ``mse`` needs their variance.
    """
    if callable(metric):
        return _checked(metric)
    if metric == ACCURACY:
        return _right
    if metric == "mean_iou":
        return _mean_iou
    if metric == "mse":
        variance = float(np.var(targets.astype(np.float64)))
        return lambda outputs, target: _explained(outputs, target, variance)
    raise InputError("build", "metric", metric, f"one of {', '.join(NAMES)}, or a function of outputs and target")


def metric_name(metric: str | Callable[..., Any]) -> str:
    """What a package calls a metric."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def score(metric: Metric, outputs: Outputs, target: Array) -> float:
    """The metric's value; 0 where an output is not finite, which is no answer."""
    floats = [output for output in outputs.values() if output.dtype.kind == "f"]
    return metric(outputs, target) if all(np.isfinite(output).all() for output in floats) else 0.0


def confidence_of(logits: Array) -> float:
    """The probability of the likeliest class, by the logits (classes,); 0 where they are not finite."""
    best = logits.max()
    return 1.0 / float(np.exp(logits - best).sum()) if np.isfinite(logits).all() else 0.0


def _right(outputs: Outputs, target: Array) -> float:
    return float(_first(outputs).argmax() == target)


def _mean_iou(outputs: Outputs, target: Array) -> float:
    maps = _first(outputs)
    if maps.ndim != target.ndim + 1 or maps.shape[1:] != target.shape:
        raise InputError("build", "targets", target.shape, f"maps of classes {maps.shape[1:]} for mean_iou")
    found = maps.argmax(axis=0)
    shown = np.union1d(found, target)
    shares = [np.sum((found == c) & (target == c)) / np.sum((found == c) | (target == c)) for c in shown]
    return float(np.mean(shares))


def _explained(outputs: Outputs, target: Array, variance: float) -> float:
    found = _first(outputs)
    if found.shape != target.shape:
        raise InputError("build", "targets", target.shape, f"the shape of the output, {found.shape}, for mse")
    error = float(np.mean((found.astype(np.float64) - target.astype(np.float64)) ** 2))
    return max(0.0, 1.0 - error / variance) if variance > 0 else float(error == 0)


def _first(outputs: Outputs) -> Any:
    return next(iter(outputs.values()))


def _checked(function: Callable[..., Any]) -> Metric:
    def metric(outputs: Outputs, target: Array) -> float:
        try:
            value = function(outputs, target)
        except Exception as error:  # somebody's own function: it may fail in any way
            expected = f"a function of outputs and target that does not fail ({type(error).__name__}: {error})"
            raise InputError("build", "metric", metric_name(function), expected) from error
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError("build", "metric", value, "a number from 0 to 1") from None
        if not 0 <= number <= 1:
            raise InputError("build", "metric", number, "a number from 0 to 1")
        return number

    return metric
