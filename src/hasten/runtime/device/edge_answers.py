"""Which answers of an edge can be true, and what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hasten.core.errors import HastenError
from hasten.runtime.outputs import ExitAnswer, OutputReader
from hasten.runtime.wire.outputs import OutputPayloads
from hasten.runtime.wire.tasks import DEVICE_LIMITS, EdgeAnswer, Status, device_limits
from hasten.split.manifest import PackageManifest

CONFIDENCE_SLACK = 1e-4
"""A probability may be so much above 1: it was rounded."""


class EdgeAnswers:
    """Reads an edge's answers to tasks of one package.

    Attributes:
        reader: makes answers of outputs.
        wants_outputs: whether the edge is asked for them: always where they are no logits.
        limits: kinds of frames that the edge may send, and the largest body of each.
    """

    def __init__(self, manifest: PackageManifest, wants_outputs: bool = False) -> None:
        self.reader = OutputReader(manifest)
        self.wants_outputs = wants_outputs or not manifest.classes
        self._payloads = OutputPayloads(manifest)
        self.limits = device_limits(self._payloads.max_bytes) if self.wants_outputs else DEVICE_LIMITS

    def read(self, exit_: int, answer: EdgeAnswer, stops: Sequence[int] = ()) -> ExitAnswer:
        """What an answer to a task for ``exit_`` says; it may come of one of the earlier exits ``stops``.

        Raises:
            HastenError: it cannot be true.
        """
        if answer.status is not Status.DONE or answer.exit not in (exit_, *stops):
            raise HastenError(f"got status {answer.status.name} of exit {answer.exit}, expected DONE of exit {exit_}")
        exit_ = answer.exit
        if not self.wants_outputs:
            if answer.outputs:
                raise HastenError(f"got {len(answer.outputs)} bytes of outputs, expected none")
            return ExitAnswer(*self._label(answer), {}, exit_)
        found = self.reader.read(exit_, self._payloads.decode(exit_, answer.outputs))
        if not self.reader.classes:
            return found
        index, confidence = self._label(answer)
        if index != found.class_index:
            raise HastenError(f"got class {index}, expected {found.class_index}, as the logits say")
        return ExitAnswer(index, confidence, found.outputs, exit_)

    def _label(self, answer: EdgeAnswer) -> tuple[int, float]:
        """Class and confidence."""
        index, confidence = answer.class_index, answer.confidence
        if index >= self.reader.classes:
            raise HastenError(f"got class {index}, expected one of {self.reader.classes}")
        if not (math.isfinite(confidence) and 0.0 <= confidence <= 1.0 + CONFIDENCE_SLACK):
            raise HastenError(f"got confidence {confidence}, expected a probability")
        return index, min(confidence, 1.0)
