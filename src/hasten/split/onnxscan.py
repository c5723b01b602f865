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


_GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 11, 12, 13
_NODE_INPUT, _NODE_OP_TYPE = 1, 4
_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_PARAM = 2, 1, 2, 1, 2
_TENSOR_RAW = 9
_ANY = (-1).to_bytes(8, "little", signed=True)
_ONE = (1).to_bytes(8, "little")


def free_batch(model: bytes, axis: str) -> bytes:
    """Return ``model`` for any batch: the first axis of its inputs and outputs is called ``axis`` instead of being 1.

    A constant shape that something is brought into, with 1 in front, takes any number there. That does not make every
    network one for batches (an operation may mix or count samples): whoever runs it has to compare.
    """

    def shape(data: memoryview) -> bytes:
        dims = [
            bytes(value) for number, _, value in fields(data) if number == _SHAPE_DIM and not isinstance(value, int)
        ]
        free = [bytes_field(_DIM_PARAM, axis), *dims[1:]]
        return b"".join(bytes_field(_SHAPE_DIM, dim) for dim in free)

    def tensor_type(data: memoryview) -> bytes:
        return _copied(data, change={_TENSOR_SHAPE: shape})

    def value(data: memoryview) -> bytes:
        return _copied(data, change={_VALUE_TYPE: lambda kind: _copied(kind, change={_TYPE_TENSOR: tensor_type})})

    def graph(data: memoryview) -> bytes:
        shapes = _target_shapes(data)

        def tensor(initializer: memoryview) -> bytes:
            return (
                _free_first(initializer)
                if shapes.intersection(_texts(initializer, _TENSOR_NAME))
                else bytes(initializer)
            )

        change = {_GRAPH_INPUT: value, _GRAPH_OUTPUT: value, _GRAPH_INITIALIZER: tensor}
        return _copied(data, change=change, without=(_GRAPH_VALUE_INFO,))

    return _copied(memoryview(model), change={_MODEL_GRAPH: graph})


def _target_shapes(graph: memoryview) -> set[bytes]:
    """Names of what Reshape nodes take for the shape."""
    found = set()
    for number, _, node in fields(graph):
        if number != _GRAPH_NODE or isinstance(node, int):
            continue
        inputs = _texts(node, _NODE_INPUT)
        if _texts(node, _NODE_OP_TYPE) == [b"Reshape"] and len(inputs) == 2:
            found.add(inputs[1])
    return found


def _texts(message: memoryview, wanted: int) -> list[bytes]:
    """The content of every field of this number."""
    return [bytes(value) for number, _, value in fields(message) if number == wanted and not isinstance(value, int)]


def _free_first(shape: memoryview) -> bytes:
    """A shape with 1 in front, and no other axis that is left open, with that one open."""

    def opened(raw: memoryview) -> bytes:
        axes = [bytes(raw[i : i + 8]) for i in range(0, len(raw), 8)]
        return b"".join([_ANY, *axes[1:]]) if axes[:1] == [_ONE] and _ANY not in axes else bytes(raw)

    return _copied(shape, change={_TENSOR_RAW: opened})
