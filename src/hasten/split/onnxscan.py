"""A look into an ONNX file without the onnx package: does it refer to anything outside itself?

ONNX allows a tensor to name a file to be read instead of carrying its data. In a package only the graph's own
initializers may do so, and only under names of weights that the package holds; everything else is refused before the
runtime ever sees the file. The walk reads the protobuf wire format (varint tags, length-delimited fields) along the
few paths on which tensors can occur, as numbered in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from hasten.core.errors import HastenError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 24

# message -> field number -> message held in that field
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_NAME, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 8, 13, 14
_OWN_INITIALIZER = ("graph", "tensor")


class MalformedGraph(HastenError):  # noqa: N818 - a finding, which the package reader turns into an InputError
    """Not an ONNX model that a package may hold."""


def external_initializers(model: bytes) -> list[str]:
    """Return the names of the graph's initializers whose data lie outside the file.

    Raises:
        MalformedGraph: broken protobuf, or data outside the file anywhere else than in the graph's own initializers.
    """
    names: list[str] = []
    view = memoryview(model)
    stack: list[tuple[str, memoryview, tuple[str, ...]]] = [("model", view, ())]
    while stack:
        message, data, path = stack.pop()
        if len(path) > _MAX_DEPTH:
            raise MalformedGraph("graphs nested too deeply")
        if message == "tensor":
            name = _external_name(data)
            if name is not None:
                if path != _OWN_INITIALIZER:
                    raise MalformedGraph(f"tensor {name!r} outside the main graph refers to external data")
                names.append(name)
            continue
        inside = _PATHS[message]
        for number, kind, value in _fields(data):
            if number in inside:
                if kind != _BYTES or isinstance(value, int):
                    raise MalformedGraph(f"field {number} of a {message} is not a message")
                stack.append((inside[number], value, (*path, inside[number])))
    return names


def _external_name(tensor: memoryview) -> str | None:
    """The tensor's name when its data are external, else None."""
    name, external = "", False
    for number, kind, value in _fields(tensor):
        if number == _TENSOR_NAME and kind == _BYTES and not isinstance(value, int):
            name = bytes(value).decode("utf-8", "replace")
        elif number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            external = True
    return name if external else None


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (field number, wire type, value) of one message; length-delimited values are views, never copies."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind == _FIXED64:
            length = 8
        elif kind == _FIXED32:
            length = 4
        else:
            raise MalformedGraph(f"unknown wire type {kind}")
        if number == 0 or length > end - position:
            raise MalformedGraph("a field reaches beyond its message")
        yield number, kind, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise MalformedGraph("ends within a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise MalformedGraph("a number of more than ten bytes")
