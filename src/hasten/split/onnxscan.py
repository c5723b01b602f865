"""A look into an ONNX file without the onnx package: what does it refer to outside itself?

ONNX allows a tensor to name a file to be read instead of carrying its data. In a package only the graph's own
initializers may do so, and only under names of weights that the package holds; everything else is refused before the
runtime ever sees the file. The walk follows the few paths on which tensors can occur, as numbered in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hasten.core.protobuf import BYTES, Malformed, bytes_field, fields, fixed_field, number_field

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
_MODEL_GRAPH, _GRAPH_INITIALIZER, _EXTERNAL = 7, 5, 1


def external_initializers(model: bytes | memoryview) -> list[str]:
    """Return the names of the graph's initializers whose data lie outside the file.

    Raises:
        Malformed: broken protobuf, or data outside the file anywhere else than in the graph's own initializers.
    """
    names: list[str] = []
    view = memoryview(model)
    stack: list[tuple[str, memoryview, tuple[str, ...]]] = [("model", view, ())]
    while stack:
        message, data, path = stack.pop()
        if len(path) > _MAX_DEPTH:
            raise Malformed("graphs nested too deeply")
        if message == "tensor":
            name = _external_name(data)
            if name is not None:
                if path != _OWN_INITIALIZER:
                    raise Malformed(f"tensor {name!r} outside the main graph refers to external data")
                names.append(name)
            continue
        inside = _PATHS[message]
        for number, kind, value in fields(data):
            if number in inside:
                if kind != BYTES or isinstance(value, int):
                    raise Malformed(f"field {number} of a {message} is not a message")
                stack.append((inside[number], value, (*path, inside[number])))
    return names


def _external_name(tensor: memoryview) -> str | None:
    """The tensor's name when its data are external, else None."""
    name, external = "", False
    for number, kind, value in fields(tensor):
        if number == _TENSOR_NAME and kind == BYTES and not isinstance(value, int):
            name = bytes(value).decode("utf-8", "replace")
        elif number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            external = True
    return name if external else None


def relocated(model: bytes, locations: Mapping[str, str]) -> bytes:
    """Return ``model`` with its external initializers' data in the files ``locations`` (by name), from their start."""

    def tensor(data: memoryview) -> bytes:
        name = _external_name(data)
        if name is None:
            return bytes(data)
        kept = _copied(data, without=(_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION))
        entry = bytes_field(1, "location") + bytes_field(2, locations[name])
        return kept + bytes_field(_TENSOR_EXTERNAL_DATA, entry) + number_field(_TENSOR_DATA_LOCATION, _EXTERNAL)

    def graph(data: memoryview) -> bytes:
        return _copied(data, change={_GRAPH_INITIALIZER: tensor})

    return _copied(memoryview(model), change={_MODEL_GRAPH: graph})


def _copied(
    message: memoryview,
    change: Mapping[int, Callable[[memoryview], bytes]] | None = None,
    without: Sequence[int] = (),
) -> bytes:
    """A message again, ``without`` some fields, and with the content of others ``change``d."""
    change = change or {}
    parts: list[bytes] = []
    for number, kind, value in fields(message):
        if number in without:
            continue
        if isinstance(value, int):
            parts.append(number_field(number, value))
        elif kind == BYTES:
            parts.append(bytes_field(number, change.get(number, bytes)(value)))
        else:
            parts.append(fixed_field(number, kind, value))
    return b"".join(parts)
