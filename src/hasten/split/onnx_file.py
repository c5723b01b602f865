"""An ONNX file as something that can be cut: read, made static for a batch of one, its constants computed.

Weights in files beside it are taken, too. What cannot be cut is refused by name: axes of no fixed size, operators
that are not ONNX's own.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import inliner, version_converter

from hasten.core.errors import InputError
from hasten.split.export import require_plain, shorten_names
from hasten.split.external_data import read_external
from hasten.split.graph import OPSET
from hasten.split.inputs import MAX_INPUTS
from hasten.split.light_model import LARGE_BYTES, LightModel, is_reference, lightened, session_of
from hasten.split.modules import MAX_WEIGHT_BYTES, reason
from hasten.split.sessions import session_options

SHOWN_NAMES = 12


def read_onnx(path: Path, exits: Sequence[str] = (), limit: int = MAX_WEIGHT_BYTES) -> LightModel:
    """The model in ``path`` with static inputs of batch 1, ONNX's own operators and known shapes.

    Tensors named in ``exits`` become outputs, so that nothing that is done to the graph removes them; the file's own
    outputs stay behind them. ``limit`` bounds the bytes of all weights.

    Raises:
        InputError: it is none, or cannot be made such; says what is in the way.
    """
    try:
        given = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's, onnx's and the file system's own kinds
        raise InputError(path, "file", path.name, f"an ONNX model ({reason(error)})") from None
    outside = read_external(given, path, limit)
    inside = lightened(given)
    light = LightModel(given, {**outside.weights, **inside.weights})
    opset = next((entry.version for entry in given.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > OPSET:
        raise InputError(path, "opset", opset, f"at most {OPSET}; export with opset_version={OPSET}")
    _make_static(given, path)
    try:
        light = folded(LightModel(_current(given, opset, exits), light.weights))
        light = LightModel(onnx.shape_inference.infer_shapes(light.proto, data_prop=True), light.weights)
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(path, "graph", path.name, f"a model that ONNX Runtime runs ({reason(error)})") from None
    require_plain(light.proto)
    shorten_names(light.proto.graph)
    return light


def _current(model: onnx.ModelProto, opset: int, exits: Sequence[str]) -> onnx.ModelProto:
    """``model`` of our opset, without functions, and with ``exits`` as outputs.

    Meanwhile large weights are inputs, because not all of these tools know references.
    """
    weights = [item for item in model.graph.initializer if is_reference(item)]
    names = {item.name for item in weights}
    kept = [item for item in model.graph.initializer if item.name not in names]
    inputs = [info for info in model.graph.input if info.name not in names]
    _replace(model.graph.initializer, kept)
    _replace(model.graph.input, [*inputs, *(_as_input(item) for item in weights)])
    model = inliner.inline_local_functions(model)
    model = version_converter.convert_version(model, OPSET) if opset < OPSET else model
    model = _with_exits(onnx.shape_inference.infer_shapes(model, data_prop=True), exits)
    _replace(model.graph.input, [info for info in model.graph.input if info.name not in names])
    model.graph.initializer.extend(weights)
    return model


def _as_input(item: onnx.TensorProto) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims))


def _replace(field: Any, items: Sequence[Any]) -> None:
    """Give a repeated field of a message other items."""
    kept = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(kept)


def graph_inputs(path: Path) -> tuple[str, ...]:
    """What the graph in ``path`` calls its inputs; none if it is no model, of which :func:`read_onnx` says why."""
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception:  # protobuf's and the file system's own kinds
        return ()
    constants = {item.name for item in graph.initializer}
    return tuple(str(info.name) for info in graph.input if info.name not in constants)


def with_outputs(light: LightModel, names: Sequence[str]) -> LightModel:
    """A copy of a model that gives the tensors of these names, in this order.

    Raises:
        InputError: a tensor that the graph does not have, with the nearest; or one of no known shape.
    """
    model, copy = light.proto, onnx.ModelProto()
    copy.CopyFrom(model)
    known = {info.name: info for info in (*model.graph.output, *model.graph.value_info)}
    for name in names:
        _require_known(model, name, [*known])
    del copy.graph.output[:]
    copy.graph.output.extend(known[name] for name in names)
    rest = [info for name, info in known.items() if name not in names]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(rest)
    return LightModel(copy, light.weights)


def _with_exits(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """``model`` with these tensors as outputs, before its own."""
    own = list(model.graph.output)
    known = {info.name: info for info in (*own, *model.graph.value_info)}
    for name in names:
        _require_known(model, name, [*known])
    del model.graph.output[:]
    model.graph.output.extend([known[name] for name in names] + [info for info in own if info.name not in names])
    return model


def _require_known(model: onnx.ModelProto, name: str, known: Sequence[str]) -> None:
    made = [output for node in model.graph.node for output in node.output if output]
    if name not in made:
        close = difflib.get_close_matches(name, made, n=SHOWN_NAMES, cutoff=0.3)
        shown = close or [info.name for info in model.graph.output]
        raise InputError("exits", "tensor", name, f"a tensor of the graph, for example {', '.join(shown)}")
    if name not in known:
        raise InputError("exits", "tensor", name, "a tensor of which the type is known")


def folded(light: LightModel) -> LightModel:
    """A model with what does not depend on the input computed, as ONNX Runtime does before it runs anything."""
    options = session_options(threads=1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "folded.onnx"
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "folded.weights")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(LARGE_BYTES)
        )
        session_of(light.proto.SerializeToString(), light.weights, options)
        found = read_external(onnx.load(str(target), load_external_data=False), target, sys.maxsize)
        held = {key: np.array(array) for key, array in found.weights.items()}  # the file goes
    inside = lightened(found.proto)
    return LightModel(inside.proto, {**held, **inside.weights})


def _make_static(model: onnx.ModelProto, path: Path) -> None:
    """Fix the batch to 1; the inputs' other axes must have sizes."""
    constants = {item.name for item in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in constants]
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise InputError(path, "inputs", len(inputs), f"1 to {MAX_INPUTS} inputs")
    for info in model.graph.input:
        if info.name in constants:  # of files from before initializers were no inputs
            continue
        dims = info.type.tensor_type.shape.dim
        if not len(dims):
            raise InputError(path, info.name, "no shape", "an input of fixed shape behind the batch axis")
        for axis, dim in enumerate(dims[1:], start=1):
            if dim.dim_value <= 0:
                name = dim.dim_param or "?"
                expected = f"a fixed size of axis {axis} of {info.name}: only the batch may be dynamic"
                raise InputError(path, "dynamic axis", name, expected)
        if dims[0].dim_value not in (0, 1):
            raise InputError(path, "batch", dims[0].dim_value, f"1, or a dynamic first axis of {info.name}")
        dims[0].ClearField("dim_param")
        dims[0].dim_value = 1
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
