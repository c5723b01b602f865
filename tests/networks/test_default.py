import pytest
import torch
from shared import built_once
from tiny_package import build_tiny

from hasten.core.errors import InputError
from hasten.networks import build as building
from hasten.networks import default
from hasten.networks.calibrate import exit_accuracy
from hasten.networks.data import digits
from hasten.networks.default import build_default
from hasten.networks.train import TrainSettings
from hasten.split.package import open_package

TINY = TrainSettings(epochs=1, batch=16, seed=3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return built_once(tmp_path_factory, "tiny", build_tiny)


@pytest.fixture
def cache(tmp_path, monkeypatch, tiny):
    """An empty cache; nothing is trained or packed, but noted: (what, seed or name, number of pictures)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = []

    def train(network, inputs, labels, settings, progress):
        done.append(("trained", settings.seed, len(labels)))

    def pack(module, inputs, labels, *, name, path, **_others):
        done.append(("packed", name, len(labels)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.path.read_bytes())
        return open_package(path)

    monkeypatch.setattr(default, "train_exits", train)
    monkeypatch.setattr(building, "build_package", pack)
    monkeypatch.setattr(default, "digits", lambda seed, *counts: digits(seed, *(count // 128 for count in counts)))
    return done


PACKED = ("packed", "digits-resnet", default.QUICK_TEST // 128)
TRAINED = ("trained", 1, default.QUICK_TRAIN // 128)


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
    network, module = default.default_network(dataset, TINY, default.SHIPPED_WEIGHTS, None)
    found = exit_accuracy(module, dataset.test_x, dataset.test_y)
    assert len(found) == len(network.exit_names) == 6
    assert found[0] < 0.6 and found[1] > found[0] + 0.2 and found[2] > found[1] + 0.05 and found[5] > 0.93


def test_kept_weights_are_the_trained_ones(cache, tmp_path, monkeypatch):
    dataset = default.default_data("digits", True, 0)
    monkeypatch.setattr(default, "train_exits", lambda network, *_: network.module.classify.bias.data.fill_(3.0))
    first, second = (default.default_network(dataset, TINY, tmp_path / "w.pt", None)[1] for _ in range(2))
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
