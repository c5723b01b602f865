"""A bottleneck is the best linear one, learns alone, and makes a cut that sends little."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.bottleneck import insert_bottleneck, parse_bottleneck, train_bottleneck
from hasten.networks.build import BuildOptions, build
from hasten.networks.data import own_dataset
from hasten.networks.prepare import Prepare
from hasten.networks.train import TrainSettings
from hasten.split.inspect import describe
from hasten.split.verify import verify

RNG = np.random.default_rng(0)
MODEL = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 1, 1), nn.Sequential(nn.Conv2d(4, 24, 1), nn.Conv2d(24, 24, 3, 1, 1), nn.ReLU()),
        nn.Conv2d(24, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )
"""


def pictures(count=160):
    """Brighter above or below."""
    y = RNG.integers(0, 2, count)
    x = RNG.standard_normal((count, 1, 8, 8)).astype(np.float32)
    x[:, :, :4] += 2.0 * y[:, None, None, None]
    return own_dataset((x, y))


class Chain(nn.Module):
    """The 16 features behind `wide` lie in a plane of 3: those are all that a bottleneck needs."""

    def __init__(self, tokens):
        super().__init__()
        self.thin = nn.Linear(8, 3) if tokens else nn.Conv2d(1, 3, 3, 1, 1)
        self.wide = nn.Linear(3, 16) if tokens else nn.Conv2d(3, 16, 1)
        self.out = nn.Linear(16, 2)
        self.axes = 1 if tokens else (2, 3)
        self.tokens = tokens

    def forward(self, x):
        x = self.wide(self.thin(x.flatten(1, 2) if self.tokens else x))
        return self.out(torch.relu(x).mean(self.axes))


@pytest.mark.parametrize("tokens", [False, True])
def test_as_many_features_as_there_are_degrees_of_freedom_lose_nothing(tokens):
    torch.manual_seed(0)
    dataset, module = pictures(), Chain(tokens).eval()
    x = torch.from_numpy(dataset.test_x)
    with torch.no_grad():
        before = module(x)
        narrowed = insert_bottleneck(module, "wide", 3, dataset, Prepare())
        torch.testing.assert_close(module(x), before, atol=1e-4, rtol=1e-4)
        narrowed.open = True
        assert torch.equal(module(x), before)


def test_encoder_and_decoder_learn_and_nothing_else_does():
    torch.manual_seed(0)
    dataset, module = pictures(), Chain(False)
    narrowed = insert_bottleneck(module, "wide", 2, dataset, Prepare())
    nn.init.normal_(narrowed.encoder.weight, std=0.3)  # a worse start than it has
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.from_numpy(dataset.test_x)

    def apart():
        with torch.no_grad():
            found = module(x)
            narrowed.open = True
            wanted = module(x)
            narrowed.open = False
        return float((found - wanted).square().mean())

    before = apart()
    cost = train_bottleneck(module, narrowed, dataset, Prepare(), TrainSettings(epochs=10, batch=16))
    assert "right in" in cost and apart() < 0.7 * before
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, kept[name])}
    assert moved == {f"wide.{part}.{kind}" for part in ("encoder", "decoder") for kind in ("weight", "bias")}
    assert all(part.requires_grad for part in module.parameters()) and module.training


def test_the_narrow_tensor_is_what_a_cut_sends(tmp_path, monkeypatch):
    (tmp_path / "narrow_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    dataset, sizes, notes = pictures(), {}, []
    np.savez("d.npz", x=dataset.train_x, y=dataset.train_y)
    for width in (None, "1:2"):
        built = build(
            "narrow_model:make", ["1"], "d.npz", tmp_path / "p.hasten", TrainSettings(epochs=1, batch=16),
            on_note=notes.append, options=BuildOptions(train="heads", bottleneck=width, codec="float32"),
        )  # fmt: skip
        assert verify(built.package).max_error < 1e-4
        sizes[width] = [cut["plain_bytes"] for cut in describe(built.package)["cuts"]]
    assert 2 * 8 * 8 * 4 in sizes["1:2"], "two features of each place"
    assert min(sizes["1:2"][1:-1]) < min(sizes[None][1:-1])
    assert any(note.startswith("bottleneck 1:2: the model is right in") for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wide", "--bottleneck: got 'wide', expected LAYER:WIDTH"),
        ("wide:0", "expected LAYER:WIDTH"),
        (":3", "expected LAYER:WIDTH"),
        ("wide:16", "got 16, expected fewer than the 16 features of wide"),
        ("wid:3", "layer: got 'wid', expected one of wide"),
        ("lstm:3", "a layer that gives one tensor"),
    ],
)
def test_what_is_no_bottleneck_is_refused_by_name(text, said):
    module = Chain(False)
    module.lstm = nn.LSTM(3, 3)  # never runs
    with pytest.raises(InputError, match=said):
        layer, width = parse_bottleneck(text)
        insert_bottleneck(module, layer, width, pictures(), Prepare())


def test_an_onnx_file_gets_none(tmp_path):
    np.savez(tmp_path / "d.npz", x=pictures().train_x, y=pictures().train_y)
    with pytest.raises(InputError, match=r"--bottleneck: got 'm.onnx', expected a torch network"):
        build(
            str(tmp_path / "m.onnx"), [], str(tmp_path / "d.npz"), tmp_path / "p.hasten",
            options=BuildOptions(bottleneck="a:2"),
        )  # fmt: skip
