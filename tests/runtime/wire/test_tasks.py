"""Tasks and answers on the wire."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.runtime.wire.frames import HEADER, Code, WireError
from hasten.runtime.wire.load import LoadReport
from hasten.runtime.wire.tasks import (
    EdgeAnswer,
    Status,
    answer_frame,
    parse_answer,
    parse_submit,
    payload_head,
    submit_head,
    submit_overhead_bytes,
    types_bytes,
)
from hasten.split.manifest import Cut, TensorSpec

REPORT = LoadReport(7, 3, (0.5, 12.25))
CUT = Cut(name="c", tensors=(TensorSpec(name="a", shape=(3, 4), dtype="uint8"),), payload_bytes=5, codec="some-codec")


def body(frame: bytes) -> memoryview:
    return memoryview(frame)[HEADER.size :]


def test_an_answer_comes_out_as_it_went_in():
    answer = EdgeAnswer(Status.LATE, 3, 9, 0.5, 10, 20, 30, REPORT, 77.25, retry_ms=12)
    assert parse_answer(body(answer_frame(1, answer)), 12) == answer
    answer.outputs = b"of the exit"
    assert parse_answer(body(answer_frame(1, answer))).outputs == b"of the exit"


def test_a_task_says_whether_it_wants_outputs():
    for wanted in (False, True):
        assert parse_submit(body(submit_head(1, 2, 3, 0.0, payload_head(CUT), 0, wanted))).wants_outputs is wanted
    for may_stop in (False, True):
        read = parse_submit(body(submit_head(1, 2, 3, 0.0, payload_head(CUT), 0, True, may_stop)))
        assert (read.wants_outputs, read.may_stop) == (True, may_stop)
    with pytest.raises(WireError, match="got flags 4, expected 0 to 3"):
        parse_submit(memoryview(struct.pack("<HHBdB", 1, 1, 4, 0.0, 0)))


def test_a_task_names_its_codec_and_the_types_of_its_tensors():
    head = submit_head(1, 2, 3, math.inf, payload_head(CUT), 5)
    assert len(head) == submit_overhead_bytes(CUT)
    submit = parse_submit(body(head + b"12345"))
    assert (submit.cut, submit.exit, submit.latest_ms, submit.codec) == (2, 3, math.inf, "some-codec")
    assert bytes(submit.rest) == types_bytes(CUT.tensors) + b"12345"


@given(st.binary(max_size=400))
def test_arbitrary_bodies_are_parsed_or_refused(data):
    for parse in (parse_answer, parse_submit):
        try:
            parse(memoryview(data))
        except WireError as error:
            assert str(error)


@given(st.data())
def test_truncated_answers_are_refused(data):
    whole = body(answer_frame(1, EdgeAnswer(Status.DONE, 2, 4, 0.5, 1, 2, 3, REPORT)))
    with pytest.raises(WireError):
        parse_answer(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.integers(0, 22))
def test_a_task_that_ends_before_its_codecs_name_does_is_refused(size):
    whole = body(submit_head(1, 2, 3, math.inf, payload_head(CUT), 0))
    with pytest.raises(WireError, match="SUBMIT: got") as caught:
        parse_submit(whole[:size])
    assert caught.value.code is Code.MALFORMED


def test_not_a_number_is_refused():
    with pytest.raises(WireError, match="NaN"):
        parse_submit(memoryview(struct.pack("<HHBdB", 1, 1, 0, math.nan, 0)))
    with pytest.raises(WireError, match="ANSWER: got clock nan"):
        parse_answer(memoryview(struct.pack("<BHIfIIIdIIHf", 0, 1, 1, 0.5, 0, 0, 0, math.nan, 1, 0, 1, 0.0)))


def test_what_cannot_be_true_of_an_answer_does_not_end_the_connection():
    data = struct.pack("<BHIfIIIdIIHfff", 77, 9999, 4_000_000_000, math.nan, 0, 0, 0, 1.0, 1, 0, 1, 0.0, 0.0, 0.0)
    answer = parse_answer(memoryview(data))
    assert answer.status is Status.UNKNOWN and answer.exit == 9999 and math.isnan(answer.confidence)
