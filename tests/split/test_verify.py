from __future__ import annotations

import io
import json

import numpy as np
import onnx
import pytest
from rich.console import Console

from hasten.cli.tables import package_tables
from hasten.split.inspect import describe
from hasten.split.package import Package
from hasten.split.verify import TOLERANCE, VerificationError, random_inputs_like, relative_error, verify


def with_member(package: Package, name: str, data: bytes) -> Package:
    """The same package with one member exchanged, hashes set aside."""
    return Package(package.path, package.digest, package.manifest, {**package._members, name: data})


def test_a_good_package_passes_for_every_option(package):
    report = verify(package)
    assert [(check.exit, check.partition) for check in report.options] == package.manifest.options()
    assert report.max_error <= 1e-5 < TOLERANCE
    assert report.worst_codec_agreement >= 0.75
    for check in report.options:
        sends = check.partition < package.manifest.exits[check.exit - 1].after_block
        assert (check.codec_agreement is not None) == sends
    assert report.options[0].codec_agreement == 1.0, "a raw frame is lossless"


def test_a_wrong_segment_is_refused_by_exit_and_partition(package):
    model = onnx.ModelProto.FromString(package.graph("finish", 3, 2))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Identity"
            break
    wrong = with_member(package, "graphs/finish_03_02.onnx", model.SerializeToString())
    with pytest.raises(VerificationError, match="exit 2, partition 3"):
        verify(wrong)


def test_a_segment_that_uses_another_blocks_weight_is_refused(package):
    model = onnx.ModelProto.FromString(package.graph("prefix", 2))
    first, second = [item for item in model.graph.initializer if list(item.dims) == [8, 8, 3, 3]]
    nodes = [node for node in model.graph.node if first.name in node.input]
    nodes[0].input[1] = second.name
    model.graph.initializer.remove(first)
    wrong = with_member(package, "graphs/prefix_02.onnx", model.SerializeToString())
    with pytest.raises(VerificationError, match="partition 2"):
        verify(wrong)


def test_relative_error():
    zero = np.zeros(3, np.float32)
    assert relative_error(zero, zero) == 0
    assert relative_error(zero + 0.5, zero) == 0.5
    assert relative_error(np.float32([100, 1, 0]), np.float32([100, 0, 0])) == pytest.approx(0.01)
    assert relative_error(np.float32([np.nan, 0, 0]), zero) == float("inf")
    assert relative_error(np.zeros(2, np.float32), zero) == float("inf")


def test_random_inputs_fit_and_repeat(package):
    specs = package.manifest.inputs
    first, again = (random_inputs_like(specs, package.samples()[0], 2, seed=5) for _ in range(2))
    for (one,), (other,) in zip(first, again, strict=True):
        assert one.shape == (1, *specs[0].shape)
        np.testing.assert_array_equal(one, other)


def test_describe_is_json_and_complete(package):
    told = json.loads(json.dumps(describe(package)))
    assert [cut["bytes"] for cut in told["cuts"]] == [cut.payload_bytes for cut in package.manifest.cuts]
    assert [exit_["after_block"] for exit_ in told["exits"]] == [head.after_block for head in package.profile.exits]
    assert told["options"] == len(package.manifest.options())
    assert told["digest"] == package.digest


def test_a_network_with_randomness_in_it_is_noticed_without_torch(package):
    model = onnx.ModelProto.FromString(package.graph("finish", 0, 2))
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "steady"
    model.graph.node.append(onnx.helper.make_node("RandomNormalLike", ["steady"], ["noise"]))
    model.graph.node.append(onnx.helper.make_node("Add", ["steady", "noise"], ["logits"]))
    wrong = with_member(package, "graphs/finish_00_02.onnx", model.SerializeToString())
    with pytest.raises(VerificationError, match=r"exit 2: got outputs that differ by .* from call to call"):
        verify(wrong, samples=2, random_inputs=1)


def test_accuracy_is_shown_for_every_exit_and_partition(package):
    console = Console(width=120, record=True, file=io.StringIO())
    for table in package_tables(package):
        console.print(table)
    shown = console.export_text()
    assert "accuracy by partition" in shown
    for exit_ in package.manifest.exits:
        assert all(f"{accuracy:.3f}" in shown for accuracy in exit_.accuracy_by_partition)
