"""From a torch module to a functional ONNX graph.

``torch.export`` followed by ``run_decompositions`` removes in-place operations and views before anything is cut. The
exporter then folds batch normalization. A ``forward`` that chooses its exit by the data cannot be exported: it returns
all exits.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.split.graph import OPSET
from hasten.split.graph_module import GraphModule
from hasten.split.inputs import MAX_INPUTS
from hasten.split.light_model import LARGE_BYTES, Array, LightModel, new_key
from hasten.split.manifest import MAX_NAME
from hasten.split.modules import Batch, call, mapped, named_outputs
from hasten.split.network import ExportedNetwork, rename

INPUT = "input"

_NOT_USERS = ("/torch/", "/onnxscript/", "/hasten/split/", "/hasten/networks/attach")


class FromFrames(nn.Module):
    """Gives a network that expects 0 to 1 its uint8 frames: ``network(frame.float() / 255)``; others as they are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *frame: torch.Tensor, **frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``frame``: (N, ...), or several inputs by name."""
        outputs: tuple[torch.Tensor, ...] = call(self.network, mapped(frames or frame[0], _scaled))
        return outputs


def _scaled(frame: torch.Tensor) -> torch.Tensor:
    return frame.to(torch.float32) / 255 if frame.dtype == torch.uint8 else frame


class _Flat(nn.Module):
    """Takes all inputs and gives all outputs one after another, whatever the network has them in.

    ``names``: of several inputs; empty for one.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``tensors``: (N, *shape) of each input."""
        batch = dict(zip(self.names, tensors, strict=True)) if self.names else tensors[0]
        return tuple(tensor for given in named_outputs(call(self.network, batch)) for tensor in given.values())


def export_network(module: nn.Module, example: Batch) -> ExportedNetwork:
    """Export ``module`` (eval mode, returns a tuple of outputs) for a batch of one shaped like ``example``.

    Raises:
        InputError: torch cannot export it, for instance because its exits are chosen inside ``forward``, or an operator
            has no ONNX form; with the operator and the user's own line.
    """
    if isinstance(module, GraphModule):
        return module.network
    program = None
    names = list(example) if isinstance(example, dict) else []
    tensors = tuple(example.values()) if isinstance(example, dict) else (example,)
    with _quiet(), torch.no_grad():
        try:
            given = [list(outputs) for outputs in named_outputs(call(module, mapped(example, torch.clone)))]
            program = torch.export.export(_Flat(module, names), tensors).run_decompositions({})
            exported = torch.onnx.export(program, dynamo=True, verbose=False, external_data=False, opset_version=OPSET)
        except Exception as error:  # torch's exporter raises many kinds
            if program is None:
                expected = f"a module that torch.export can trace; forward must return all exits ({_traced(error)})"
            else:
                expected = f"operators that ONNX has ({_translated(error, program)})"
            raise InputError("network", "module", type(_inner(module)).__name__, expected) from None
    assert exported is not None  # without a file name the exporter returns the program
    light = _light(exported)
    model = onnx.shape_inference.infer_shapes(light.proto)
    require_plain(model)
    _name_inputs(model.graph, names or [INPUT])
    shorten_names(model.graph)
    outputs = iter(output.name for output in model.graph.output)
    network = ExportedNetwork(
        model.graph, [{name: str(next(outputs)) for name in names} for names in given], light.weights
    )
    _require_fixed_outputs(network)
    return network


def _light(exported: torch.onnx.ONNXProgram) -> LightModel:
    """The exported model, whose large weights stay torch's own."""
    weights: dict[str, Array] = {}
    for name, value in exported.model.graph.initializers.items():
        held = value.const_value
        if held is not None and held.dtype == onnx_ir.DataType.FLOAT and held.nbytes >= LARGE_BYTES:
            key = new_key()
            weights[key] = held.numpy()
            shape = onnx_ir.Shape(held.shape.numpy())
            value.const_value = onnx_ir.ExternalTensor(key, None, held.nbytes, held.dtype, shape=shape, name=name)
    return LightModel(exported.model_proto, weights)


