"""``hasten build MODEL.onnx``: exits are tensors of the file, or heads that hasten trains on what it computes there.

A named tensor of the final output's shape is an exit that is trained already. Any other gets a head: ONNX Runtime
computes its features for all data, and the head is trained on them by the same code as a head on a torch module; then
it is appended to the graph. The file's own graph stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.data import Dataset
from hasten.networks.fit import Fitted, fit
from hasten.networks.heads import AttachedHead, Layout
from hasten.networks.prepare import Prepare
from hasten.networks.tapping import CHANNELS_LAST, FINAL, STATED
from hasten.networks.train import Array, Progress, TrainSettings
from hasten.split.export import export_network
from hasten.split.graph_module import GraphModule
from hasten.split.inputs import Inputs, count_of, shapes_of
from hasten.split.light_model import LightModel
from hasten.split.macs import macs
from hasten.split.modules import batch_of, call
from hasten.split.network import ExportedNetwork, rename
from hasten.split.onnx_file import read_onnx, with_outputs

BATCH = 256


@dataclass(frozen=True)
class OnnxExits:
    """A file's graph with the tensors that become exits, the deepest last."""

    model: LightModel
    tensors: tuple[str, ...]
    heads: dict[str, AttachedHead]
    """Of the tensors that are no exits yet."""
    classes: int

    @property
    def exit_names(self) -> tuple[str, ...]:
        """The tensors' names, and ``final``."""
        return (*self.tensors[:-1], FINAL)


def open_exits(
    path: Path, exits: Sequence[str], dataset: Dataset, prepare: Prepare | None, classifier: bool
) -> OnnxExits:
    """Read ``path``, put what prepares frames before it, and find out which of ``exits`` need heads.

    The deepest of the file's outputs is the final exit. Without ``exits`` all outputs are exits.

    Raises:
        InputError: as :func:`hasten.split.onnx_file.read_onnx`; data that do not fit the input.
    """
    stated = {name: layout for name, colon, layout in (given.rpartition(":") for given in exits) if layout in STATED}
    names = [given.rpartition(":")[0] if given.rpartition(":")[2] in STATED else given for given in exits]
    model = read_onnx(path, names)
    own = [str(output.name) for output in model.proto.graph.output][len(names) :]
    work = _work_of(model, [*names, *own])
    final = max([*names, *own], key=lambda name: work[name])
    tensors = tuple(sorted((set(names) or set(own)) | {final}, key=lambda name: work[name]))
    model = with_frames(with_outputs(model, tensors), dataset.train_x, prepare or Prepare(), path)
    described = {info.name: info for info in model.proto.graph.output}
    shapes = {name: tuple(dim.dim_value for dim in described[name].type.tensor_type.shape.dim) for name in tensors}
    heads: dict[str, AttachedHead] = {}
    classes = shapes[final][1] if classifier and len(shapes[final]) == 2 else 0
    if classifier and not classes:
        raise InputError(path, f"output {final}", shapes[final], "logits (1, classes), or another metric than accuracy")
    for name in tensors if classifier else ():
        if shapes[name] != shapes[final]:
            heads[name] = AttachedHead(classes, _layout(name, shapes[name], stated.get(name)))
    return OnnxExits(model, tensors, heads, classes)


