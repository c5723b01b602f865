"""Segment graphs: sub-graphs of the one exported network, a fused one for every (exit, partition).

A thousand segments cost one export. Large constants leave the graphs: each becomes a reference by name, and the weight
itself is stored once in the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hasten.split.graph import OPSET, CutPlan
from hasten.split.light_model import LARGE_BYTES, LightModel, array_of, nbytes, reference, used_in
from hasten.split.manifest import TensorSpec, output_name
from hasten.split.network import ExportedNetwork, reads, rename

SHARED_FROM_BYTES = LARGE_BYTES
"""Constants smaller than this stay inside each graph; larger ones are stored once in the package."""

_IR_VERSION = 10
_BARE = "::bare"
"""Behind the name of a tensor as the network made it, without the batch axis in front that it crosses a cut with."""


@dataclass(frozen=True)
class Segmenter:
    """Makes the segment graphs of a planned network; all of them refer to :attr:`weights` by name."""

    network: ExportedNetwork
    plan: CutPlan

    def specs(self, partition: int) -> tuple[TensorSpec, ...]:
        """The tensors that cross at ``partition``."""
        types = self.network.types
        return tuple(
            TensorSpec(name=name, shape=self._shape(name)[1:], dtype=types[name])  # type: ignore[arg-type]
            for name in self.plan.cuts[partition].tensors
        )

    def prefix(self, partition: int) -> bytes:
        """Blocks 1..``partition``: inputs to the tensors that cross."""
        names = list(self.plan.cuts[partition].tensors)
        return self._packed(self._extract(self.network.inputs, names, names))

    def finish(self, partition: int, exit_: int) -> bytes:
        """From the tensors at ``partition`` to the outputs of ``exit_`` (from 1)."""
        sources = list(self.plan.cuts[partition].tensors)
        return self._packed(self._extract(sources, self.network.given_by(exit_), list(self.network.exits[exit_ - 1])))

    def check(self, partition: int, exit_: int) -> bytes:
        """From the tensors at ``partition`` to the outputs of ``exit_``, named as in :meth:`everything`, and on.

        On: to the tensors that cross behind its block, those left out that cross at ``partition``, too.
        """
        sources = list(self.plan.cuts[partition].tensors)
        targets, names = self._outputs_of([exit_])
        new = self._new_tensors(partition, self.plan.after_block[exit_ - 1])
        return self._packed(self._extract(sources, targets + new, names + new))

    def onward(self, partition: int, exit_: int) -> bytes:
        """From the tensors behind ``exit_``'s block to those at ``partition``; what crosses at both is left out."""
        after = self.plan.after_block[exit_ - 1]
        new = self._new_tensors(after, partition)
        return self._packed(self._extract(list(self.plan.cuts[after].tensors), new, new))

    def _new_tensors(self, begin: int, end: int) -> list[str]:
        known = self.plan.cuts[begin].tensors
        return [name for name in self.plan.cuts[end].tensors if name not in known]

    def everything(self) -> LightModel:
        """Inputs to the tensors of cuts 1..L and all outputs, for measuring accuracy in one pass."""
        tensors = list(dict.fromkeys(name for cut in self.plan.cuts[1:] for name in cut.tensors))
        targets, names = self._outputs_of(range(1, len(self.network.exits) + 1))
        return self._extract(self.network.inputs, tensors + targets, tensors + names)

    def tails(self, partition: int) -> LightModel:
        """From the tensors at ``partition`` to the outputs of all exits behind it, named as in :meth:`everything`."""
        sources = list(self.plan.cuts[partition].tensors)
        behind = [number for number, after in enumerate(self.plan.after_block, start=1) if after > partition]
        targets, names = self._outputs_of(behind)
        return self._extract(sources, targets, names)

    def outputs(self, exit_: int) -> tuple[TensorSpec, ...]:
        """What ``exit_`` (from 1) gives."""
        types = self.network.types
        return tuple(
            TensorSpec(name=name, shape=self.network.shapes[tensor][1:], dtype=types[tensor])  # type: ignore[arg-type]
            for name, tensor in self.network.exits[exit_ - 1].items()
        )

    def outputs_in(self, values: Mapping[str, NDArray[np.generic]], exit_: int) -> dict[str, NDArray[np.generic]]:
        """The outputs of ``exit_``, without the batch axis, among what :meth:`everything` or :meth:`tails` gave."""
        return {name: values[output_name(name, exit_)][0] for name in self.network.exits[exit_ - 1]}

    def _outputs_of(self, exits: Iterable[int]) -> tuple[list[str], list[str]]:
        """The tensors that ``exits`` give, and the names that they have where several exits' are given at once."""
        pairs = [(tensor, output_name(name, e)) for e in exits for name, tensor in self.network.exits[e - 1].items()]
        return [tensor for tensor, _ in pairs], [name for _, name in pairs]

    def weights(self) -> dict[str, NDArray[np.generic]]:
        """Every constant that is stored once and shared."""
        graph, data = self.network.graph, self.network.data
        return {item.name: array_of(item, data) for item in graph.initializer if _shared(item)}

    @staticmethod
    def _packed(model: LightModel) -> bytes:
        """A segment as it lies in the package, where shared weights are found by their names."""
        for item in model.proto.graph.initializer:
            if _shared(item):
                item.CopyFrom(reference(item, "package"))
        data: bytes = model.proto.SerializeToString()
        return data

    def _extract(self, sources: list[str], targets: list[str], names: list[str]) -> LightModel:
        wanted = self.network.needed(targets, frozenset(sources))
        nodes = [self.network.graph.node[index] for index in sorted(wanted | self._constant_nodes(wanted))]
        kept = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            del copy.metadata_props[:]
            copy.doc_string = ""
            kept.append(copy)
        bare = [name for name in dict.fromkeys(sources + targets) if self._is_bare(name)]
        for node in kept:
            rename(node, {name: name + _BARE for name in bare})
        given = list(zip(targets, names, strict=True))
        taken_off = [_reshape(name, name + _BARE, self.network.shapes[name]) for name in sources if name in bare]
        put_on = [_reshape(target + _BARE, name, self._shape(target)) for target, name in given if target in bare]
        kept = [node for node, _ in taken_off] + kept + [node for node, _ in put_on]
        kept += [
            helper.make_node("Identity", [target], [name])
            for target, name in given
            if target != name and target not in bare
        ]
        read = {name for node in kept for name in reads(node)}
        constants = [item for item in self.network.graph.initializer if item.name in read]
        graph = helper.make_graph(
            kept,
            "segment",
            [self._value(name, name) for name in sources],
            [self._value(target, name) for target, name in given],
            constants + [shape for _, shape in taken_off + put_on],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        return LightModel(model, used_in(model, self.network.data))

    def _constant_nodes(self, wanted: set[int]) -> set[int]:
        """Nodes that ``wanted`` read and that do not depend on the input."""
        makers = {name: index for index, node in enumerate(self.network.graph.node) for name in node.output}
        found: set[int] = set()
        stack = [name for index in wanted for name in reads(self.network.graph.node[index])]
        while stack:
            name = stack.pop()
            index = makers.get(name)
            if index is not None and name not in self.network.producer and index not in found:
                found.add(index)
                stack.extend(reads(self.network.graph.node[index]))
        return found

    def _is_bare(self, name: str) -> bool:
        """Whether a tensor has no batch axis of one in front: a scalar, or a sequence before the batch."""
        return self.network.shapes.get(name, (1,))[:1] != (1,)

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape in which a tensor crosses: with a batch axis of one in front, given one where it has none."""
        shape = self.network.shapes[name]
        return (1, *shape) if self._is_bare(name) else shape

    def _value(self, tensor: str, name: str) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.network.types[tensor]))
        return helper.make_tensor_value_info(name, kind, self._shape(tensor))


def _reshape(source: str, target: str, shape: Sequence[int]) -> tuple[onnx.NodeProto, TensorProto]:
    """A node that gives ``source`` another shape under another name, and the constant it needs."""
    constant = numpy_helper.from_array(np.array(shape, np.int64), f"{target}{_BARE}_shape")
    return helper.make_node("Reshape", [source, constant.name], [target]), constant


def _shared(item: TensorProto) -> bool:
    types = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8)
    return nbytes(item) >= SHARED_FROM_BYTES and item.data_type in types