def _require_fixed_outputs(network: ExportedNetwork) -> None:
    for number, outputs in enumerate(network.exits, start=1):
        for name, tensor in outputs.items():
            if tensor not in network.shapes:
                expected = "a fixed shape: pad it, and give another output that says which entries count"
                found = "a shape that depends on the data"
                raise InputError("network", f"output {name} of exit {number}", found, expected)


def _inner(module: nn.Module) -> nn.Module:
    """The user's module inside what hasten wrapped around it."""
    while type(module).__module__.startswith("hasten."):
        inner = next((getattr(module, name) for name in ("network", "module") if hasattr(module, name)), None)
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def _traced(error: Exception) -> str:
    """Why tracing failed: the first line of the message, and the line of the user's code where it did."""
    message = str(error)
    first = next((line.strip() for line in message.splitlines() if line.strip()), type(error).__name__)
    place = _users_line(message) or _users_line("".join(traceback.format_tb(error.__traceback__)))
    why = "its way depends on the data: " if "data-dependent" in message else ""
    return f"{why}{_short(first)}" + (f", at {place}" if place else "")


def _translated(error: BaseException, program: torch.export.ExportedProgram) -> str:
    """Why an operator could not become ONNX: the operator, the deepest cause, and the line of the user's code."""
    chain: list[BaseException] = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
        chain.append(deeper)
    texts = [str(link) for link in chain]
    found = next((match for text in texts if (match := re.search(r"translating node %(\S+) ", text))), None)
    node = next((node for node in program.graph.nodes if found and node.name == found[1]), None)
    operator = f"{node.target}: " if node is not None else ""
    place = _users_line(str(node.meta.get("stack_trace") or "")) if node is not None else None
    return f"{operator}{_short(texts[-1])}" + (f", at {place}" if place else "")


def _users_line(trace: str) -> str | None:
    """``file:line: code`` of the innermost frame that is neither torch's nor hasten's."""
    frames = re.findall(r'File "([^"]+)", line (\d+)[^\n]*\n(?: *([^\n]*))?', trace)
    own = [frame for frame in frames if not any(mark in frame[0] for mark in _NOT_USERS)]
    if not own:
        return None
    file, line, code = own[-1]
    return f"{file}:{line}" + (f": {code.strip()}" if code.strip() else "")


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def shorten_names(graph: onnx.GraphProto) -> None:
    """Give tensors with names longer than a package takes others that end alike."""
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names |= {item.name for item in (*graph.initializer, *graph.input, *graph.output, *graph.value_info)}
    long = sorted(name for name in names if len(name) > MAX_NAME)
    shorter = {name: f"{number}:{name[-MAX_NAME + 8 :]}" for number, name in enumerate(long)}
    if shorter:
        _rename_all(graph, shorter)


def _name_inputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Give the graph's inputs these names; another tensor that has one of them gets another."""
    own = [info.name for info in graph.input]
    taken = [name for node in graph.node for name in node.output] + [item.name for item in graph.initializer]
    others = {name: f"{name}:inside" for name in taken if name in names}
    _rename_all(graph, {**others, **dict(zip(own, names, strict=True))})


def _rename_all(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors other names wherever the graph names them."""
    for node in graph.node:
        rename(node, names)
    for item in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        item.name = names.get(item.name, item.name)


def require_plain(model: onnx.ModelProto) -> None:
    """Refuse graphs with no input or too many, or with operators that are not ONNX's own."""
    if not 1 <= len(model.graph.input) <= MAX_INPUTS:
        raise InputError("network", "inputs", len(model.graph.input), f"1 to {MAX_INPUTS} input tensors")
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains or len(model.functions):
        raise InputError("network", "module", sorted(domains), "standard ONNX operators only")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about optional packages and prints graphs; none of it concerns the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