def _work_of(model: LightModel, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """How deep tensors are: multiply-accumulates and operations before each."""
    network = ExportedNetwork(model.proto.graph, [])
    costs = [macs(network, node) for node in model.proto.graph.node]
    needed = {name: network.needed([name]) for name in names}
    return {name: (sum(costs[index] for index in nodes), len(nodes)) for name, nodes in needed.items()}


def _layout(name: str, shape: tuple[int, ...], stated: str | None) -> Layout:
    """Maps have their features behind the batch, tokens at the end, unless stated otherwise."""
    if len(shape) not in (2, 3, 4) or shape[0] != 1:
        raise InputError("exits", name, shape, "a tensor of 2 to 4 axes with the batch as the first")
    last = len(shape) == 3 if stated is None else stated == CHANNELS_LAST
    return Layout(0, len(shape) - 1 if last else 1)


def with_frames(light: LightModel, frames: Inputs, prepare: Prepare, path: Path) -> LightModel:
    """A model with what makes its inputs of ``frames`` (N, *input_shape), one or several, as part of the graph.

    Pixels (uint8) become 0..1 unless the model takes them as they are; the normalisation is the caller's. Of several
    inputs the pictures with as many channels are normalised.
    """
    model = light.proto
    infos = {str(info.name): info for info in model.graph.input}
    given = frames if isinstance(frames, Mapping) else dict.fromkeys([*infos][:1], frames)
    if set(given) != set(infos):
        found, expected = [*given] if isinstance(frames, Mapping) else ["x"], f"those of the graph, {', '.join(infos)}"
        raise InputError("data", "inputs", found, expected)
    normalised = [name for name, array in given.items() if _is_picture(array, prepare)]
    if not normalised and (prepare.reverse or prepare.channels is not None):
        expected = f"one of ({prepare.channels or 'C'}, H, W), as the normalisation says"
        raise InputError("network", "input", list(shapes_of(given).values()), expected)
    for name, info in infos.items():
        _prepare_input(model, info, given[name], prepare if name in normalised else Prepare(), path)
    return LightModel(onnx.shape_inference.infer_shapes(model, data_prop=True), light.weights)


def _is_picture(frames: Array, prepare: Prepare) -> bool:
    return frames.ndim == 4 and frames.dtype.kind in "uf" and prepare.channels in (None, frames.shape[1])


def _prepare_input(
    model: onnx.ModelProto, info: onnx.ValueInfoProto, frames: Array, prepare: Prepare, path: Path
) -> None:
    """Put before one input what makes it of ``frames``, in place."""
    wanted = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    shape = tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)[1:]
    scaled = frames.dtype == np.uint8 and wanted == np.float32
    if shape != frames.shape[1:] or not (scaled or frames.dtype == wanted):
        found, expected = f"{frames.dtype} {frames.shape[1:]}", f"{wanted} {shape}, as {info.name} of {path.name}"
        raise InputError("data", "inputs", found, f"{expected}{' (or uint8)' if wanted == np.float32 else ''}")
    last = str(info.name)
    nodes: list[onnx.NodeProto] = []

    def step(kind: str, number: Array | None = None, **attributes: Any) -> None:
        nonlocal last
        reads = [last]
        if number is not None:
            model.graph.initializer.append(numpy_helper.from_array(number, f"{last}:{kind}"))
            reads.append(model.graph.initializer[-1].name)
        last = f"{last}:{kind.lower()}"
        nodes.append(helper.make_node(kind, reads, [last], **attributes))

    if scaled:
        step("Cast", to=TensorProto.FLOAT)
        step("Div", np.array(255, np.float32))
    if prepare.reverse:
        step("Gather", np.arange(shape[0])[::-1].copy(), axis=1)
    if prepare.channels is not None:
        step("Sub", prepare.get_buffer("mean").numpy()[np.newaxis])
        step("Div", prepare.get_buffer("std").numpy()[np.newaxis])
    if not nodes:
        return
    kept = list(model.graph.node)
    for node in kept:
        rename(node, {info.name: last})
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    kind = helper.np_dtype_to_tensor_dtype(frames.dtype)
    info.CopyFrom(helper.make_tensor_value_info(info.name, kind, (1, *shape)))


