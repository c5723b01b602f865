"""Heads average over space and time, whichever axes these are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.split.build import build_package
from hasten.split.verify import verify


class Then(nn.Module):
    """``layer`` on what ``before`` makes of the input, then a mean over all but batch and the first width."""

    def __init__(self, layer, before=lambda x: x, after=lambda y: y, shape=(3, 8, 12)):
        super().__init__()
        self.layer, self.before, self.after = layer, before, after
        with torch.no_grad():
            width = self._features(torch.zeros(2, *shape)).shape[1]
        self.last = nn.Linear(width, 4)

    def _features(self, x):
        y = self.layer(self.before(x))
        y = y[0] if isinstance(y, tuple) else y
        return self.after(y).flatten(1)

    def forward(self, x):
        return self.last(self._features(x))


class ChannelsLastBlock(nn.Module):
    """As in ConvNeXt or Swin: maps (N, H, W, C) in and out."""

    def __init__(self, width, rise):
        super().__init__()
        self.mix = nn.Linear(width, rise)

    def forward(self, x):
        return torch.relu(self.mix(x))


class FixedPositions(nn.Module):
    """Patches with positions of a fixed number: an input of another size fails before the named layer."""

    def __init__(self, class_token=True):
        super().__init__()
        self.patch = nn.Conv2d(3, 10, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, int(class_token), 10))
        self.positions = nn.Parameter(torch.zeros(1, 6 + int(class_token), 10))
        self.block = nn.TransformerEncoderLayer(10, 2, 16, batch_first=True)
        self.last = nn.Linear(10, 4)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.last(self.block(tokens)[:, 0])


SHAPE = (3, 8, 12)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def rows(x):
    """(N, 24, 12)"""
    return x.flatten(1, 2)


CASES = {
    "maps": (lambda: Then(nn.Conv2d(3, 5, 1), after=lambda y: y.mean((2, 3))), SHAPE, lambda y: (y, 2)),
    "channels last": (
        lambda: Then(ChannelsLastBlock(3, 5), channels_last, lambda y: y.mean((1, 2))),
        SHAPE,
        lambda y: (y.permute(0, 3, 1, 2), 2),
    ),
    "time": (
        lambda: Then(nn.Conv1d(3, 5, 3), after=lambda y: y.mean(2), shape=(3, 20)),
        (3, 20),
        lambda y: (y, 1),
    ),
    "time, as wide as long": (
        lambda: Then(nn.Conv1d(3, 18, 3), after=lambda y: y.mean(2), shape=(3, 20)),
        (3, 20),
        lambda y: (y, 1),
    ),
    "time, a block of its own": (
        lambda: Then(nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5), nn.ReLU()), shape=(3, 20)),
        (3, 20),
        lambda y: (y, 1),
    ),
    "tokens": (
        lambda: Then(nn.Linear(12, 6), rows, lambda y: y.mean(1)),
        SHAPE,
        lambda y: (y.transpose(1, 2), 1),
    ),
    "tokens of a fixed number with a class token": (FixedPositions, SHAPE, lambda y: (y.transpose(1, 2), 1)),
    "tokens of a fixed number": (lambda: FixedPositions(False), SHAPE, lambda y: (y.transpose(1, 2), 1)),
    "recurrent": (
        lambda: Then(nn.GRU(12, 7, batch_first=True), rows, lambda y: y[:, -1]),
        SHAPE,
        lambda y: (y.transpose(1, 2), 1),
    ),
    "recurrent, time first": (
        lambda: Then(nn.LSTM(12, 7), lambda x: x.flatten(1, 2).transpose(0, 1), lambda y: y.mean(0)),
        SHAPE,
        lambda y: (y.permute(1, 2, 0), 1),
    ),
    "features": (lambda: Then(nn.Linear(288, 9), lambda x: x.flatten(1)), SHAPE, lambda y: (y, 0)),
}


def pooled_by_hand(features: torch.Tensor, sides: int) -> torch.Tensor:
    """Means of (N, C, ...) over the windows of a head, one after the other."""
    if sides == 0:
        return features
    if sides == 1:
        return features.mean(2)
    height, width = (-(-side // 4) for side in features.shape[2:])
    cells = [
        features[:, :, i : i + height, j : j + width].mean((2, 3))
        for i in range(0, features.shape[2], height)
        for j in range(0, features.shape[3], width)
    ]
    return torch.stack(cells, 2).flatten(1)


@pytest.mark.parametrize("case", CASES)
def test_heads_average_over_space_and_time_only(case):
    make, shape, channels_first = CASES[case]
    torch.manual_seed(0)
    module = make()
    name = "block" if isinstance(module, FixedPositions) else "layer"
    seen = []
    module.get_submodule(name).register_forward_hook(lambda _m, _i, out: seen.append(out))
    network = attach_exits(module, [name], 4, shape).eval()
    x = torch.rand(5, *shape)
    with torch.no_grad():
        seen.clear()
        early, _ = network(x)
        output = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        wanted = network.heads[f"exit:{name}"].classify(pooled_by_hand(*channels_first(output)))
    torch.testing.assert_close(early, wanted)


class Mystery(nn.Module):
    """A fixed grid of numbers of which nobody can tell what is what."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x.mean(1), 6)


