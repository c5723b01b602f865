"""Frames: what goes in comes out, however it is cut up; whatever else comes in is a WireError and nothing else."""

from __future__ import annotations

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.runtime.wire.frames import (
    HEADER,
    MAGIC,
    MOST_RETRY_MS,
    MOST_TASK,
    VERSION,
    Code,
    FrameParser,
    Kind,
    WireError,
    frame_bytes,
    sealed,
)
from hasten.runtime.wire.handshake import EDGE_BEFORE_HELLO
from hasten.runtime.wire.load import MAX_PROBE_BYTES, ping_frame
from hasten.runtime.wire.tasks import DEVICE_LIMITS

LIMITS = {Kind.SUBMIT: 200_000, Kind.PING: MAX_PROBE_BYTES}


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
        st.integers(0, MOST_TASK),
        st.one_of(st.binary(max_size=60), st.sampled_from([40_000, 65_516, 65_517, 65_536]).map(bytes)),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(frames, st.lists(st.integers(1, 3000), max_size=20))
def test_frames_survive_any_segmentation(sent, sizes):
    data = b"".join(sealed(frame_bytes(*frame)) if sum(frame[2][:1]) % 2 else frame_bytes(*frame) for frame in sent)
    assert feed(FrameParser(LIMITS), data, [*sizes, 50_000]) == sent


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, MOST_TASK),
    st.one_of(st.binary(max_size=40), st.just(bytes(range(256)) * 300)),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
)
def test_a_sealed_frame_that_is_damaged_is_not_believed(task, body, bits):
    sent = sealed(frame_bytes(Kind.SUBMIT, task, body))
    assert feed(FrameParser(LIMITS), sent, [50_000]) == [(Kind.SUBMIT, task, body)]
    damaged = bytearray(sent)
    for bit in {bit % (8 * len(sent)) for bit in bits}:
        damaged[bit // 8] ^= 1 << bit % 8
    try:
        found = feed(FrameParser(LIMITS), bytes(damaged), [50_000])
    except WireError:
        return
    assert found == []  # it still waits for the rest of a frame that seems to be larger


@pytest.mark.parametrize(("retry_ms", "told"), [(0.0, 0), (0.2, 1), (12.0, 12), (1e9, MOST_RETRY_MS)])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_frame_says_when_to_try_again(retry_ms, told, size):
    parser = FrameParser(LIMITS)
    data, found = sealed(frame_bytes(Kind.SUBMIT, 7, bytes(size), retry_ms)), []
    while data:
        buffer = parser.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        found += parser.received(count)
    assert [(frame.task, frame.retry_ms, len(frame.body)) for frame in found] == [(7, told, size)]


def test_the_checksum_is_of_the_whole_frame_without_one():
    whole = frame_bytes(Kind.SUBMIT, 7, b"body")
    assert HEADER.unpack_from(sealed(whole))[-1] == xxhash.xxh3_64(whole).intdigest() % 2**32
    assert sealed(whole)[:16] + bytes(4) + sealed(whole)[20:] == whole


def test_head_and_payload_are_sealed_together():
    whole = frame_bytes(Kind.SUBMIT, 7, b"head" + bytes(500))
    assert sealed(whole) == sealed(whole[:24], whole[24:]) + whole[24:]
    assert sealed(whole[:24], b"other") != sealed(whole[:24], whole[24:])


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=5), st.sampled_from([0, 1, 2]))
def test_arbitrary_bytes_end_in_frames_or_a_wire_error(data, sizes, which):
    limits = (LIMITS, DEVICE_LIMITS, EDGE_BEFORE_HELLO)[which]
    try:
        found = feed(FrameParser(limits), data, sizes)
    except WireError:
        return
    assert sum(HEADER.size + len(body) for _, _, body in found) <= len(data)


def test_frames_before_the_damage_are_delivered():
    parser = FrameParser(LIMITS)
    data = ping_frame(5, 3) + b"garbage that is long enough"
    buffer = parser.buffer()
    buffer[: len(data)] = data
    frames = parser.received(len(data))
    assert next(frames).task == 5
    with pytest.raises(WireError, match="magic"):
        next(frames)


@pytest.mark.parametrize(
    ("header", "code", "says"),
    [
        ((b"HTTP", VERSION, Kind.PING, 0, 1, 0, 0), Code.MALFORMED, "magic"),
        ((MAGIC, 9, Kind.PING, 0, 1, 0, 0), Code.VERSION, "version 9"),
        ((MAGIC, VERSION, 77, 0, 1, 0, 0), Code.MALFORMED, "kind 77"),
        ((MAGIC, VERSION, Kind.WELCOME, 0, 1, 0, 0), Code.MALFORMED, "SUBMIT"),
        ((MAGIC, VERSION, Kind.SUBMIT, 0, 1, 2**32 - 1, 0), Code.TOO_LARGE, "at most 200000"),
    ],
)
def test_bad_headers_say_what_was_expected(header, code, says):
    with pytest.raises(WireError, match=says) as caught:
        feed(FrameParser(LIMITS), HEADER.pack(*header), [100])
    assert caught.value.code == code


def test_a_stranger_can_only_say_hello():
    with pytest.raises(WireError, match="expected one of HELLO"):
        feed(FrameParser(EDGE_BEFORE_HELLO), ping_frame(1, 0), [100])
