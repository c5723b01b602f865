"""Make the confidence that travels with an answer mean what it says: one temperature per exit.

Temperature scaling (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017) divides an
exit's logits by one number, fitted on validation data. It changes no answer, so it cannot change accuracy. The division
becomes part of the network, so whoever runs it gets calibrated logits and need not know of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.split.inputs import Inputs, count_of
from hasten.split.modules import batch_of, call

Floats = NDArray[np.float64]

SHARPNESS_RANGE = (1e-3, 1e3)
"""Bounds of 1 / temperature; reached only by an exit whose answers are all right or say nothing."""


class Calibrated(nn.Module):
    """A multi-exit network whose exits' logits are divided by ``temperatures`` (one per exit), kept as weights are."""

    def __init__(self, network: nn.Module, temperatures: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.temperatures = list(temperatures)

    def forward(self, *x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return calibrated logits (N, classes) of every exit."""
        pairs = zip(self.network(*x, **inputs), self.temperatures, strict=True)
        return tuple(logits if temperature == 1.0 else logits / temperature for logits, temperature in pairs)

    def get_extra_state(self) -> Tensor:
        """The temperatures, which ``state_dict`` keeps beside the weights though they are constants of the graph."""
        return torch.tensor(self.temperatures, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the temperatures from ``state``, as :meth:`get_extra_state` gave them."""
        self.temperatures = state.tolist()


def calibrated(network: nn.Module, inputs: Inputs, labels: NDArray[np.integer]) -> Calibrated:
    """Fit one temperature per exit of ``network`` on validation ``inputs`` (N, *input_shape), ``labels`` (N,)."""
    temperatures = [fit_temperature(logits, labels) for logits in exit_logits(network, inputs)]
    return Calibrated(network, temperatures).eval()


def exit_logits(network: nn.Module, inputs: Inputs, batch: int = 256) -> list[Floats]:
    """Run ``network`` in eval mode over ``inputs`` (N, *input_shape); one array of logits (N, classes) per exit.

    The network gets copies: one that works in place (normalises its input, say) must not change the caller's arrays.
    """
    network.eval()
    with torch.inference_mode():
        rows = range(0, count_of(inputs), batch)
        parts = [call(network, batch_of(inputs, slice(row, row + batch))) for row in rows]
    return [torch.cat(logits).double().numpy() for logits in zip(*parts, strict=True)]


def exit_accuracy(network: nn.Module, inputs: Inputs, labels: NDArray[np.integer]) -> list[float]:
    """Share of ``inputs`` that each exit of ``network`` classifies as ``labels`` say."""
    return [float(np.mean(logits.argmax(axis=1) == labels)) for logits in exit_logits(network, inputs)]


def fit_temperature(logits: Floats, labels: NDArray[np.integer]) -> float:
    """Return the temperature at which ``labels`` (N,) are likeliest under ``logits`` (N, classes).

    The likelihood is concave in b = 1 / temperature, so the root of its slope, the mean over inputs of
    (logit of the label - logit expected under softmax(b * logits)), is found by bisection.
    """
    low, high = np.log(SHARPNESS_RANGE)
    own = logits[np.arange(len(labels)), labels].mean()
    for _ in range(60):
        middle = 0.5 * (low + high)
        expected = float((softmax(np.exp(middle) * logits) * logits).sum(axis=1).mean())
        low, high = (middle, high) if own > expected else (low, middle)
    return float(np.exp(-0.5 * (low + high)))


def calibration_error(logits: Floats, labels: NDArray[np.integer], bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over ``bins`` equal bins of confidence."""
    probabilities = softmax(logits)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(number, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, classes) of ``logits`` (N, classes), safe for large values."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
