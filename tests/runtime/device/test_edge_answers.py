"""Which answers of an edge are believed, with outputs and without."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hasten.core.errors import HastenError
from hasten.runtime.device.edge_answers import EdgeAnswers
from hasten.runtime.outputs import ExitAnswer, NotFiniteError, OutputReader
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.outputs import OutputPayloads
from hasten.runtime.wire.tasks import DEVICE_LIMITS, EdgeAnswer, Status
from hasten.split.executor import Executor

LOGITS = np.array([0.0, 0.5, 3.0, -np.inf, 1.0], np.float32)


def answer(status=Status.DONE, exit_=2, class_index=2, confidence=0.5, outputs=b""):
    return EdgeAnswer(status, exit_, class_index, confidence, 0, 0, 0, LoadReport(1, 0, (0.0,)), outputs=outputs)


def test_a_class_alone_is_an_answer(package):
    answers = EdgeAnswers(package.manifest)
    assert not answers.wants_outputs and answers.limits == DEVICE_LIMITS
    assert answers.read(2, answer(confidence=1.00005)) == ExitAnswer(2, 1.0, {}, 2)


WRONG = {
    "another exit": (answer(exit_=1), "of exit 1, expected DONE of exit 2"),
    "not done": (answer(Status.LATE), "status LATE"),
    "no class": (answer(class_index=5), "got class 5, expected one of 5"),
    "no probability": (answer(confidence=1.1), "confidence 1.1"),
    "not a number": (answer(confidence=math.nan), "confidence nan"),
    "outputs unasked": (answer(outputs=b"abc"), "got 3 bytes of outputs, expected none"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_true_is_named(package, what):
    wrong, message = WRONG[what]
    with pytest.raises(HastenError, match=message):
        EdgeAnswers(package.manifest).read(2, wrong)


def test_logits_that_were_asked_for_must_agree_with_the_class(package):
    answers, payloads = EdgeAnswers(package.manifest, wants_outputs=True), OutputPayloads(package.manifest)
    packed = payloads.encode(2, {"logits": LOGITS})
    found = answers.read(2, answer(outputs=packed))
    assert found[:2] == (2, 0.5) and found.outputs["logits"].tobytes() == LOGITS.tobytes()
    with pytest.raises(HastenError, match="got class 1, expected 2, as the logits say"):
        answers.read(2, answer(class_index=1, outputs=packed))
    with pytest.raises(HastenError, match="got other tensors"):
        answers.read(2, answer())
    with pytest.raises(NotFiniteError):
        answers.read(2, answer(outputs=payloads.encode(2, {"logits": np.full(5, np.nan, np.float32)})))


def test_other_outputs_are_always_asked_for(detector):
    answers, payloads = EdgeAnswers(detector.manifest), OutputPayloads(detector.manifest)
    given = Executor(detector).outputs(0, 1, [detector.samples()[0][:1]])
    assert answers.wants_outputs
    found = answers.read(1, answer(exit_=1, class_index=0, confidence=0.0, outputs=payloads.encode(1, given)))
    assert found.class_index is None and found.confidence is None
    np.testing.assert_array_equal(found.outputs["kind"], given["kind"])
    with pytest.raises(NotFiniteError, match="output scores"):
        answers.read(1, answer(exit_=1, outputs=payloads.encode(1, given | {"scores": given["scores"] * np.nan})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((64, 3), np.float32)}, r"boxes float32\[64, 3\].*expected boxes float32\[64, 4\]"),
        ({"kind": np.zeros(64, np.int32)}, r"kind int32\[64\]"),
        ({"more": np.zeros(1, np.float32)}, r"more float32\[1\], expected"),
    ],
)
def test_outputs_of_another_kind_are_named(detector, change, message):
    given = Executor(detector).outputs(0, 1, [detector.samples()[0][:1]])
    with pytest.raises(HastenError, match=message):
        OutputReader(detector.manifest).read(1, given | change)
