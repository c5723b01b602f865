"""A functional ONNX graph with the indices that cutting it needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import NodeProto

from hasten.split.light_model import Weights

_NAMES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}
_NAMES |= {onnx.TensorProto.INT32: "int32", onnx.TensorProto.INT64: "int64", onnx.TensorProto.BOOL: "bool"}

Given = dict[str, str]
"""What one exit gives: the names of its outputs, each with the name of the tensor in the graph."""


@dataclass
class ExportedNetwork:
    """A functional ONNX graph with the indices that the analysis needs."""

    graph: onnx.GraphProto
    exits: list[Given]
    """What each exit gives, in order."""
    data: Weights = field(default_factory=dict)
    """The arrays of initializers that are references, by key."""
    producer: dict[str, int] = field(init=False)
    """Tensor name -> index of the node that makes it; only for what depends on the input."""
    shapes: dict[str, tuple[int, ...]] = field(init=False)
    """Tensor name -> full static shape, batch axis included."""
    types: dict[str, str] = field(init=False)
    """Tensor name -> numpy type name; absent for types that may not cross a cut."""
    weights: dict[str, int] = field(init=False)
    """Initializer name -> number of elements."""

    def __post_init__(self) -> None:
        described = [*self.graph.input, *self.graph.output, *self.graph.value_info]
        self.shapes, self.types = {}, {}
        for info in described:
            tensor = info.type.tensor_type
            dims = [dim.dim_value for dim in tensor.shape.dim]
            if tensor.HasField("shape") and all(size > 0 for size in dims):
                self.shapes[info.name] = tuple(dims)
                if tensor.elem_type in _NAMES:
                    self.types[info.name] = _NAMES[tensor.elem_type]
        self.weights = {item.name: math.prod(item.dims) for item in self.graph.initializer}
        self.producer, given = {}, set(self.inputs)
        for index, node in enumerate(self.graph.node):
            if any(name in given or name in self.producer for name in reads(node)):
                self.producer.update({name: index for name in node.output if name})

    @property
    def inputs(self) -> list[str]:
        """Names of the network's inputs."""
        return [str(info.name) for info in self.graph.input]

    def given_by(self, exit_: int) -> list[str]:
        """Names in the graph of the tensors that ``exit_`` (from 1) gives."""
        return list(self.exits[exit_ - 1].values())

    def needed(self, targets: Iterable[str], stop: frozenset[str] = frozenset()) -> set[int]:
        """Indices of the input-dependent nodes that ``targets`` need, going back no further than ``stop``."""
        wanted: set[int] = set()
        stack = [name for name in targets if name not in stop]
        while stack:
            index = self.producer.get(stack.pop())
            if index is not None and index not in wanted:
                wanted.add(index)
                stack.extend(name for name in reads(self.graph.node[index]) if name not in stop)
        return wanted


def reads(node: NodeProto) -> list[str]:
    """Names of the tensors that a node reads, also those that its sub-graphs (branches, loops) take from outside."""
    found = [str(name) for name in node.input]
    for graph in sub_graphs(node):
        inside = {value.name for value in graph.input} | {item.name for item in graph.initializer}
        inside |= {name for inner in graph.node for name in inner.output}
        outside = [name for inner in graph.node for name in reads(inner)] + [value.name for value in graph.output]
        found += [name for name in outside if name not in inside]
    return list(dict.fromkeys(found))


def sub_graphs(node: NodeProto) -> list[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    return [graph for item in node.attribute for graph in ([item.g] if item.HasField("g") else []) + list(item.graphs)]


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give tensors other names in a node and its sub-graphs."""
    for fields in (node.input, node.output):
        for index, name in enumerate(fields):
            fields[index] = names.get(name, name)
    for graph in sub_graphs(node):
        for inner in graph.node:
            rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)
