"""Large weights lie beside the graphs: no message of protobuf ever holds them, whatever is done to a model."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from hasten.split.build import build_package
from hasten.split.executor import Executor
from hasten.split.export import export_network
from hasten.split.graph import plan_cuts
from hasten.split.graph_module import GraphModule
from hasten.split.light_model import LARGE_BYTES, array_of, is_reference, lightened, nbytes, session_of
from hasten.split.onnx_file import read_onnx
from hasten.split.segments import Segmenter
from hasten.split.sessions import session_options
from hasten.split.verify import verify

SMALL = 20_000
"""Bytes that a graph of the network below takes at most; each of its large weights takes more."""


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(32, 512), nn.Linear(512, 256)
        self.early, self.late = nn.Linear(512, 100), nn.Linear(256, 100)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.early(x), self.late(torch.relu(self.second(x)))


def wide():
    torch.manual_seed(0)
    return Wide().eval()


def test_no_graph_of_a_module_holds_its_weights():
    module = wide()
    network = export_network(module, torch.zeros(1, 32))
    segmenter = Segmenter(network, plan_cuts(network, ["a", "b"], 12))
    models = [segmenter.everything(), *(segmenter.tails(partition) for partition in range(2))]
    assert max(network.graph.ByteSize(), *(model.proto.ByteSize() for model in models)) < SMALL
    assert sum(array.nbytes for array in network.data.values()) > 4 * 512 * 256
    assert set(models[1].weights) == set(models[0].weights) > set(segmenter.tails(1).weights)
    stored = segmenter.weights()
    own = module.second.weight.detach().numpy()
    assert any(np.shares_memory(array, own) for array in stored.values()), "torch's own, not a copy"


def test_a_light_model_runs_as_the_model_did():
    graph = onnx.parser.parse_graph("g (float[1, 8] x) => (float[1, 100] y) { h = MatMul(x, w) \n y = Add(h, b) }")
    weight, bias = np.random.default_rng(0).standard_normal((8, 100)).astype(np.float32), np.ones(100, np.float32)
    graph.initializer.extend([numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    light = lightened(model)
    assert [is_reference(item) for item in light.proto.graph.initializer] == [True, True]
    assert [nbytes(item) for item in light.proto.graph.initializer] == [3200, 400]
    for item in light.proto.graph.initializer:
        item.name = f"renamed {item.name}"
    np.testing.assert_array_equal(array_of(light.proto.graph.initializer[0], light.weights), weight)
    for node in light.proto.graph.node:
        node.input[1] = f"renamed {node.input[1]}"
    session = session_of(light.proto.SerializeToString(), light.weights, session_options(1))
    x = np.ones((1, 8), np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight + bias, rtol=1e-5)


def test_a_package_of_weights_beside_a_file_is_that_of_the_module(tmp_path):
    x, labels = np.random.default_rng(0).standard_normal((20, 32)).astype(np.float32), np.arange(20)
    names = ["early", "late"]
    torch.onnx.export(
        wide(), (torch.zeros(1, 32),), tmp_path / "wide.onnx", dynamo=True, verbose=False, external_data=True,
        input_names=["x"], output_names=names,
    )  # fmt: skip
    assert (tmp_path / "wide.onnx").stat().st_size < SMALL < (tmp_path / "wide.onnx.data").stat().st_size
    light = read_onnx(tmp_path / "wide.onnx", names)
    assert light.proto.ByteSize() < SMALL
    graph = GraphModule(light)
    common = {"name": "wide", "exit_names": names}
    for number, module in enumerate((graph, wide())):
        package = build_package(module, x, labels, path=tmp_path / f"{number}.hasten", **common)
        assert verify(package).max_error < 1e-5
        with torch.no_grad():
            wanted = [logits.numpy() for logits in wide()(torch.from_numpy(x[:1]))]
        for exit_, logits in enumerate(wanted, start=1):
            np.testing.assert_allclose(Executor(package).finish(0, exit_, [x[:1]]), logits[0], rtol=1e-4, atol=1e-5)
        graphs = [package.graph(entry.kind, entry.partition, entry.exit) for entry in package.manifest.graphs]
        assert max(map(len, graphs)) < SMALL and sum(w.tensor.nbytes for w in package.manifest.weights) > 4 * 512 * 256
        assert all(weight.tensor.nbytes >= LARGE_BYTES for weight in package.manifest.weights)