class _Heads(nn.Module):
    """Linear layers of all heads on features that are computed already, side by side in rows (N, widths)."""

    def __init__(self, widths: Sequence[int], heads: Sequence[nn.Module | None]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.parts = nn.ModuleList(head or nn.Identity() for head in heads)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits."""
        pieces = torch.split(x, self.widths, dim=1)
        return tuple(part(piece) for part, piece in zip(self.parts, pieces, strict=True))


def fit_heads(
    exits: OnnxExits,
    dataset: Dataset,
    train: str,
    settings: TrainSettings,
    progress: Progress | None,
    distill: bool = False,
) -> tuple[GraphModule, Fitted]:
    """Train the heads that the file's tensors need and append them; the graph with all exits, and what was done.

    Raises:
        InputError: ``train`` that an ONNX file cannot have, or heads that are to stay untrained.
    """
    if train == "all":
        raise InputError("build", "train", train, "none or heads: the weights of an ONNX file are not trained")
    if exits.heads and train == "none":
        expected = f"heads: {', '.join(exits.heads)} of another shape than the final output's have to be trained"
        raise InputError("build", "train", train, expected)
    if not exits.classes:
        graph = GraphModule(exits.model)
        return graph, fit(graph, dataset, train, settings, progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        graph = GraphModule(exits.model)
        sides = {part: _features(exits, graph, x) for part, x in (("train", dataset.train_x), ("val", dataset.val_x))}
        pieces = [piece.shape[1] for piece in sides["val"]]
        heads = [exits.heads[name].classify if name in exits.heads else None for name in exits.tensors]
        packed = {part: np.concatenate(found, axis=1) for part, found in sides.items()}
        network = _Heads(pieces, heads)
        with torch.no_grad():
            network(torch.from_numpy(packed["val"][:2]))  # makes the lazy layers
    computed = replace(dataset, train_x=packed["train"], val_x=packed["val"])
    fitted = fit(network, computed, "heads" if exits.heads else "none", settings, progress, distill=distill)
    model = exits.model
    for name, temperature in zip(exits.tensors, fitted.module.temperatures, strict=True):
        if name in exits.heads:
            model = _appended(model, name, _Calibrated(exits.heads[name], temperature))
    outputs = [f"{name}:logits" if name in exits.heads else name for name in exits.tensors]
    return GraphModule(with_outputs(model, outputs)), fitted


def _features(exits: OnnxExits, graph: GraphModule, inputs: Inputs) -> list[Array]:
    """What the heads' linear layers read of all inputs, (N, width) per exit; of exits without a head their logits."""
    rows: list[list[Array]] = []
    with torch.no_grad():
        for start in range(0, count_of(inputs), BATCH):
            found = call(graph, batch_of(inputs, slice(start, start + BATCH)))
            pooled = [
                exits.heads[name].pool(tensor) if name in exits.heads else tensor
                for name, tensor in zip(exits.tensors, found, strict=True)
            ]
            rows.append([piece.numpy() for piece in pooled])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


class _Calibrated(nn.Module):
    """One head with its temperature, to be exported."""

    def __init__(self, head: AttachedHead, temperature: float) -> None:
        super().__init__()
        self.head, self.temperature = head, temperature

    def forward(self, features: Tensor) -> tuple[Tensor]:
        """Return the logits (N, classes)."""
        return (self.head(features) / self.temperature,)


def _appended(light: LightModel, tensor: str, head: nn.Module) -> LightModel:
    """A model with a head on one of its tensors; its output is ``tensor:logits``."""
    model = light.proto
    info = next(info for info in model.graph.output if info.name == tensor)
    example = torch.zeros([dim.dim_value for dim in info.type.tensor_type.shape.dim])
    network = export_network(head.eval(), example)
    graph = network.graph
    names = {name for node in graph.node for name in node.output} | {item.name for item in graph.initializer}
    renamed = {name: f"{tensor}:{name}" for name in names}
    renamed |= {network.inputs[0]: tensor, network.given_by(1)[0]: f"{tensor}:logits"}
    for node in graph.node:
        rename(node, renamed)
        node.name = f"{tensor}:{node.name}"
    for item in graph.initializer:
        item.name = renamed[item.name]
    model.graph.node.extend(graph.node)
    model.graph.initializer.extend(graph.initializer)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return LightModel(model, {**light.weights, **network.data})
