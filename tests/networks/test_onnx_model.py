import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.build import BuildOptions, build
from hasten.networks.prepare import Prepare
from hasten.networks.train import TrainSettings
from hasten.split.executor import Executor
from hasten.split.verify import verify

RNG = np.random.default_rng(0)
SETTINGS = TrainSettings(epochs=8, batch=16, seed=1)


class Net(nn.Module):
    """Answers whether the upper half of a picture is the brighter one; ``outputs`` chooses what it gives."""

    def __init__(self, outputs):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 2, 1)
        self.early, self.late, self.outputs = nn.Linear(8, 2), nn.Linear(32, 2), outputs

    def forward(self, x):
        features = torch.relu(self.norm(self.first(x)))
        late = self.late(torch.relu(self.second(features)).flatten(1))
        return self.outputs(features, self.early(features.mean((2, 3))), late)


def halves(count):
    y = RNG.integers(0, 2, count)
    x = RNG.integers(0, 120, (count, 1, 8, 8))
    x[y == 1, :, :4] += 100
    x[y == 0, :, 4:] += 100
    return x.astype(np.uint8), y


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data as a folder, and a trained network's files."""
    place = tmp_path_factory.mktemp("onnx")
    (x, y), (test_x, test_y) = halves(200), halves(60)
    np.savez(place / "data.npz", x_train=x, y_train=y, x_test=test_x, y_test=test_y)
    np.savez(place / "unit.npz", x_train=x / np.float32(255), y_train=y, x_test=test_x / np.float32(255), y_test=test_y)
    torch.manual_seed(0)
    net = Net(lambda features, early, late: (early, late))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    inputs, labels = torch.from_numpy(x) / 255, torch.from_numpy(y)
    for _ in range(60):
        optimizer.zero_grad()
        sum(nn.functional.cross_entropy(logits, labels) for logits in net(inputs)).backward()
        optimizer.step()
    net.eval()
    save(net, place / "exits.onnx", ["early", "late"])
    net.outputs = lambda features, early, late: (features, late)
    save(net, place / "plain.onnx", ["features", "late"])
    return place


def save(net, path, names, **options):
    torch.onnx.export(
        net, (torch.rand(1, 1, 8, 8),), path, dynamo=True, verbose=False,
        input_names=["picture"], output_names=names, **{"external_data": False, **options},
    )  # fmt: skip


def from_file(path, x, names):
    session = ort.InferenceSession(str(path))
    return [session.run(names, {"picture": frame[None]}) for frame in x]


@pytest.mark.parametrize("exits", [[], ["early"], ["late", "early"]])
def test_outputs_of_a_file_are_exits_that_are_trained_already(place, exits, tmp_path):
    built = build(str(place / "exits.onnx"), exits, str(place / "unit.npz"), tmp_path / "p.hasten", SETTINGS)
    manifest = built.package.manifest
    assert [exit_.name for exit_ in manifest.exits] == ["early", "final"] and manifest.name == "exits"
    assert built.fitted.trained == "none" and built.fitted.before == built.fitted.after > 0.9
    x = np.load(place / "unit.npz")["x_test"][:4]
    executor = Executor(built.package)
    for frame, wanted in zip(x, from_file(place / "exits.onnx", x, ["early", "late"]), strict=True):
        for number, logits in enumerate(wanted, start=1):
            np.testing.assert_allclose(executor.finish(0, number, [frame[None]]), logits[0], rtol=1e-4, atol=1e-5)
    assert verify(built.package).max_error < 1e-4


def test_other_tensors_get_heads_trained_on_what_the_file_computes(place, tmp_path):
    notes = []
    built = build(
        str(place / "plain.onnx"), ["features"], str(place / "unit.npz"), tmp_path / "p.hasten", SETTINGS,
        on_note=notes.append,
    )  # fmt: skip
    early, final = built.package.manifest.exits
    assert built.fitted.trained == "heads" and early.name == "features" and early.accuracy > 0.85
    assert built.fitted.before == built.fitted.after
    x = np.load(place / "unit.npz")["x_test"][:4]
    for frame, wanted in zip(x, from_file(place / "plain.onnx", x, ["late"]), strict=True):
        found = Executor(built.package).finish(0, 2, [frame[None]])
        np.testing.assert_allclose(found, wanted[0][0], rtol=1e-4, atol=1e-5)
    assert final.accuracy > 0.9 and verify(built.package).max_error < 1e-4


