"""From a torch module to a functional ONNX graph.

``torch.export`` followed by ``run_decompositions`` removes in-place operations and views before anything is cut. The
exporter then folds batch normalization. A ``forward`` that chooses its exit by the data cannot be exported: it returns
all exits.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.split.graph import OPSET, Network

INPUT = "input"


class FromFrames(nn.Module):
    """Gives a network that expects 0 to 1 its uint8 frames: ``network(frame.float() / 255)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``frame``: (N, ...) uint8."""
        outputs: tuple[torch.Tensor, ...] = self.network(frame.to(torch.float32) / 255)
        return outputs


def export_network(module: nn.Module, example: torch.Tensor) -> Network:
    """Export ``module`` (eval mode, returns a tuple of logits) for a batch of one shaped like ``example``.

    Raises:
        InputError: torch cannot export it, for instance because its exits are chosen inside ``forward``.
    """
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(module, (example,)).run_decompositions({})
            exported = torch.onnx.export(
                program, dynamo=True, verbose=False, external_data=False, opset_version=OPSET, input_names=[INPUT]
            )
        except Exception as error:  # torch's exporter raises many kinds
            reason = " ".join(str(error).split())[:160]
            expected = f"a module that torch.export can trace; forward must return all exits ({reason})"
            raise InputError("network", "module", type(module).__name__, expected) from None
    assert exported is not None  # without a file name the exporter returns the program
    model = onnx.shape_inference.infer_shapes(exported.model_proto)
    _require_plain(model)
    return Network(model.graph)


def _require_plain(model: onnx.ModelProto) -> None:
    if len(model.graph.input) != 1:
        raise InputError("network", "module", len(model.graph.input), "a module with one input tensor")
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains or len(model.functions):
        raise InputError("network", "module", sorted(domains), "standard ONNX operators only")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about optional packages and future torch versions; none of it concerns the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
