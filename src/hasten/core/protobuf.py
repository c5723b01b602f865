"""The protobuf wire format, as far as reading and writing small ONNX files needs it: no schema, no objects.

A message is a sequence of fields, each a tag (field number and wire type) and a value. Fields are numbered as in
onnx.proto. Nothing is copied while reading, and no length found in a file is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

from hasten.core.errors import HastenError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


class Malformed(HastenError):  # noqa: N818 - a finding, which readers turn into an InputError with the file's name
    """Not a message, or not one that is allowed here."""


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (field number, wire type, value) of one message; length-delimited values are views, never copies."""
    position, end = 0, len(data)
    while position < end:
        tag, position = varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = varint(data, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, position = varint(data, position)
        elif kind == FIXED64:
            length = 8
        elif kind == FIXED32:
            length = 4
        else:
            raise Malformed(f"unknown wire type {kind}")
        if number == 0 or length > end - position:
            raise Malformed("a field reaches beyond its message")
        yield number, kind, data[position : position + length]
        position += length


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position`` and where it ends."""
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise Malformed("ends within a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise Malformed("a number of more than ten bytes")


def number_field(number: int, value: int) -> bytes:
    """A field that holds a number >= 0."""
    return _varint_bytes(number << 3 | VARINT) + _varint_bytes(value)


def bytes_field(number: int, value: bytes | str) -> bytes:
    """A field that holds bytes, text or another message."""
    content = value.encode() if isinstance(value, str) else value
    return _varint_bytes(number << 3 | BYTES) + _varint_bytes(len(content)) + content


def fixed_field(number: int, kind: int, value: bytes | memoryview) -> bytes:
    """A field of wire type FIXED32 or FIXED64."""
    return _varint_bytes(number << 3 | kind) + bytes(value)


def _varint_bytes(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
