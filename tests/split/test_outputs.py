"""Exits that give something else than logits: maps of classes, boxes with scores, numbers."""

import json

import numpy as np
import pytest
import torch
from tiny_detector import FRAMES, Detector, build_detector, make_detector
from tiny_maps import Segmenter

from hasten.core.errors import InputError
from hasten.split.build import build_package
from hasten.split.executor import Executor
from hasten.split.inspect import describe
from hasten.split.manifest import PackageManifest
from hasten.split.package import open_package
from hasten.split.verify import verify


@pytest.fixture(scope="module")
def modules():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Segmenter().eval(), make_detector()


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return build_detector(tmp_path_factory.mktemp("d") / "d.hasten")


def test_maps_are_measured_by_their_metric(modules, tmp_path):
    module, _ = modules
    with torch.no_grad():
        wanted = module(torch.from_numpy(FRAMES) / 255)
    targets = wanted[1].argmax(1).numpy()
    package = build_package(
        module, FRAMES, targets, name="s", exit_names=["early", "late"], metric="mean_iou", path=tmp_path / "s.hasten"
    )
    manifest = package.manifest
    assert manifest.classes == 0 and manifest.metric == "mean_iou"
    assert [(spec.name, spec.shape) for spec in manifest.outputs(1)] == [("output", (3, 16, 16))]
    early, late = manifest.exits
    assert late.accuracy == 1.0 and early.accuracy < 0.9
    assert manifest.label.shape == (16, 16) and manifest.label.dtype == "int64"
    np.testing.assert_array_equal(package.samples()[1], targets)
    found = Executor(package).outputs(1, 2, Executor(package).prefix(1, [FRAMES[:1]]))
    np.testing.assert_allclose(found["output"], wanted[1][0], rtol=1e-4, atol=1e-5)
    assert verify(package).max_error < 1e-4


def test_several_outputs_have_names_shapes_and_types(detector, modules):
    specs = [(spec.name, spec.shape, spec.dtype) for spec in detector.manifest.outputs(2)]
    assert specs == [
        ("boxes", (16, 4), "float32"), ("scores", (16,), "float32"), ("kind", (16,), "int64"), ("valid", (16,), "bool"),
    ]  # fmt: skip
    assert detector.manifest.outputs(1)[0].shape == (64, 4)
    assert detector.manifest.label.dtype == "bool" and describe(detector)["metric"] == "found_any"
    with torch.no_grad():
        wanted = modules[1](torch.from_numpy(FRAMES[:1]) / 255)[0]
    found = Executor(detector).outputs(0, 1, [FRAMES[:1]])
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name], tensor[0].numpy(), rtol=1e-4, atol=1e-5)
    report = verify(open_package(detector.path))
    assert report.max_error < 1e-4 and all(option.codec_agreement is None for option in report.options)


def test_class_names_are_kept(package, modules, tmp_path):
    assert package.manifest.class_names == () and package.manifest.outputs(1)[0].shape == (5,)
    from tiny_package import Tiny

    labels, names = np.arange(12) % 5, ("cat", "dog", "bird", "fish", "none of these")
    common = {"name": "t", "exit_names": ["a", "b"], "path": tmp_path / "t.hasten"}
    frames = np.zeros((12, 1, 32, 32), np.uint8)
    built = build_package(Tiny(), frames, labels, class_names=names, **common)
    assert built.manifest.class_names == names and built.manifest.classes == 5
    with pytest.raises(InputError, match="class_names: got 2, expected a list of 5 names"):
        build_package(Tiny(), frames, labels, class_names=names[:2], **common)


def test_manifests_of_before_outputs_had_names_are_read(package):
    old = package.manifest.model_dump(mode="json", by_alias=True)
    for field in ("class_names", "metric", "target"):
        del old[field]
    for exit_ in old["exits"]:
        del exit_["outputs"]
    manifest = PackageManifest.model_validate(json.loads(json.dumps(old)))
    assert [manifest.outputs(number) for number in (1, 2, 3)] == [package.manifest.outputs(1)] * 3
    assert manifest.label == package.manifest.label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, None),
        ({"classes": 4}, r"logits \(4,\), as classes says"),
        ({"class_names": ["a"]}, "class_names to have 5 entries, not 1"),
    ],
)
def test_manifests_that_contradict_themselves_are_refused(package, change, message):
    data = {**package.manifest.model_dump(mode="json", by_alias=True), **change}
    if message is None:
        PackageManifest.model_validate(data)
        data["exits"][0]["outputs"] = []
        message = "at least one tensor"
    with pytest.raises(ValueError, match=message):
        PackageManifest.model_validate(data)


class Odd(Detector):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.found(x), self.found(torch.relu(self.second(x)))


@pytest.mark.parametrize(
    ("found", "metric", "message"),
    [
        (lambda x: x, "accuracy", r"logits of the same shape \(1, classes\) from every exit, or another metric"),
        (lambda x: (x, x), "mse", "exit 1: got 'tuple', expected a tensor, or a dictionary of tensors"),
        (lambda x: {"a": x, "b": [x]}, "mse", r"exit 1: got \['a', 'b'\]"),
        (lambda x: {"a": x.double()}, "mse", r"output a of exit e1: got 'torch.float64"),
        (lambda x: {"a": x.sum()}, "mse", "with the batch"),
        (
            lambda x: {"a": x.flatten(1)[:, x.flatten(1)[0] > 0]},
            "mse",
            "output a of exit 1: got 'a shape that depends on the data', expected a fixed shape: pad it",
        ),
        (lambda x: {"a\n": x}, "mse", "without control characters"),
    ],
)
def test_what_exits_may_not_give_is_named(found, metric, message, tmp_path):
    labels = np.zeros(12, np.int64)
    with pytest.raises(InputError, match=message):
        build_package(
            Odd(found), FRAMES, labels, name="o", exit_names=["e1", "e2"], metric=metric, path=tmp_path / "o.hasten"
        )
