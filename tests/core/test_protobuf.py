"""Fields that are written are read again, by ONNX's own protobuf too, and damaged messages are refused."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.core.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Malformed,
    bytes_field,
    fields,
    fixed_field,
    number_field,
    varint,
)

NUMBERS = st.integers(1, 2**29 - 1)


@given(st.lists(st.one_of(st.tuples(NUMBERS, st.integers(0, 2**64 - 1)), st.tuples(NUMBERS, st.binary(max_size=300)))))
def test_what_is_written_is_read(given_fields):
    message = b"".join((number_field if isinstance(v, int) else bytes_field)(number, v) for number, v in given_fields)
    found = [(number, value if kind == VARINT else bytes(value)) for number, kind, value in fields(memoryview(message))]
    assert found == given_fields


def test_fields_are_those_of_protobuf():
    message = onnx.TensorProto(name="weights", data_type=1, raw_data=b"\x00\x00\x80\x3f")
    found = {number: value for number, _, value in fields(memoryview(message.SerializeToString()))}
    assert (found[2], bytes(found[8]), bytes(found[9])) == (1, b"weights", b"\x00\x00\x80\x3f")
    read = onnx.TensorProto.FromString(number_field(2, 1) + bytes_field(8, "weights") + bytes_field(9, b"\x01"))
    assert (read.data_type, read.name, read.raw_data) == (1, "weights", b"\x01")


@pytest.mark.parametrize(("kind", "value"), [(FIXED32, b"abcd"), (FIXED64, b"abcdefgh")])
def test_fixed_fields_have_their_length(kind, value):
    assert list(fields(memoryview(fixed_field(3, kind, value)))) == [(3, kind, value)]
    with pytest.raises(Malformed, match="beyond its message"):
        list(fields(memoryview(fixed_field(3, kind, value[:-1]))))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (bytes([3 << 3 | BYTES, 5]) + b"four", "beyond its message"),
        (bytes([3 << 3 | BYTES]) + b"\xff" * 9 + b"\x01", "beyond its message"),
        (bytes([0 << 3 | BYTES, 0]), "beyond its message"),
        (bytes([3 << 3 | VARINT, 0x80]), "within a number"),
        (bytes([3 << 3 | VARINT]) + b"\x80" * 10, "more than ten bytes"),
        (bytes([3 << 3 | 3]), "unknown wire type 3"),
    ],
)
def test_damaged_messages_are_refused(message, said):
    with pytest.raises(Malformed, match=said):
        list(fields(memoryview(message)))


def test_a_number_ends_where_its_last_byte_is():
    assert varint(memoryview(b"\xac\x02\x07"), 0) == (300, 2)
    assert varint(memoryview(b"\xac\x02\x07"), 2) == (7, 3)
