from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import HastenError, InputError
from hasten.networks import build as building
from hasten.networks.build import build, build_default
from hasten.networks.calibrate import exit_accuracy
from hasten.networks.data import digits
from hasten.networks.train import TrainSettings
from hasten.split.executor import Executor
from hasten.split.package import open_package

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = TrainSettings(epochs=1, batch=16, seed=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of a few cluttered digits, as a user's own data."""
    place, small = tmp_path_factory.mktemp("pictures"), digits(0, train=128, val=1, test=48)
    np.savez(place / "train.npz", x=small.train_x, y=small.train_y)
    np.savez(place / "test.npz", x=small.test_x, y=small.test_y)
    return place


@pytest.fixture(scope="module")
def own_package(tmp_path_factory, pictures):
    """The whole build of the example's plain model, and what its progress said."""
    path, said = tmp_path_factory.mktemp("own") / "own.hasten", []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLES)
        exits = ["features.5", "features.2", "features.8"]
        package = build("own_model:make_net", exits, str(pictures), path, TINY, lambda *step: said.append(step))
    return package, said


def test_a_plain_model_becomes_a_package(own_package):
    package, _ = own_package
    assert [exit_.name for exit_ in package.manifest.exits] == ["features.2", "features.5", "features.8", "final"]
    assert package.manifest.input.shape == (1, 64, 64) and package.manifest.input.dtype == "uint8"
    assert package.manifest.name == "make_net" and package.manifest.classes == 10
    assert open_package(package.path).digest == package.digest


def test_the_package_carries_every_test_input(own_package, pictures):
    inputs, labels = own_package[0].samples()
    with np.load(pictures / "test.npz") as stored:
        np.testing.assert_array_equal(inputs, stored["x"])
        np.testing.assert_array_equal(labels, stored["y"])


def test_progress_covers_training_and_packing(own_package):
    whats, fractions = zip(*own_package[1], strict=True)
    assert whats[0].startswith("checking") and not whats[-1].startswith("training")
    assert any(what.startswith("training") for what in whats)
    assert min(fractions) == 0.0 and max(fractions) <= 1.0


