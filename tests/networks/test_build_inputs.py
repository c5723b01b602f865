"""Several inputs all the way: built by the command line, trained, proposed, verified, profiled, run."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from two_inputs import load_scenes, scenes, trained_scene
from typer.testing import CliRunner

import hasten as hs
from hasten.cli.app import app
from hasten.core.errors import InputError
from hasten.fidelity.profiling import measure_to_file
from hasten.networks.build import BuildOptions, build
from hasten.networks.data import own_dataset
from hasten.networks.fit import fit
from hasten.networks.prepare import Prepare
from hasten.networks.train import TrainSettings
from hasten.split.executor import Executor
from hasten.split.inputs import frame_of
from hasten.split.onnx_file import read_onnx
from hasten.split.package import open_package

SETTINGS = TrainSettings(epochs=8, batch=16)


def ran(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def module_answers(module, inputs):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(inputs["shade"]) / 255, torch.from_numpy(inputs["numbers"]))


@pytest.fixture(scope="module")
def trained_by_heads(tmp_path_factory):
    """What ``hasten build`` makes of a trained network with two inputs, and what it says."""
    path = tmp_path_factory.mktemp("scene") / "scene.hasten"
    ran(
        "build", "two_inputs:trained_scene", "--exits", "picture.2,joined", "--data", "two_inputs:load_scenes",
        "--train", "heads", "--epochs", "8", "-o", path, "--json", path.with_suffix(".json"),
    )  # fmt: skip
    return open_package(path), json.loads(path.with_suffix(".json").read_text())


def test_heads_are_trained_and_the_final_exit_answers_as_the_model_does(trained_by_heads):
    package, told = trained_by_heads
    assert told["trained"] == "heads" and told["final_exit"]["before"] == told["final_exit"]["after"] > 0.9
    shade, joined, final = (exit_.accuracy for exit_ in package.manifest.exits)
    assert 0.4 < shade < 0.7 and joined > 0.9 and final > 0.9, "the picture alone tells half of the answer"
    inputs, _ = scenes(6, 1)
    wanted = module_answers(trained_scene(), inputs)
    executor = Executor(package)
    found = [executor.finish(0, 3, frame_of(inputs, index)) for index in range(6)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_it_is_verified_profiled_and_run_by_the_command_line(trained_by_heads, tmp_path):
    path = trained_by_heads[0].path
    ran("verify", path)
    measure_to_file(open_package(path), "edge", tmp_path / "p.json", repeats=3, gap_ms=0.0)
    inputs, labels = scenes(8, 1)
    np.savez(tmp_path / "frames.npz", y=labels, **inputs)
    with hs.Edge([path], port=0) as edge:
        ran(
            "device", path, "--edge", edge.address, "--deadline-ms", "60000", "--scheduler", "fixed:3,2", "--tasks", "6",
            "--arrivals", "periodic:50", "--source", tmp_path / "frames.npz", "--answers", tmp_path / "a.jsonl",
            "--profile", tmp_path / "p.json",
        )  # fmt: skip
    answers = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(answer["outcome"], answer["ran_on"]) for answer in answers] == [("on_time", "split")] * 6


@pytest.mark.parametrize(
    ("factory", "exits", "train", "least"), [("make_scene", ["joined"], "all", 0.5), ("trained_exits", [], "none", 0.9)]
)
def test_everything_and_nothing_is_trained(tmp_path, factory, exits, train, least):
    path = tmp_path / "scene.hasten"
    built = build(f"two_inputs:{factory}", exits, "two_inputs:load_scenes", path, SETTINGS,
                  options=BuildOptions(train=train))  # fmt: skip
    assert built.fitted.trained == train and built.package.manifest.exits[-1].accuracy > least
    assert [spec.name for spec in built.package.manifest.inputs] == ["shade", "numbers"]


def test_exits_are_proposed_where_one_tensor_crosses_and_probed_with_labels(tmp_path):
    behind = {"joined.0", "joined", "more.0", "more"}  # both inputs cross before
    example = {name: torch.from_numpy(array) for name, array in scenes(2, 0)[0].items()}
    assert set(hs.attach_exits(trained_scene(), "auto:2", example=example).exit_names) <= behind | {"final"}
    path = tmp_path / "auto.hasten"
    built = build("two_inputs:trained_scene", ["auto:1"], "two_inputs:load_scenes", path, SETTINGS)
    early, final = built.package.manifest.exits
    assert early.name in behind and min(early.accuracy, final.accuracy) > 0.9


def test_build_package_trains_heads_of_several_inputs(tmp_path):
    inputs, labels = scenes(60, 1)
    train = scenes(480, 0)
    network = hs.attach_exits(trained_scene(), ["joined"], example={n: torch.from_numpy(a) for n, a in inputs.items()})
    common = {"name": "scene", "path": tmp_path / "scene.hasten", "train": "heads", "settings": SETTINGS}
    for data in ({**train[0], "label": train[1]}, ((train[0]["shade"], train[0]["numbers"]), train[1])):
        package = hs.build_package(network, inputs, labels, train_data=data, **common)
        assert package.manifest.exits[0].accuracy > 0.8


def test_heads_learn_from_the_final_exit_without_labels():
    inputs, _ = scenes(480, 0)
    example = {name: torch.from_numpy(array) for name, array in inputs.items()}
    network = hs.attach_exits(trained_scene(), ["joined"], example=example)
    dataset = own_dataset({"x": inputs})
    fitted = fit(network, dataset, settings=SETTINGS)
    assert fitted.trained == "heads" and fitted.before is None
    with torch.no_grad():
        early, final = fitted.module(**example)
    assert (early.argmax(1) == final.argmax(1)).float().mean() > 0.8


def test_a_bottleneck_behind_a_layer_of_a_network_with_two_inputs(tmp_path):
    said = []
    built = build(
        "two_inputs:trained_scene", ["picture.2"], "two_inputs:load_scenes", tmp_path / "narrow.hasten", SETTINGS,
        on_note=said.append, options=BuildOptions(bottleneck="joined:3"),
    )  # fmt: skip
    assert any("bottleneck joined:3: the model is right in" in note for note in said)
    assert any(cut.tensors[0].shape == (3,) for cut in built.package.manifest.cuts)


def test_normalisation_is_for_the_pictures_among_the_inputs(tmp_path):
    prepare = Prepare([0.5], [0.25])
    inputs, _ = scenes(4, 0)
    shade, numbers = (torch.from_numpy(array) for array in inputs.values())
    got = prepare.batch({"shade": shade, "numbers": numbers})
    torch.testing.assert_close(got["shade"], (shade / 255 - 0.5) / 0.25)
    assert got["numbers"] is numbers
    with pytest.raises(InputError, match=r"inputs: got .*numbers.*expected one of frames \(N, 1, H, W\)"):
        prepare.batch({"numbers": numbers, "more": numbers})
    with pytest.raises(InputError, match=r"pictures \(N, C, H, W\) as the one input, not shade uint8\[1, 8, 8\]"):
        build("two_inputs:trained_scene", ["joined"], "two_inputs:load_scenes", tmp_path / "no.hasten",
              TrainSettings(epochs=1, augment=("flip",)), options=BuildOptions(train="heads"))  # fmt: skip


def test_data_that_lack_an_input_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    inputs, labels = scenes(60, 0)
    np.savez(tmp_path / "data.npz", x=inputs["shade"], y=labels)
    with pytest.raises(InputError, match="numbers"):
        build("two_inputs:trained_scene", ["joined"], str(tmp_path / "data.npz"), tmp_path / "no.hasten", SETTINGS)


def test_an_onnx_file_with_two_inputs_gets_heads(tmp_path):
    inputs, _ = scenes(8, 1)
    example = (torch.from_numpy(inputs["shade"][:1]) / 255, torch.from_numpy(inputs["numbers"][:1]))
    torch.onnx.export(
        trained_scene(), example, tmp_path / "scene.onnx", dynamo=True, verbose=False,
        input_names=["shade", "numbers"], output_names=["answer"], external_data=False,
    )  # fmt: skip
    relu = next(node for node in read_onnx(tmp_path / "scene.onnx").proto.graph.node if node.op_type == "Relu")
    data = load_scenes()
    arrays = {f"{name}_{part}": array for part in data for name, array in {**data[part][0], "y": data[part][1]}.items()}
    np.savez(tmp_path / "data.npz", **arrays)
    built = build(
        str(tmp_path / "scene.onnx"), [relu.output[0]], str(tmp_path / "data.npz"), tmp_path / "scene.hasten", SETTINGS
    )
    package = built.package
    assert built.fitted.trained == "heads" and package.manifest.exits[-1].accuracy > 0.9
    assert [(spec.name, spec.dtype) for spec in package.manifest.inputs] == [("shade", "uint8"), ("numbers", "float32")]
    model = onnx.load(str(tmp_path / "scene.onnx"))
    assert [info.name for info in model.graph.input] == ["shade", "numbers"]
