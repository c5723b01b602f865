from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import HastenError, InputError
from hasten.networks import build as building
from hasten.networks.build import BuildOptions, build
from hasten.networks.data import digits
from hasten.networks.fit import Fitted, load_weights
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
        package = build("own_model:make_net", exits, str(pictures), path, TINY, lambda *step: said.append(step)).package
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
    again = build("own_model:make_net", exits, str(pictures), tmp_path / "again.hasten", TINY).package
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


@pytest.fixture
def knowing(monkeypatch):
    """What ``m:f`` makes: a network whose final exit is always right, and whose early one knows nothing."""
    torch.manual_seed(0)
    network = TwoExits()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.first.weight[:2, 0] = torch.tensor([1.0, -1.0])
        network.second.weight[0, 0] = network.second.weight[1, 1] = 1.0
        network.late.weight[1, 0] = network.late.weight[0, 1] = 1.0
    monkeypatch.setattr(building, "load_network", lambda name: network)
    return network


def bits(network, x):
    """The final exit's logits, and every parameter and buffer that it needs."""
    state = {name: value.clone() for name, value in network.state_dict().items() if not name.startswith("early")}
    with torch.no_grad():
        return network(torch.from_numpy(x))[-1], state


def test_by_default_a_model_that_knows_gets_heads_and_stays_as_it_is(small_data, knowing):
    x = np.load(small_data / "test.npz")["x"]
    logits, state = bits(knowing, x)
    built = build("m:f", [], str(small_data), small_data / "p.hasten", replace(TINY, epochs=20))
    assert built.fitted.trained == "heads" and "better than guessing" in built.fitted.why
    again, state_again = bits(knowing, x)
    assert torch.equal(again, logits) and all(torch.equal(value, state_again[name]) for name, value in state.items())
    assert built.fitted.before == built.fitted.after == 1.0
    assert torch.equal(built.fitted.module(torch.from_numpy(x))[-1], logits), "its answers are not scaled either"
    early, final = built.package.manifest.exits
    assert early.accuracy > 0.85 and final.accuracy == 1.0


def test_training_everything_that_knew_something_does_no_harm(small_data, knowing):
    destructive = TrainSettings(epochs=3, batch=16, peak_lr=30.0, seed=3)
    options = BuildOptions(train="all")
    built = build("m:f", [], str(small_data), small_data / "p.hasten", destructive, options=options)
    assert built.fitted.trained == "all" and built.fitted.before == 1.0 and built.fitted.after == 1.0
    assert built.describe()["final_exit"] == {"before": 1.0, "after": 1.0}


def test_harm_is_told():
    notes = []
    building.tell_harm(Fitted(None, "all", "asked for", 1.0, 0.9), notes.append)
    building.tell_harm(Fitted(None, "all", "asked for", 0.9, 0.9), notes.append)
    (note,) = notes
    assert note.startswith("final exit on validation data: 1.000 right before training, 0.900 after it")


def test_nothing_is_trained_where_all_exits_know_or_none_is_asked_for(small_data, knowing):
    with torch.no_grad():
        knowing.early.weight[1, 0] = knowing.early.weight[0, 1] = 1.0
    before = {name: value.clone() for name, value in knowing.state_dict().items()}
    for options, why in ((BuildOptions(), "every exit answers better"), (BuildOptions(train="none"), "asked for")):
        built = build("m:f", [], str(small_data), small_data / "p.hasten", TINY, options=options)
        assert built.fitted.trained == "none" and why in built.fitted.why
        assert built.fitted.module.temperatures == [1.0, 1.0]
    assert all(torch.equal(value, before[name]) for name, value in knowing.state_dict().items())


def test_without_labels_heads_learn_what_the_final_exit_answers(tmp_path, knowing):
    x = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x)
    notes = []
    settings = replace(TINY, epochs=20)
    built = build("m:f", [], str(tmp_path / "mine.npz"), tmp_path / "p.hasten", settings, on_note=notes.append)
    assert built.fitted.trained == "heads" and built.fitted.before is None
    early, final = built.package.manifest.exits
    assert early.accuracy > 0.85 and final.accuracy == 1.0
    assert any("agreement with the final exit" in note for note in notes)
    with pytest.raises(InputError, match="without them only heads"):
        build("m:f", [], str(tmp_path / "mine.npz"), tmp_path / "p.hasten", settings, options=BuildOptions(train="all"))


def test_weights_of_a_file_count_as_given(small_data, monkeypatch):
    monkeypatch.setattr(building, "load_network", lambda name: TwoExits())
    torch.manual_seed(5)
    saved = TwoExits()
    torch.save({"state_dict": saved.state_dict()}, small_data / "w.pt")
    options = BuildOptions(weights=small_data / "w.pt")
    built = build("m:f", [], str(small_data), small_data / "p.hasten", TINY, options=options)
    assert built.fitted.trained == "heads" and "weights are given" in built.fitted.why
    x = torch.randn(3, 6)
    assert torch.equal(built.fitted.module(x)[-1], saved(x)[-1])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"first.weight": torch.zeros(8, 6)}, "missing"),
        ({"first.weight": torch.zeros(1, 6)}, "shapes of the network's"),
        (3, "got 'int', expected a state_dict"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, state, message):
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match=message):
        load_weights(TwoExits(), str(tmp_path / "w.pt"))


def test_a_file_that_is_no_state_dict_is_named(tmp_path):
    (tmp_path / "w.pt").write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"got '.*w\.pt', expected a state_dict saved by torch\.save \(\w+\)$"):
        load_weights(TwoExits(), str(tmp_path / "w.pt"))


def test_a_model_with_its_own_exits_and_float_data(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    for part in ("train", "test"):
        np.savez(tmp_path / f"{part}.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    monkeypatch.setattr(building, "load_network", lambda name: TwoExits())
    package = build("m:two", [], str(tmp_path), tmp_path / "two.hasten", TINY).package
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


def test_settings_for_data():
    assert building.settings_for("cifar10") == TrainSettings(epochs=3)
    assert building.settings_for("some/folder", 2, epochs=9, peak_lr=None) == TrainSettings(epochs=9, seed=2)
