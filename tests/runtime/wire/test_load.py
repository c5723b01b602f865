"""Pings and load reports."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.runtime.wire.frames import HEADER, WireError
from hasten.runtime.wire.load import LoadReport, parse_pong, pong_bytes, pong_frame

REPORT = LoadReport(7, 3, (0.5, 12.25), 0.75, 6.5)


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
        parse_pong(memoryview(struct.pack("<dIIHfff", 0.0, 1, 0, 1, 0.0, 0.0, math.nan)))


@pytest.mark.parametrize("forecast", [(math.nan, 0.0), (-0.1, 0.0), (0.0, math.inf), (0.0, -1.0), (1e4, 0.0)])
def test_a_forecast_that_cannot_be_is_refused(forecast):
    with pytest.raises(WireError, match="forecast"):
        parse_pong(memoryview(struct.pack("<dIIHfff", 0.0, 1, 0, 1, *forecast, 0.0)))


def test_a_report_of_another_size_is_refused():
    """Also one of before there was a forecast, which is eight bytes shorter."""
    body = pong_frame(1, 55.5, REPORT)[HEADER.size :]
    for size in (len(body) - 8, len(body) - 1, len(body) + 1):
        with pytest.raises(WireError, match="load report"):
            parse_pong(memoryview((body + b"\0")[:size]))
