"""Frames: what goes in comes out, however it is cut up; whatever else comes in is a WireError and nothing else."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.runtime.wire import frames as wire
from hasten.runtime.wire.frames import (
    DEVICE_LIMITS,
    EDGE_BEFORE_HELLO,
    HEADER,
    MAGIC,
    VERSION,
    Answer,
    Code,
    FrameParser,
    Hello,
    Kind,
    LoadReport,
    Status,
    Welcome,
    WireError,
)
from hasten.split.manifest import TensorSpec

LIMITS = {Kind.SUBMIT: 200_000, Kind.PING: wire.MAX_PROBE_BYTES}
REPORT = LoadReport(7, 3, (0.5, 12.25))


def feed(parser: FrameParser, data: bytes, sizes: list[int]) -> list[tuple[int, int, bytes]]:
    """Push ``data`` through in pieces of the given sizes (the last one repeats), as a socket would."""
    frames, turn = [], 0
    while data:
        buffer = parser.buffer()
        count = min(len(buffer), len(data), sizes[min(turn, len(sizes) - 1)])
        buffer[:count] = data[:count]
        data = data[count:]
        turn += 1
        frames += [(frame.kind, frame.task, bytes(frame.body)) for frame in parser.received(count)]
    return frames


frames = st.lists(
    st.tuples(
        st.sampled_from([Kind.SUBMIT, Kind.PING]),
        st.integers(0, 2**64 - 1),
        st.one_of(st.binary(max_size=60), st.sampled_from([40_000, 65_516, 65_517, 65_536]).map(bytes)),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(frames, st.lists(st.integers(1, 3000), max_size=20))
def test_frames_survive_any_segmentation(sent, sizes):
    data = b"".join(wire.frame_bytes(kind, task, body) for kind, task, body in sent)
    assert feed(FrameParser(LIMITS), data, [*sizes, 50_000]) == sent


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=5), st.sampled_from([0, 1, 2]))
def test_arbitrary_bytes_end_in_frames_or_a_wire_error(data, sizes, which):
    limits = (LIMITS, DEVICE_LIMITS, EDGE_BEFORE_HELLO)[which]
    try:
        found = feed(FrameParser(limits), data, sizes)
    except WireError:
        return
    assert sum(HEADER.size + len(body) for _, _, body in found) <= len(data)


@given(st.binary(max_size=400))
def test_arbitrary_bodies_are_parsed_or_refused(body):
    view = memoryview(body)
    for parse in (
        wire.parse_answer,
        wire.parse_hello,
        wire.parse_pong,
        wire.parse_refuse,
        wire.parse_submit,
        wire.parse_welcome,
    ):
        try:
            parse(view)
        except WireError as error:
            assert str(error)


@given(st.data())
def test_truncated_bodies_are_refused(data):
    answer = Answer(Status.DONE, 2, 4, 0.5, 1, 2, 3, REPORT)
    whole = wire.answer_frame(1, answer)[HEADER.size :]
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WireError):
        wire.parse_answer(memoryview(whole[:cut]))


def test_frames_before_the_damage_are_delivered():
    parser = FrameParser(LIMITS)
    data = wire.ping_frame(5, 3) + b"garbage that is long enough"
    buffer = parser.buffer()
    buffer[: len(data)] = data
    frames = parser.received(len(data))
    assert next(frames).task == 5
    with pytest.raises(WireError, match="magic"):
        next(frames)


@pytest.mark.parametrize(
    ("header", "code", "says"),
    [
        ((b"HTTP", VERSION, Kind.PING, 0, 1, 0), Code.MALFORMED, "magic"),
        ((MAGIC, 9, Kind.PING, 0, 1, 0), Code.VERSION, "version 9"),
        ((MAGIC, VERSION, 77, 0, 1, 0), Code.MALFORMED, "kind 77"),
        ((MAGIC, VERSION, Kind.WELCOME, 0, 1, 0), Code.MALFORMED, "SUBMIT"),
        ((MAGIC, VERSION, Kind.SUBMIT, 0, 1, 2**32 - 1), Code.TOO_LARGE, "at most 200000"),
    ],
)
def test_bad_headers_say_what_was_expected(header, code, says):
    with pytest.raises(WireError, match=says) as caught:
        feed(FrameParser(LIMITS), HEADER.pack(*header), [100])
    assert caught.value.code == code


def test_a_stranger_can_only_say_hello():
    with pytest.raises(WireError, match="expected one of HELLO"):
        feed(FrameParser(EDGE_BEFORE_HELLO), wire.ping_frame(1, 0), [100])


def test_round_trips():
    def body(frame: bytes) -> memoryview:
        return memoryview(frame)[HEADER.size :]

    hello = Hello(bytes(range(32)), b"token", "camera")
    assert wire.parse_hello(body(wire.hello_frame(hello))) == hello
    welcome = Welcome(123.5, 4.0, 2)
    assert wire.parse_welcome(body(wire.welcome_frame(welcome))) == welcome
    answer = Answer(Status.LATE, 3, 9, 0.5, 10, 20, 30, REPORT, 77.25)
    assert wire.parse_answer(body(wire.answer_frame(1, answer))) == answer
    assert wire.parse_pong(body(wire.pong_frame(1, 55.5, REPORT))) == (55.5, REPORT)
    refuse = wire.parse_refuse(body(wire.refuse_frame(1, Code.CUT, "no such cut")))
    assert (refuse.code, refuse.text) == (Code.CUT, "no such cut")
    types = wire.types_bytes([TensorSpec(name="a", shape=(3, 4), dtype="uint8")])
    submit = wire.parse_submit(body(wire.submit_head(1, 2, 3, math.inf, types, 5) + b"12345"))
    assert (submit.cut, submit.exit, submit.latest_ms) == (2, 3, math.inf)
    assert bytes(submit.rest) == types + b"12345"


def test_text_from_the_wire_is_printable():
    assert wire.parse_refuse(memoryview(b"\x01\x1b[31mred\n")).text == "?[31mred?"


def test_not_a_number_is_refused():
    with pytest.raises(WireError, match="NaN"):
        wire.parse_submit(memoryview(struct.pack("<HHd", 1, 1, math.nan)))
    with pytest.raises(WireError, match="ANSWER: got clock nan"):
        wire.parse_answer(memoryview(struct.pack("<BHIfIIIdIIHf", 0, 1, 1, 0.5, 0, 0, 0, math.nan, 1, 0, 1, 0.0)))
    with pytest.raises(WireError, match="milliseconds"):
        wire.parse_pong(memoryview(struct.pack("<dIIHf", 0.0, 1, 0, 1, math.nan)))


def test_what_cannot_be_true_of_an_answer_does_not_end_the_connection():
    body = struct.pack("<BHIfIIIdIIHf", 77, 9999, 4_000_000_000, math.nan, 0, 0, 0, 1.0, 1, 0, 1, 0.0)
    answer = wire.parse_answer(memoryview(body))
    assert answer.status is Status.UNKNOWN and answer.exit == 9999 and math.isnan(answer.confidence)
