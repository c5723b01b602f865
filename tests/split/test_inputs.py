"""Networks with several inputs, integers and booleans among them: cut, packed, verified, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from reader_package import LENGTH, build_reader, make_reader, texts
from torch import nn

from hasten.core.errors import InputError
from hasten.split.build import build_package
from hasten.split.codecs import CutCodecs
from hasten.split.executor import Executor
from hasten.split.graph_module import GraphModule
from hasten.split.inputs import frame_of
from hasten.split.inspect import describe
from hasten.split.onnx_file import read_onnx
from hasten.split.package import open_package, with_profile
from hasten.split.verify import crossing, verify


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return build_reader(tmp_path_factory.mktemp("reader") / "reader.hasten")


def test_every_option_of_a_network_with_tokens_and_a_mask_gives_what_the_module_gives(reader):
    inputs, module = texts(), make_reader()
    with torch.no_grad():
        whole = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    executor, codecs = Executor(reader), CutCodecs()
    assert len({partition for _, partition in reader.manifest.options()}) >= 3
    for exit_, partition in reader.manifest.options():
        cut = reader.manifest.cuts[partition]
        for index in range(5):
            crossed = crossing(executor, partition, frame_of(inputs, index))
            received = codecs.decode(codecs.encode(crossed, cut), cut)
            for sent, got in zip(crossed, received, strict=True):
                if sent.dtype != np.float32:
                    np.testing.assert_array_equal(sent, got)
            logits = executor.finish(partition, exit_, crossed)
            np.testing.assert_allclose(logits, whole[exit_ - 1][index], atol=1e-4)
    report = verify(reader)
    assert report.max_error < 1e-4 and report.worst_codec_agreement > 0.9


def test_the_package_holds_the_inputs_by_name_and_its_samples(reader, tmp_path):
    again = with_profile(open_package(reader.path), reader.profile, tmp_path / "again.hasten")
    assert [(spec.name, spec.shape, spec.dtype) for spec in again.manifest.inputs] == [
        ("ids", (LENGTH,), "int64"),
        ("mask", (LENGTH,), "bool"),
    ]
    inputs, _ = again.samples()
    assert list(inputs) == ["ids", "mask"]
    for name, array in texts().items():
        np.testing.assert_array_equal(inputs[name], array[:12])
    told = describe(again)
    assert [spec["name"] for spec in told["inputs"]] == ["ids", "mask"] and told["input"] == told["inputs"][0]
    assert told["cuts"][0]["plain_bytes"] == LENGTH * 9 > told["cuts"][0]["bytes"]


class Fusion(nn.Module):
    """A picture and a few numbers that join it late; an inner tensor would like to be called as an input is."""

    def __init__(self):
        super().__init__()
        self.conv, self.more = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.side, self.head, self.last = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(8, 2)

    def forward(self, relu, conv2d):
        x = torch.relu(self.conv(relu))
        first = self.head(x.mean((2, 3)))
        y = torch.relu(self.more(x)).mean((2, 3))
        return first, self.last(torch.cat([y, torch.relu(self.side(conv2d))], 1))


def test_pixels_and_numbers_that_join_late(tmp_path):
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    inputs = {
        "relu": rng.integers(0, 256, (30, 1, 16, 16), dtype=np.uint8),
        "conv2d": rng.standard_normal((30, 3)).astype(np.float32),
    }
    module = Fusion().eval()
    path = tmp_path / "f.hasten"
    package = build_package(module, inputs, rng.integers(0, 2, 30), name="f", exit_names=["a", "b"], path=path)
    assert verify(package).max_error < 1e-4
    with torch.no_grad():
        wanted = module(torch.from_numpy(inputs["relu"][:1]).float() / 255, torch.from_numpy(inputs["conv2d"][:1]))
    np.testing.assert_allclose(Executor(package).finish(0, 2, frame_of(inputs, 0)), wanted[1][0], atol=1e-5)
    assert "conv2d" in [tensor.name for tensor in package.manifest.cuts[1].tensors], "it still has to cross"


def test_an_onnx_file_with_two_inputs_in_any_order(tmp_path):
    graph = onnx.parser.parse_graph(
        "g (float[N, 4] a, int64[N, 4] b) => (float[N, 4] early, float[N, 4] late)"
        " { c = Cast<to=1>(b) \n early = Add(a, c) \n d = Sigmoid(early) \n e = MatMul(d, w) \n f = Relu(e)"
        " \n late = MatMul(f, w) }"
    )
    weight = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "two.onnx",
    )
    module = GraphModule(read_onnx(tmp_path / "two.onnx"))
    inputs = {"b": np.arange(40).reshape(10, 4), "a": np.ones((10, 4), np.float32)}
    common = {"name": "two", "exit_names": ["x", "y"], "path": tmp_path / "two.hasten"}
    package = build_package(module, inputs, np.zeros(10, int), **common)
    assert [spec.name for spec in package.manifest.inputs] == ["a", "b"]
    np.testing.assert_allclose(Executor(package).finish(0, 1, [inputs["a"][1:2], inputs["b"][1:2]]), [5, 6, 7, 8])
    with pytest.raises(InputError, match=r"inputs: got \['a', 'c'\], expected those of the graph, a, b"):
        build_package(module, {"a": inputs["a"], "c": inputs["b"]}, np.zeros(10, int), **common)


def test_a_dynamic_axis_of_any_input_is_refused_by_name(tmp_path):
    graph = onnx.parser.parse_graph("g (float[N, 4] a, float[N, words] b) => (float[N, 4] y) { y = Add(a, b) }")
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "d.onnx",
    )
    with pytest.raises(InputError, match="dynamic axis: got 'words', expected a fixed size of axis 1 of b"):
        read_onnx(tmp_path / "d.onnx")


IDS, MASK = texts(4).values()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "inputs: got 0, expected 1 to 8 inputs"),
        ({"ids": IDS, "mask": MASK[:3]}, r"inputs: mask: got \(3, 12\), expected arrays .* the same N"),
        ({"ids": IDS, "mask": MASK.tolist()}, "inputs: mask: got 'list', expected a numpy array"),
        (
            {"ids": IDS, "mask": np.full((4, 12), np.nan)},
            "inputs: mask: got 'float64', expected uint8, int32, .*finite",
        ),
        ({"ids": IDS, "mask": MASK.astype(np.complex64)}, "inputs: mask: got 'complex64'"),
        ({"ids": IDS, 7: MASK}, "inputs: got 7, expected 1 to 200 characters"),
        ({"ids": IDS, "other": MASK}, "a module that runs .*other"),
        ({"ids": IDS}, "a module that runs .*mask"),
        (IDS, "a module that runs .*mask"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(tmp_path, inputs, said):
    with pytest.raises(InputError, match=said):
        build_package(
            make_reader(), inputs, np.zeros(4, int), name="r", exit_names=["a", "b"], path=tmp_path / "r.hasten"
        )
    assert not list(tmp_path.iterdir())