def test_raw_frames_and_their_normalisation_become_part_of_the_graph(place, tmp_path):
    torch.manual_seed(0)
    net = Net(lambda features, early, late: (early, late)).eval()
    save(net, tmp_path / "n.onnx", ["early", "late"])
    options = BuildOptions(prepare=Prepare([0.4], [0.2]), train="none")
    built = build(str(tmp_path / "n.onnx"), [], str(place / "data.npz"), tmp_path / "p.hasten", options=options)
    assert built.package.manifest.input.dtype == "uint8"
    frame = np.load(place / "data.npz")["x_test"][:1]
    with torch.no_grad():
        wanted = net((torch.from_numpy(frame) / 255 - 0.4) / 0.2)[1][0]
    np.testing.assert_allclose(Executor(built.package).finish(0, 2, [frame]), wanted, rtol=1e-4, atol=1e-5)


def test_weights_beside_the_file_and_a_dynamic_batch_are_taken(place, tmp_path):
    net = Net(lambda features, early, late: (early, late)).eval()
    batch = {"x": {0: torch.export.Dim("batch")}}
    save(net, tmp_path / "big.onnx", ["early", "late"], external_data=True, dynamic_shapes=batch)
    assert (tmp_path / "big.onnx.data").is_file()
    options = BuildOptions(train="none")
    built = build(str(tmp_path / "big.onnx"), [], str(place / "data.npz"), tmp_path / "p.hasten", options=options)
    assert built.package.manifest.input.shape == (1, 8, 8)


def test_other_outputs_than_logits(place, tmp_path):
    net = Net(lambda features, early, late: (features.mean((2, 3)), late.softmax(1)[:, :, None])).eval()
    save(net, tmp_path / "n.onnx", ["mean", "shares"])
    y = np.zeros((40, 2, 1), np.float32)
    np.savez(tmp_path / "d.npz", x=halves(40)[0], y=y + RNG.random(y.shape))

    def near(outputs, target):
        return float(np.clip(1 - np.abs(next(iter(outputs.values())).mean() - target.mean()), 0, 1))

    built = build(
        str(tmp_path / "n.onnx"), [], str(tmp_path / "d.npz"), tmp_path / "p.hasten", options=BuildOptions(metric=near)
    )
    assert [built.package.manifest.outputs(n)[0].name for n in (1, 2)] == ["logits", "output"]
    assert built.package.manifest.metric == "near" and built.package.manifest.classes == 0


@pytest.mark.parametrize(
    ("file", "exits", "data", "options", "message"),
    [
        ("exits.onnx", ["erly"], "data", {}, "tensor: got 'erly', expected a tensor of the graph, for example early"),
        ("exits.onnx", [], "data", {"train": "all"}, "the weights of an ONNX file are not trained"),
        ("plain.onnx", ["features"], "data", {"train": "none"}, "heads: features of another shape"),
        ("exits.onnx", ["auto:2"], "data", {}, "--exits auto:N"),
        ("none.onnx", [], "data", {}, "an ONNX model"),
        ("data.npz.onnx", [], "data", {}, "an ONNX model"),
        ("exits.onnx", [], "wide", {}, r"uint8 \(1, 9, 9\), expected float32 \(1, 8, 8\)|got 'uint8 \(1, 9, 9\)'"),
        ("dynamic.onnx", [], "data", {}, "dynamic axis: got 'side', expected a fixed size of axis 2 of picture"),
        ("two.onnx", [], "data", {}, r"inputs: got \['x'\], expected those of the graph, a, b"),
    ],
)
def test_what_cannot_be_built_is_named_before_anything_is_trained(place, tmp_path, file, exits, data, options, message):
    (place / "data.npz.onnx").write_bytes(b"no model")
    np.savez(place / "wide.npz", x=np.zeros((20, 1, 9, 9), np.uint8), y=np.arange(20) % 2)
    graph = onnx.parser.parse_graph("g (float[N, 4, side] picture) => (float[N, 4, side] y) { y = Relu(picture) }")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), place / "dynamic.onnx")
    graph = onnx.parser.parse_graph("g (float[1, 4] a, float[1, 4] b) => (float[1, 4] y) { y = Add(a, b) }")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), place / "two.onnx")
    said = []
    with pytest.raises(InputError, match=message):
        build(
            str(place / file), exits, str(place / f"{data}.npz"), tmp_path / "p.hasten", SETTINGS,
            progress=lambda what, done: said.append(what), options=BuildOptions(**options),
        )  # fmt: skip
    assert not any(what.startswith("training") for what in said) and not list(tmp_path.iterdir())
