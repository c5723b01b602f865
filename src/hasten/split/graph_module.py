"""An ONNX graph that is run like a torch module: the reference of a package that was made of an ONNX file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hasten.split.light_model import LightModel, session_of
from hasten.split.manifest import LOGITS
from hasten.split.network import ExportedNetwork
from hasten.split.sessions import session_options


class GraphModule(nn.Module):
    """``forward`` returns one tensor (N, ...) per exit: the graph's outputs.

    Attributes:
        network: the graph, as :func:`hasten.split.export.export_network` would give it.
        exit_names: the names of the graph's outputs.
    """

    def __init__(self, model: LightModel) -> None:
        super().__init__()
        graph = model.proto.graph
        self.exit_names = tuple(str(output.name) for output in graph.output)
        self._session = session_of(model.proto.SerializeToString(), model.weights, session_options(threads=0))
        names = [LOGITS if len(info.type.tensor_type.shape.dim) == 2 else "output" for info in graph.output]
        exits = [{name: exit_name} for name, exit_name in zip(names, self.exit_names, strict=True)]
        self.network = ExportedNetwork(graph, exits, model.weights)

    def forward(self, *x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Run inputs (N, *input_shape), one or several by name, row by row, as the graph takes them."""
        given = inputs or {self.network.inputs[0]: x[0]}
        names, count = list(self.exit_names), len(next(iter(given.values())))
        rows = [
            self._session.run(names, {name: tensor[row : row + 1].numpy() for name, tensor in given.items()})
            for row in range(count)
        ]
        return tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True))
