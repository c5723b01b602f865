"""From what an exit gives to an answer; the same on the device and at the edge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import HastenError
from hasten.split.manifest import LOGITS, PackageManifest

Outputs = Mapping[str, NDArray[np.generic]]
"""What an exit gives for one sample: name -> array, without a batch axis."""


class NotFiniteError(HastenError):
    """There is no answer: the largest logit, or a number of another output, is not finite."""


class ExitAnswer(NamedTuple):
    """An answer: class and probability where the exit gives logits (else None), the outputs that are here, the exit."""

    class_index: int | None
    confidence: float | None
    outputs: Outputs
    exit: int


class OutputReader:
    """Makes answers of what the exits of one package give."""

    def __init__(self, manifest: PackageManifest) -> None:
        self.classes = manifest.classes
        self._specs = [manifest.outputs(number) for number in range(1, len(manifest.exits) + 1)]

    def read(self, exit_: int, outputs: Outputs) -> ExitAnswer:
        """The answer that ``exit_`` (from 1) gives.

        Raises:
            NotFiniteError: it gives none.
            HastenError: these are no outputs of this exit.
        """
        specs = self._specs[exit_ - 1]
        found = {name: (array.shape, array.dtype.name) for name, array in outputs.items()}
        expected = {spec.name: (spec.shape, spec.dtype) for spec in specs}
        if found != expected:
            raise HastenError(f"exit {exit_}: got outputs {_listed(found)}, expected {_listed(expected)}")
        if self.classes:
            return ExitAnswer(*top_class(outputs[LOGITS]), outputs, exit_)
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NotFiniteError(f"output {name}: got NaN or infinity, expected finite numbers")
        return ExitAnswer(None, None, outputs, exit_)


def sure_answer(reader: OutputReader, exit_: int, outputs: Outputs, threshold: float) -> ExitAnswer | None:
    """The answer of an exit that a task passes if its confidence reaches ``threshold``; None: the task goes on."""
    try:
        found = reader.read(exit_, outputs)
    except NotFiniteError:
        return None
    return found if found.confidence is not None and found.confidence >= threshold else None


def top_class(logits: NDArray[np.generic]) -> tuple[int, float]:
    """The most likely class and its softmax probability, from the logits (classes,).

    Raises:
        NotFiniteError: a logit is NaN or the largest is infinite.
    """
    best = int(logits.argmax())  # the first NaN, if there is one
    if not math.isfinite(logits[best]):
        raise NotFiniteError(f"output: got the logit {logits[best]} for class {best}, expected a finite number")
    confidence = 1.0 / float(np.exp(logits - logits[best]).sum())
    return best, confidence


def _listed(types: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (shape, dtype) in types.items())
