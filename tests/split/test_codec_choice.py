"""Which codec a cut gets, by rule, and in a network with attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.split.build import build_package
from hasten.split.codec_choice import costs_too_much, ranked
from hasten.split.codecs import CODECS
from hasten.split.inspect import describe
from hasten.split.package import open_package
from hasten.split.verify import verify


def test_the_smallest_comes_first_with_zstd_where_it_helps_and_lossless_last():
    sizes = {"uint8": 100, "uint8-zstd": 99.5, "float16": 200, "float16-zstd": 90, "float32": 400, "float32-zstd": 300}
    assert ranked(sizes) == ["float16-zstd", "uint8", "float32-zstd"]
    assert ranked(dict.fromkeys(["uint8", "float16", "float32"], 7.0)) == ["uint8", "float16", "float32"]
    assert ranked({"float16": 9, "float32": 8}) == ["float32"]


@pytest.mark.parametrize(
    ("inputs", "lost", "gained", "refused"),
    [(30, 1, 0, False), (30, 2, 0, True), (1000, 4, 0, False), (1000, 5, 0, True), (1000, 12, 9, False)],
)
def test_a_codec_costs_too_much_when_the_loss_is_more_than_chance(inputs, lost, gained, refused):
    right, coded = np.ones((inputs, 2)), np.ones((inputs, 2))
    coded[:lost, 1] = 0
    right[lost : lost + gained, 1] = 0
    assert costs_too_much(right, coded) is refused


def test_small_losses_of_a_graded_score_add_up():
    right = np.full((100, 1), 0.8)
    assert not costs_too_much(right, right - 0.001)
    assert costs_too_much(right, right - 0.004)


class Fragile(nn.Module):
    """Its answer is the sign of small differences beside a large number: uint8 per tensor loses them."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ((x.abs() * torch.sign(x))[:, 1:3] @ torch.tensor([[1.0, -1.0], [-1.0, 1.0]]),)


class Attention(nn.Module):
    """Tokens through two encoder layers, an exit behind each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(16, 4) for _ in range(2))

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, answers = self.embed(tokens), []
        for layer, head in zip(self.layers, self.heads, strict=True):
            x = layer(x)
            answers.append(head(x.mean(1)))
        return tuple(answers)


def test_a_cut_that_uint8_ruins_gets_the_next_that_does_not(tmp_path):
    inputs = np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype(np.float32)
    inputs[:, 0] = 60_000.0
    labels = (inputs[:, 1] < inputs[:, 2]).astype(np.int64)
    common = {"name": "f", "exit_names": ["a"], "path": tmp_path / "f.hasten", "on_note": lambda note: None}
    ruined = build_package(Fragile().eval(), inputs, labels, codec="uint8-zstd", **common)
    chosen = build_package(Fragile().eval(), inputs, labels, **common)
    assert describe(ruined)["cuts"][0]["points_lost"] > 20
    assert describe(chosen)["cuts"][0]["points_lost"] == 0
    assert chosen.manifest.cuts[0].codec == "float16"
    assert chosen.profile.exits[0].accuracy_by_partition[0] == 1.0


def test_attention_over_tokens_is_built_and_verified_with_chosen_codecs(tmp_path):
    torch.manual_seed(0)
    module = Attention().eval()
    inputs = np.random.default_rng(0).integers(0, 20, (60, 12))
    with torch.no_grad():
        labels = module(torch.from_numpy(inputs))[-1].argmax(1).numpy()
    path = tmp_path / "a.hasten"
    build_package(module, inputs, labels, name="a", exit_names=["x", "y"], path=path, on_note=lambda note: None)
    package = open_package(path)
    cuts = describe(package)["cuts"]
    assert any(len(cut.tensors[0].shape) == 2 and cut.tensors[0].dtype == "float32" for cut in package.manifest.cuts)
    for cut in cuts[1:-1]:
        assert cut["codec"] in CODECS
        assert cut["bytes"] < 0.6 * cut["plain_bytes"]
        assert cut["encode_ms"] >= 0
    assert cuts[-1]["points_lost"] is None
    assert verify(package).worst_codec_agreement > 0.9


def test_an_unknown_codec_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(InputError, match="build: codec: got 'uint9'"):
        build_package(
            Fragile(), np.zeros((4, 4)), np.zeros(4, int), name="f", exit_names=["a"], path=tmp_path / "f.hasten",
            codec="uint9",
        )  # fmt: skip
