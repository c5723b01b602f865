"""Masks and tokens beside the trunk: what crosses instead of them, and that every cut still gives the same."""

import numpy as np
import pytest
import torch
from torch import nn

from hasten.split.build import build_package
from hasten.split.export import export_network
from hasten.split.graph import plan_cuts
from hasten.split.verify import verify

TOKENS = np.random.default_rng(0).integers(0, 20, (10, 12))


class Encoder(nn.Module):
    """Attention layers that all read one mask of the tokens, as BERT's do; tokens 0 are padding."""

    def __init__(self, mask):
        super().__init__()
        self.embed, self.mask = nn.Embedding(20, 16), mask
        self.layers = nn.ModuleList(nn.Linear(16, 48) for _ in range(4))
        self.early, self.late = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, tokens):
        mask, x = self.mask(tokens), self.embed(tokens)
        exits = []
        for number, layer in enumerate(self.layers):
            q, k, v = layer(x).chunk(3, -1)
            scores = q @ k.transpose(1, 2) / 4
            scores = scores.masked_fill(~mask, -1e9) if mask.dtype == torch.bool else scores + mask
            x = x + scores.softmax(2) @ v
            if number == 1:
                exits.append(self.early(x.mean(1)))
        return (*exits, self.late(x.mean(1)))


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(24, 8), *(nn.Linear(8, 8) for _ in range(4))])
        self.early, self.late = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        mask = x[:, :8] > 0.5
        for layer in self.layers[:4]:
            x = torch.where(mask, torch.relu(layer(x)), 0.0)
        early = self.early(x)
        return early, self.late(torch.relu(self.layers[4](x)))


def pairs_of_floats(tokens):
    """(N, T, T) of 0 and -1e9, larger than the trunk if it crossed."""
    real = (tokens > 0).float()
    return (1 - real[:, None, :] * real[:, :, None]) * -1e9


def whole_mask(tokens):
    return (tokens > 0)[:, None, :].expand(-1, tokens.shape[1], -1)


@pytest.mark.parametrize(("mask", "crossing"), [(pairs_of_floats, "bool"), (whole_mask, "bool")])
def test_cuts_between_exits_stay_and_send_the_smallest_that_the_mask_is_made_of(mask, crossing, tmp_path):
    torch.manual_seed(0)
    package = build_package(
        Encoder(mask).eval(), TOKENS, TOKENS[:, 0] % 3, name="e", exit_names=["early", "late"],
        path=tmp_path / "e.hasten", on_note=[].append,
    )  # fmt: skip
    cuts = package.manifest.cuts
    assert len(cuts) >= 5 and verify(package).max_error < 1e-4
    for cut in cuts[1:-1]:
        beside = [tensor for tensor in cut.tensors if tensor.dtype != "float32"]
        assert [tensor.dtype for tensor in beside] in ([crossing], [])
        assert all(tensor.elements == 12 for tensor in beside)
    assert any(len(cut.tensors) == 2 for cut in cuts)


def test_tokens_cross_where_they_are_smaller_than_what_is_made_of_them(tmp_path):
    """The layers read distances of tokens (T, T) as int64: only the tokens themselves cross."""

    def distances(tokens):
        return (tokens[:, None, :] - tokens[:, :, None]).abs().float() * -0.01

    torch.manual_seed(0)
    package = build_package(
        Encoder(distances).eval(), TOKENS, TOKENS[:, 0] % 3, name="e", exit_names=["early", "late"],
        path=tmp_path / "e.hasten", on_note=[].append,
    )  # fmt: skip
    inner = package.manifest.cuts[2]
    assert [(tensor.dtype, tensor.shape) for tensor in inner.tensors if tensor.dtype != "float32"] == [("int64", (12,))]
    assert verify(package).max_error < 1e-4


def test_a_mask_of_floats_is_no_longer_in_the_way():
    network = export_network(Masked().eval(), torch.rand(1, 24))
    plan = plan_cuts(network, ["a", "b"], 12)
    assert plan.notes == () and plan.after_block[0] == 4
    crossing = [[network.types[name] for name in cut.tensors] for cut in plan.cuts[1:4]]
    assert [sorted(types) for types in crossing] == [["bool", "float32"]] * 3


def test_a_frame_that_is_added_at_the_end_is_no_mask():
    """Sending it again beside every cut would cost more than computing nothing."""

    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(8, 2) for _ in range(2))
            self.wide, self.early, self.late = nn.Linear(2, 8), nn.Linear(2, 3), nn.Linear(8, 3)

        def forward(self, x):
            x = x / 255
            y = self.layers[0](x)
            return self.early(y), self.late(x + self.wide(torch.relu(y)))

    network = export_network(Skip().eval(), torch.rand(1, 8))
    plan = plan_cuts(network, ["a", "b"], 12)
    assert all(len(cut.tensors) == 1 or cut.position in (plan.cuts[plan.after_block[0]].position,) for cut in plan.cuts)