def test_equal_seeds_build_the_same_network(own_package, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    exits = ["features.2", "features.5", "features.8"]
    again = build("own_model:make_net", exits, str(pictures), tmp_path / "again.hasten", TINY)
    frame = own_package[0].samples()[0][:1]
    for exit_ in (1, 4):
        np.testing.assert_array_equal(
            Executor(again).finish(0, exit_, [frame]), Executor(own_package[0]).finish(0, exit_, [frame])
        )


class TwoExits(nn.Module):
    """A user's model that has its exits already; float inputs."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
        self.early, self.late = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.early(x), self.late(torch.relu(self.second(x)))


@pytest.fixture
def small_data(tmp_path):
    """Whether the first of six features is positive; a folder as users have it."""
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    return tmp_path


def test_what_cannot_be_exported_is_refused_before_training(small_data, monkeypatch):
    class Branching(TwoExits):
        def forward(self, x):
            return super().forward(x if x.mean() > 0 else -x)

    monkeypatch.setattr(building, "load_network", lambda name: Branching())
    said = []
    with pytest.raises(InputError, match="depends on the data"):
        build("m:f", [], str(small_data), small_data / "p.hasten", TINY, lambda what, done: said.append(what))
    assert not any(what.startswith("training") for what in said)


def test_what_was_trained_is_kept_when_something_fails_later(small_data, monkeypatch):
    def fail(*args, **settings):
        raise HastenError("no space left")

    network = TwoExits()
    monkeypatch.setattr(building, "load_network", lambda name: network)
    monkeypatch.setattr(building, "build_package", fail)
    kept = small_data / "p.weights.pt"
    with pytest.raises(HastenError, match=f"no space left; the trained weights are kept in {kept}"):
        build("m:f", [], str(small_data), small_data / "p.hasten", TINY)
    weights = torch.load(kept, weights_only=True)
    torch.testing.assert_close(weights["module.first.weight"], network.first.weight.detach())


def test_training_that_harms_given_weights_is_told(small_data, monkeypatch):
    network = TwoExits()
    with torch.no_grad():  # knows the answer
        for weight in network.parameters():
            weight.zero_()
        network.first.weight[:2, 0] = torch.tensor([1.0, -1.0])
        network.second.weight[0, 0] = network.second.weight[1, 1] = 1.0
        network.late.weight[1, 0] = network.late.weight[0, 1] = 1.0
    monkeypatch.setattr(building, "load_network", lambda name: network)
    notes = []
    destructive = TrainSettings(epochs=1, batch=16, peak_lr=30.0, seed=3)
    build("m:f", [], str(small_data), small_data / "p.hasten", destructive, on_note=notes.append)
    (note,) = [note for note in notes if "before training" in note]
    assert note.startswith("final exit on validation data: 1.000 right before training")
    assert "training made it worse" in note


def test_a_model_with_its_own_exits_and_float_data(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    monkeypatch.setattr(building, "load_network", lambda name: TwoExits())
    package = build("m:two", [], str(tmp_path), tmp_path / "two.hasten", TINY)
    assert [exit_.name for exit_ in package.manifest.exits] == ["exit1", "exit2"]
    assert package.manifest.input.dtype == "float32"


@pytest.mark.parametrize(
    ("factory", "exits", "message"),
    [
        ("own_model:make_net", ["features.33"], "got 'features.33', expected one of features.3"),
        ("own_model:make_net", [], "name layers to attach exits to"),
        ("own_model:make", ["features.2"], "a function of the module"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_file(pictures, tmp_path, monkeypatch, factory, exits, message):
    monkeypatch.chdir(EXAMPLES)
    with pytest.raises(InputError, match=message):
        build(factory, exits, str(pictures), tmp_path / "x.hasten", TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cache(tmp_path, monkeypatch, own_package):
    """An empty cache; nothing is trained or packed, but noted: (what, seed or name, number of pictures)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = []

    def train(network, inputs, labels, settings, progress):
        done.append(("trained", settings.seed, len(labels)))

    def pack(module, inputs, labels, *, name, path, **_others):
        done.append(("packed", name, len(labels)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(own_package[0].path.read_bytes())
        return open_package(path)

    monkeypatch.setattr(building, "train_exits", train)
    monkeypatch.setattr(building, "build_package", pack)
    monkeypatch.setattr(building, "digits", lambda seed, *counts: digits(seed, *(count // 128 for count in counts)))
    return done


PACKED = ("packed", "digits-resnet", building.QUICK_TEST // 128)
TRAINED = ("trained", 1, building.QUICK_TRAIN // 128)


def test_the_default_network_is_built_once_and_its_weights_ship(cache, tmp_path):
    first = build_default("digits", quick=True)
    again = build_default("digits", tmp_path / "out" / "copy.hasten", quick=True)
    assert cache == [PACKED]
    assert first.path.parent == tmp_path / "cache" / "hasten"
    assert again.path == tmp_path / "out" / "copy.hasten" and again.digest == first.digest
    assert [path.name for path in again.path.parent.iterdir()] == ["copy.hasten"]


def test_another_seed_is_trained_and_damaged_files_are_made_anew(cache):
    first = build_default("digits", quick=True, seed=1)
    first.path.write_bytes(first.path.read_bytes()[:100])
    build_default("digits", quick=True, seed=1)
    assert cache == [TRAINED, PACKED, PACKED], "the weights were kept, so only the package is made again"
    for kept in first.path.parent.iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    build_default("digits", quick=True, seed=1)
    assert cache[3:] == [TRAINED, PACKED]


def test_the_shipped_weights_are_those_of_the_default_network_and_its_exits_rise():
    dataset = digits(0, train=128, val=1, test=400)
    network, module = building._default_network(dataset, TINY, building.SHIPPED_WEIGHTS, None)
    found = exit_accuracy(module, dataset.test_x, dataset.test_y)
    assert len(found) == len(network.exit_names) == 6
    assert found[0] < 0.6 and found[1] > found[0] + 0.2 and found[2] > found[1] + 0.05 and found[5] > 0.93


def test_kept_weights_are_the_trained_ones(cache, tmp_path, monkeypatch):
    dataset = building._default_data("digits", True, 0)
    monkeypatch.setattr(building, "train_exits", lambda network, *_: network.module.classify.bias.data.fill_(3.0))
    first, second = (building._default_network(dataset, TINY, tmp_path / "w.pt", None)[1] for _ in range(2))
    assert len(set(second.temperatures)) > 1 and second.temperatures == first.temperatures
    kept = first.state_dict()
    assert kept.keys() == second.state_dict().keys()
    assert all(torch.equal(value, kept[name]) for name, value in second.state_dict().items())
    assert not second.training


def test_default_data_is_known_by_name(cache, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="one of digits, cifar10"):
        build_default("mnist")
    monkeypatch.setenv("HASTEN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="HASTEN_DATA"):
        build_default("cifar10")


def test_a_target_that_cannot_be_written_is_named(cache, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a writable"):
        build_default("digits", tmp_path / "file" / "x.hasten", quick=True)


def test_settings_for_data():
    assert building.settings_for("cifar10") == TrainSettings(epochs=3)
    assert building.settings_for("some/folder", epochs=9, seed=2) == TrainSettings(epochs=9, seed=2)
