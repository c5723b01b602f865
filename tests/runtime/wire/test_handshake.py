"""How connections begin and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hasten.runtime.wire.frames import HEADER, Code, WireError
from hasten.runtime.wire.handshake import (
    Hello,
    Welcome,
    hello_frame,
    parse_hello,
    parse_refuse,
    parse_welcome,
    refuse_frame,
    welcome_frame,
)


def body(frame: bytes) -> memoryview:
    return memoryview(frame)[HEADER.size :]


def test_round_trips():
    hello = Hello(bytes(range(32)), b"token", "camera")
    assert parse_hello(body(hello_frame(hello))) == hello
    welcome = Welcome(123.5, 4.0, 2)
    assert parse_welcome(body(welcome_frame(welcome))) == welcome
    refuse = parse_refuse(body(refuse_frame(1, Code.CUT, "no such cut", 3.0)), 3)
    assert (refuse.code, refuse.text, refuse.retry_ms) == (Code.CUT, "no such cut", 3)


@given(st.binary(max_size=400))
def test_arbitrary_bodies_are_parsed_or_refused(data):
    for parse in (parse_hello, parse_refuse, parse_welcome):
        try:
            parse(memoryview(data))
        except WireError as error:
            assert str(error)


def test_text_from_the_wire_is_printable():
    assert parse_refuse(memoryview(b"\x01\x1b[31mred\n")).text == "?[31mred?"
