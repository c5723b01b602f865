"""Pings and load reports."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.runtime.wire.frames import HEADER, WireError
from hasten.runtime.wire.load import LoadReport, parse_pong, pong_bytes, pong_frame

REPORT = LoadReport(7, 3, (0.5, 12.25))


def test_a_pong_comes_out_as_it_went_in():
    frame = pong_frame(1, 55.5, REPORT)
    assert parse_pong(memoryview(frame)[HEADER.size :]) == (55.5, REPORT)
    assert len(frame) == pong_bytes(2)


@given(st.binary(max_size=400))
def test_arbitrary_bodies_are_parsed_or_refused(body):
    try:
        parse_pong(memoryview(body))
    except WireError as error:
        assert str(error)


def test_not_a_number_is_refused():
    with pytest.raises(WireError, match="milliseconds"):
        parse_pong(memoryview(struct.pack("<dIIHf", 0.0, 1, 0, 1, math.nan)))
