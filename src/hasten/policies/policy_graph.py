"""The ONNX graph of a policy, written and read field by field (numbers as in onnx.proto, IR version 8, opset 17).

Inputs ``observation`` (B, F), output ``q`` (B, J+1), float32. Weights are initializers: ``trunk.0.weight`` (in, out),
``trunk.0.bias`` and so on, ``value.*`` and ``advantage.*``, or those of :mod:`hasten.policies.afterstate_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.protobuf import BYTES, VARINT, Malformed, bytes_field, fields, number_field, varint
from hasten.features.layout import AfterstateLayout, OptionFeature

Tensors = dict[str, NDArray[np.float32]]
MANIFEST_KEY = "hasten.policy"

_IR_VERSION, _OPSET, _FLOAT = 8, 17, 1
_TENSOR, _INTS = 4, 7
"""Types of attributes."""
_MAX_TENSORS, _MAX_METADATA = 200, 16
_MODEL_GRAPH, _MODEL_METADATA, _GRAPH_INITIALIZER = 7, 14, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9


def action_graph(trunk_layers: int) -> list[bytes]:
    """The nodes of a network that values actions."""
    nodes, hidden = [], "observation"
    for i in range(trunk_layers):
        nodes.append(_gemm(hidden, f"trunk.{i}", f"linear.{i}"))
        nodes.append(_node("Relu", [f"linear.{i}"], f"hidden.{i}"))
        hidden = f"hidden.{i}"
    return [
        *nodes,
        _gemm(hidden, "value", "v"),
        _gemm(hidden, "advantage", "a"),
        _node("ReduceMean", ["a"], "mean", _ints("axes", 1)),
        _node("Sub", ["a", "mean"], "centred"),
        _node("Add", ["v", "centred"], "q"),
    ]


def afterstate_graph(layout: AfterstateLayout) -> list[bytes]:
    """The nodes of a network that values the backlogs left after each option or dropping, as observed."""
    context, gains, afterstates = layout.context, layout.block(OptionFeature.GAIN), layout.afterstates
    return [
        *_slice("observation", "seen", 1, 0, context.stop),
        _node("Gemm", ["seen", "context", "context_bias"], "first_linear"),
        _node("Relu", ["first_linear"], "first"),
        _node("Gemm", ["first", "bias_of", "bias"], "unit_bias"),
        _constant("unit_axis", 1),
        _node("Unsqueeze", ["unit_bias", "unit_axis"], "unit_bias_of_all"),
        *_slice("observation", "gain", 1, gains.start, gains.stop),
        *_slice("observation", "backlogs_by_kind", 1, afterstates.start, afterstates.stop),
        _constant("by_kind", 0, layout.backlogs, layout.actions),
        _node("Reshape", ["backlogs_by_kind", "by_kind"], "backlogs_of_kinds"),
        _node("Transpose", ["backlogs_of_kinds"], "backlogs", _ints("perm", 0, 2, 1)),
        _node("MatMul", ["backlogs", "left"], "from_backlogs"),
        _node("Add", ["from_backlogs", "unit_bias_of_all"], "shared_linear"),
        _node("Relu", ["shared_linear"], "shared"),
        _node("MatMul", ["shared", "head"], "heads_linear"),
        _node("Add", ["heads_linear", "head_bias"], "heads"),
        *_slice("heads", "value_column", 2, 0, 1),
        *_slice("heads", "shortfall_column", 2, 1, 2),
        _constant("column_axis", 2),
        _node("Squeeze", ["value_column", "column_axis"], "value"),
        _node("Squeeze", ["shortfall_column", "column_axis"], "shortfall_free"),
        _node("Constant", [], "zero", _scalar(0.0)),
        _node("Constant", [], "one", _scalar(1.0)),
        _node("Clip", ["shortfall_free", "zero", "one"], "shortfall"),
        _node("Sub", ["one", "shortfall"], "kept"),
        _node("Mul", ["gain", "kept"], "earned"),
        _node("Add", ["earned", "value"], "q"),
    ]


def write_model(
    nodes: Sequence[bytes], tensors: Tensors, features: int, actions: int, manifest: str, version: str
) -> bytes:
    """The bytes of the ONNX file."""
    graph = b"".join(bytes_field(1, node) for node in nodes) + bytes_field(2, "policy")
    graph += b"".join(bytes_field(_GRAPH_INITIALIZER, _tensor(name, array)) for name, array in tensors.items())
    graph += bytes_field(11, _value("observation", features)) + bytes_field(12, _value("q", actions))
    opset = bytes_field(1, "") + number_field(2, _OPSET)
    metadata = bytes_field(1, MANIFEST_KEY) + bytes_field(2, manifest)
    return (
        number_field(1, _IR_VERSION)
        + bytes_field(2, "hasten")
        + bytes_field(3, version)
        + bytes_field(_MODEL_GRAPH, graph)
        + bytes_field(8, opset)
        + bytes_field(_MODEL_METADATA, metadata)
    )


def read_model(data: bytes) -> tuple[dict[str, str], dict[str, tuple[tuple[int, ...], memoryview]]]:
    """Metadata, and of each initializer its shape and its bytes, of which nothing is checked yet.

    Raises:
        Malformed: not an ONNX model, or one that a policy cannot be.
    """
    metadata: dict[str, str] = {}
    tensors: dict[str, tuple[tuple[int, ...], memoryview]] = {}
    for number, _, value in fields(memoryview(data)):
        if number == _MODEL_METADATA and not isinstance(value, int):
            entry = {field: _text(text) for field, _, text in fields(value)}
            metadata[entry.get(1, "")] = entry.get(2, "")
        elif number == _MODEL_GRAPH and not isinstance(value, int):
            for field, _, tensor in fields(value):
                if field == _GRAPH_INITIALIZER and not isinstance(tensor, int):
                    name, shape, raw = _read_tensor(tensor)
                    tensors[name] = shape, raw
        if len(metadata) > _MAX_METADATA or len(tensors) > _MAX_TENSORS:
            raise Malformed("more entries than a policy has")
    return metadata, tensors


def _read_tensor(data: memoryview) -> tuple[str, tuple[int, ...], memoryview]:
    name, raw = "", memoryview(b"")
    shape: tuple[int, ...] = ()
    for number, kind, value in fields(data):
        if number == _DIMS and kind == VARINT and isinstance(value, int):
            shape = (*shape, value)
        elif number == _DIMS and not isinstance(value, int):  # packed
            position = 0
            while position < len(value):
                dim, position = varint(value, position)
                shape = (*shape, dim)
        elif number == _DATA_TYPE and value != _FLOAT:
            raise Malformed(f"initializer {name!r} is not float32")
        elif number == _NAME:
            name = _text(value)
        elif number == _RAW_DATA and kind == BYTES and not isinstance(value, int):
            raw = value
        elif number not in (_DIMS, _DATA_TYPE):
            raise Malformed(f"initializer {name!r} holds its numbers in another way than a policy does")
        if len(shape) > 2:
            raise Malformed(f"initializer {name!r} has more than two dimensions")
    return name, shape, raw


def _text(value: int | memoryview) -> str:
    if isinstance(value, int):
        raise Malformed("a number where text was expected")
    return bytes(value).decode("utf-8", "replace")


def _node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    return (
        b"".join(bytes_field(1, name) for name in inputs) + bytes_field(2, output) + bytes_field(4, kind) + attributes
    )


def _slice(source: str, target: str, axis: int, start: int, end: int) -> list[bytes]:
    """Nodes that take ``start`` to ``end`` of an axis."""
    bounds = {"from": start, "to": end, "axis": axis}
    return [
        *(_constant(f"{target}_{name}", value) for name, value in bounds.items()),
        _node("Slice", [source, *(f"{target}_{name}" for name in bounds)], target),
    ]


def _constant(name: str, *values: int) -> bytes:
    return _node("Constant", [], name, _ints("value_ints", *values))


def _ints(name: str, *values: int) -> bytes:
    """An attribute of a list of integers."""
    numbers = b"".join(number_field(8, value) for value in values)
    return bytes_field(5, bytes_field(1, name) + numbers + number_field(20, _INTS))


def _scalar(value: float) -> bytes:
    """The attribute of a constant that is a tensor without dimensions."""
    tensor = number_field(_DATA_TYPE, _FLOAT) + bytes_field(_RAW_DATA, np.float32(value).tobytes())
    return bytes_field(5, bytes_field(1, "value") + bytes_field(5, tensor) + number_field(20, _TENSOR))


def _gemm(into: str, layer: str, output: str) -> bytes:
    return _node("Gemm", [into, f"{layer}.weight", f"{layer}.bias"], output)


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    dims = b"".join(number_field(_DIMS, n) for n in array.shape)
    raw = array.astype("<f4").tobytes()
    return dims + number_field(_DATA_TYPE, _FLOAT) + bytes_field(_NAME, name) + bytes_field(_RAW_DATA, raw)


def _value(name: str, width: int) -> bytes:
    """A float32 tensor (B, width)."""
    dims = bytes_field(1, bytes_field(2, "B")) + bytes_field(1, number_field(1, width))
    tensor = number_field(1, _FLOAT) + bytes_field(2, dims)
    return bytes_field(1, name) + bytes_field(2, bytes_field(1, tensor))
