import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hasten as hs
from hasten.core.errors import InputError
from hasten.networks.train import TrainSettings
from hasten.split.executor import Executor

ROOT = Path(__file__).parents[2]
SETTINGS = TrainSettings(epochs=6, batch=16, seed=1)


def data(count, seed):
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def trained_model():
    """A user's model, trained by a loop of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    x, y = map(torch.from_numpy, data(400, 0))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return trained_model()


@pytest.mark.parametrize("given", ["arrays", "loader", "no labels"])
def test_heads_are_trained_and_the_model_stays(model, given, tmp_path):
    (x, y), (test_x, test_y) = data(200, 1), data(200, 2)
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=16)
    train_data = {"arrays": (x, y), "loader": loader, "no labels": x}[given]
    with torch.no_grad():
        before = model(torch.from_numpy(test_x))
    torch.manual_seed(0)
    package = hs.build_package(
        hs.attach_exits(model, at=["2"], input_shape=(6,)), test_x, test_y,
        name="mine", path=tmp_path / "mine.hasten", train="heads", train_data=train_data, settings=SETTINGS,
    )  # fmt: skip
    with torch.no_grad():
        assert torch.equal(model(torch.from_numpy(test_x)), before)
    assert [exit_.name for exit_ in package.manifest.exits] == ["2", "final"]
    early, final = package.manifest.exits
    assert final.accuracy == pytest.approx((before.argmax(1).numpy() == test_y).mean())
    assert early.accuracy > 0.85
    np.testing.assert_allclose(Executor(package).finish(0, 2, [test_x[:1]]), before[0], rtol=1e-4, atol=1e-5)


def test_the_example_of_a_trained_model_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "trained_model.py"), run_name="__main__")
    lines = capsys.readouterr().out.split()
    assert lines[::2] == ["2", "5", "final"] and float(lines[1]) > 0.8 and float(lines[5]) > 0.9
    assert (tmp_path / "trained.hasten").is_file()


def test_auto_trains_what_knows_nothing_yet(model, tmp_path):
    test_x, test_y = data(200, 2)
    weights = [weight.clone() for weight in model.parameters()]
    network = hs.attach_exits(model, at=["2"], input_shape=(6,))
    path = tmp_path / "a.hasten"
    common = {"name": "a", "path": path, "train": "auto", "settings": SETTINGS}
    hs.build_package(network, test_x, test_y, train_data=data(200, 1), **common)
    assert all(torch.equal(now, before) for now, before in zip(model.parameters(), weights, strict=True))
    fresh = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    first = fresh[0].weight.clone()
    hs.build_package(
        hs.attach_exits(fresh, at=["1"], input_shape=(6,)), test_x, test_y, train_data=data(200, 1), **common
    )
    assert not torch.equal(fresh[0].weight, first)


def test_nothing_is_trained_unless_asked_for(model, tmp_path):
    network = hs.attach_exits(model, at=["2"], input_shape=(6,))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    package = hs.build_package(network, *data(50, 2), name="n", path=tmp_path / "n.hasten")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert package.manifest.exits[0].name == "2"


def test_what_is_missing_is_named(model, tmp_path):
    network = hs.attach_exits(model, at=["2"], input_shape=(6,))
    with pytest.raises(InputError, match="train_data: got None, expected data to train heads with"):
        hs.build_package(network, *data(50, 2), name="n", path=tmp_path / "n.hasten", train="heads")
    with pytest.raises(InputError, match="one of auto, none, heads, all"):
        hs.build_package(
            network, *data(50, 2), name="n", path=tmp_path / "n.hasten", train="some", train_data=data(50, 1)
        )
    assert not list(tmp_path.iterdir())
