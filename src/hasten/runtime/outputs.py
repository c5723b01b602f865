"""From a network's output to an answer; the same on the device and at the edge."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError, InputError
from hasten.split.package import Package


class NotFiniteError(HastenError):
    """The network's output has no largest finite logit: there is no class to tell."""


def require_classifier(package: Package) -> int:
    """The number of classes of a package whose exits give logits: the runtime's answers are classes as yet.

    Raises:
        InputError: its exits give something else.
    """
    if not package.manifest.classes:
        names = ", ".join(spec.name for spec in package.manifest.outputs(1))
        expected = "logits: the runtime answers with classes only; Executor.outputs gives other outputs"
        raise InputError(package.path, "outputs", names, expected)
    return package.manifest.classes


def top_class(logits: NDArray[np.float32]) -> tuple[int, float]:
    """The most likely class and its softmax probability, from the logits (classes,).

    Raises:
        NotFiniteError: a logit is NaN or the largest is infinite.
    """
    best = int(logits.argmax())  # the first NaN, if there is one
    if not math.isfinite(logits[best]):
        raise NotFiniteError(f"output: got the logit {logits[best]} for class {best}, expected a finite number")
    confidence = 1.0 / float(np.exp(logits - logits[best]).sum())
    return best, confidence