def test_what_does_not_show_its_layout_is_asked_for_by_name():
    module = Then(Mystery(), after=lambda y: y.mean(1))
    with pytest.raises(InputError, match=r"layer: got .*\(2, 6, 6\).*, expected layer:channels_first or"):
        attach_exits(module, ["layer"], 4, SHAPE)
    for stated, axis in (("channels_first", 2), ("channels_last", 1)):
        network = attach_exits(module, [f"layer:{stated}"], 4, SHAPE).eval()
        assert network.exit_names == ("layer", "final")
        x = torch.rand(3, *SHAPE)
        with torch.no_grad():
            wanted = network.heads["exit:layer"].classify(module.layer(x).mean(axis))
            torch.testing.assert_close(network(x)[0], wanted)


def test_finding_layouts_changes_no_buffer_and_no_mode():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.conv, self.last = nn.Conv2d(3, 5, 1), nn.Linear(5, 4)

        def forward(self, x):
            self.calls += 1
            return self.last(self.conv(x).mean((2, 3)))

    module = Counting().train()
    attach_exits(module, ["conv"], 4, SHAPE)
    assert module.calls == 0 and module.training and module.conv.training


@pytest.mark.parametrize("shape", [SHAPE, None])
def test_names_and_outputs_are_in_one_order_before_the_first_call_too(shape, tmp_path):
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(288, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.last = nn.Linear(6, 4)

        def forward(self, x):
            return self.last(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))))

    network = attach_exits(Chain(), ["c", "a"], 4, shape).eval()
    names = network.exit_names
    x = torch.rand(2, *SHAPE)
    outputs = network(x)
    a = network.module.a(x.flatten(1))
    torch.testing.assert_close(outputs[names.index("a")], network.heads["exit:a"](a))
    assert network.exit_names == names == ("a", "c", "final")


class SequenceFirst(nn.Module):
    """(time, N, features) inside, a scalar of the whole input beside it, and exits of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        self.early, self.late = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        scale = x.mean()
        t = torch.relu(self.a(x.transpose(0, 1)))
        early = self.early(t.mean(0))
        return early, self.late((torch.relu(self.b(t)) * scale).mean(0))


def test_tensors_without_a_batch_in_front_cross_a_cut(tmp_path):
    torch.manual_seed(0)
    x = np.random.default_rng(0).random((6, 5, 16), np.float32)
    package = build_package(
        SequenceFirst().eval(), x, np.arange(6) % 4, name="t", exit_names=["a", "b"], path=tmp_path / "t.hasten"
    )
    shapes = {spec.shape for cut in package.manifest.cuts[1:] for spec in cut.tensors}
    assert (5, 1, 16) in shapes
    assert verify(package, samples=3).max_error < 1e-5
