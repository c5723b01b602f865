from __future__ import annotations

import numpy as np
import pytest
import torch

from hasten.core.errors import InputError
from hasten.split.accuracy import codec_change, measure_accuracy
from hasten.split.build import build_package
from hasten.split.codecs.uint8_zstd import Uint8Zstd
from hasten.split.executor import Executor
from hasten.split.graph import plan_cuts
from hasten.split.package import open_package
from hasten.split.segments import Segmenter


def test_accuracies_and_payloads_equal_those_of_the_obvious_loop(exported):
    """Separate fused segments, one sample at a time, against the one-pass measurement."""
    module, _, shape, network = exported("inside")
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((30, *shape)).astype(np.float32)
    with torch.no_grad():
        logits = [answer.numpy() for answer in module(torch.from_numpy(inputs))]
    labels = logits[-1].argmax(1)
    labels[::3] = 0
    segmenter = Segmenter(network, plan_cuts(network, ["a", "b", "c"], 12))
    done: list[float] = []
    found = measure_accuracy(segmenter, inputs, labels, 30, done.append)
    assert done[-1] == 1.0
    assert found.uncoded == pytest.approx([float((answer.argmax(1) == labels).mean()) for answer in logits])
    assert [entries[-1] for entries in found.by_partition] == list(found.uncoded)
    sizes = [len(Uint8Zstd().encode([inputs[i : i + 1]], segmenter.specs(0))) for i in range(30)]
    assert found.payload_bytes[0] == int(np.ceil(np.mean(sizes)))
    for exit_ in (1, 2, 3):
        codec, specs = Uint8Zstd(), segmenter.specs(0)
        coded = np.concatenate([codec.decode(codec.encode([x[None]], specs), specs)[0] for x in inputs])
        with torch.no_grad():
            answers = module(torch.from_numpy(coded))[exit_ - 1].numpy().argmax(1)
        assert found.by_partition[exit_ - 1][0] == pytest.approx(float((answers == labels).mean()))


def test_float_features_make_a_package(make_net, tmp_path):
    module, _, shape = make_net("perceptron")
    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((20, *shape)), rng.integers(0, 5, 20)
    steps = []
    package = build_package(
        module,
        inputs,
        labels,
        name="p",
        exit_names=["a", "b"],
        path=tmp_path / "p.hasten",
        progress=lambda what, done: steps.append((what, done)),
    )
    assert package.manifest.input.dtype == "float32"
    assert open_package(package.path).digest == package.digest
    assert {what for what, _ in steps} == {"export", "accuracy with codec", "verify", "quick profile"}
    assert all(0 <= done <= 1 for _, done in steps)
    assert Executor(package).finish(0, 2, [inputs[:1].astype(np.float32)]).shape == (5,)


FRAMES, LABELS = np.zeros((4, 1, 20, 20), np.uint8), np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("changed", "mention"),
    [
        ({"path": "p.zip"}, "ends in .hasten"),
        ({"inputs": np.zeros(4)}, "inputs"),
        ({"inputs": np.full((4, 3), np.nan)}, "inputs"),
        ({"inputs": np.full((4, 3), "x")}, "inputs"),
        ({"labels": LABELS[:3]}, "labels"),
        ({"labels": LABELS.astype(float)}, "labels"),
    ],
)
def test_data_that_do_not_fit_are_named(tmp_path, changed, mention):
    wanted = {"inputs": FRAMES, "labels": LABELS, "path": "p.hasten", **changed}
    path = tmp_path / wanted.pop("path")
    with pytest.raises(InputError, match=mention):
        build_package(torch.nn.Identity(), **wanted, name="x", exit_names=["a"], path=path)
    assert not path.exists()


def test_a_module_that_does_not_fit_leaves_nothing_behind(make_net, tmp_path):
    module, _, shape = make_net("perceptron")
    inputs = np.zeros((2, *shape), np.float32)
    for labels, names, mention in [
        (np.array([0, 5]), ["a", "b"], "labels: got 5"),
        (np.array([0, 1]), ["a"], "exit_names"),
        (np.array([0, 1]), ["a", "a"], "exit_names"),
    ]:
        with pytest.raises(InputError, match=mention):
            build_package(module, inputs, labels, name="x", exit_names=names, path=tmp_path / "p.hasten")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "mention"),
    [
        (torch.nn.Linear(3, 2), "module: got 'Tensor', expected a tuple of one tensor"),
        (torch.nn.Linear(4, 2), r"module: got 'RuntimeError', expected a module that runs \(mat1"),
    ],
)
def test_a_module_without_exits_or_that_does_not_run_is_named(module, mention, tmp_path):
    inputs, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    with pytest.raises(InputError, match=mention):
        build_package(module, inputs, labels, name="x", exit_names=["a"], path=tmp_path / "p.hasten")


def test_only_effects_of_a_codec_that_the_inputs_can_tell_from_none_count():
    """1,000 inputs, three partitions of one exit: harmless, ruined, and as good as none."""
    right = np.zeros((1000, 1, 1), dtype=bool)
    right[:948] = True
    coded = np.repeat(right, 3, axis=1)
    coded[:3, 0], coded[-1:, 0] = False, True  # three answers lost, one gained: chance
    coded[:320, 1], coded[-6:, 1] = False, True
    assert codec_change(right, coded)[:, 0] == pytest.approx([0.0, -0.314, 0.0])
    assert codec_change(right[:, 0], coded[:, 1]).shape == (1,)
