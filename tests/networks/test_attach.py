import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hasten as hs
from hasten.core.errors import InputError
from hasten.networks.attach import OwnExits, attach_exits, dry_run
from hasten.split.build import build_package
from hasten.split.verify import verify


class Plain(nn.Module):
    """A chain of three layers of different kinds."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5 * 8 * 8, 12)
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(12, 4)

    def forward(self, x):
        return self.last(F.relu(self.fc(F.relu(self.norm(self.conv(x))).flatten(1))))


class Branches(nn.Module):
    """Two branches that run side by side and are concatenated, then a residual sum."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 4, 3, padding=1)
        self.join = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        both = torch.cat([self.left(x), self.right(x)], dim=1)
        return self.last((both + self.join(both)).mean(dim=(2, 3)))


class InPlace(nn.Module):
    """Layers whose outputs are changed where they lie after the exit has seen them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.more = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        x = self.relu(self.conv(x))
        y = self.more(x)
        y += x
        y[:, :2].mul_(0.5)
        return self.last(y.mean(dim=(2, 3)))


class Tokens(nn.Module):
    """A sequence (N, tokens, features) in the middle."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(16, 6)
        self.last = nn.Linear(6, 4)

    def forward(self, x):
        return self.last(self.embed(x.flatten(2).transpose(1, 2).reshape(len(x), -1, 16)).amax(dim=1))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        return self.last(self.conv(self.conv(x)).mean(dim=(2, 3)))


class TwiceDifferently(nn.Module):
    """One layer that runs on maps of two sizes."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        return self.last(self.pool(self.pool(self.pool(x))).mean(dim=(2, 3)))


class TimeFirst(nn.Module):
    """A sequence laid out (tokens, N, features)."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.last = nn.Linear(6, 4)

    def forward(self, x):
        return self.last(self.embed(x.flatten(2).permute(2, 0, 1)).mean(dim=0))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.last = nn.Linear(5, 4)

    def forward(self, x):
        return self.last(self.lstm(x.flatten(2).transpose(1, 2))[0][:, -1])


class Merged(nn.Module):
    """The batch is merged with the positions, as before a linear layer over patches."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.last = nn.Linear(6, 4)

    def forward(self, x):
        patches = self.embed(x.flatten(2).transpose(1, 2).reshape(-1, 3))
        return self.last(patches.reshape(len(x), -1, 6).mean(dim=1))


class Pair(nn.Module):
    def forward(self, x):
        return x, x + 1


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.pair = Pair()
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        return self.last(self.pair(x)[0].mean(dim=(2, 3)))


SHAPE = (3, 16, 16)
CASES = [
    (Plain, ["conv", "norm", "fc"]),
    (Branches, ["left", "right", "join"]),
    (InPlace, ["conv", "more"]),
    (Tokens, ["embed"]),
]


def captured(module, names, x):
    """What each layer gave when it ran, copied before anything could change it."""
    found = {}
    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: found.update({name: out.clone()})
        )
        for name in names
    ]
    last = module(x)
    for handle in handles:
        handle.remove()
    return found, last


@pytest.mark.parametrize(("make", "at"), CASES)
def test_exits_are_heads_on_the_layers_outputs(make, at):
    torch.manual_seed(0)
    network = attach_exits(make(), at, 4, SHAPE).eval()
    x = torch.rand(5, *SHAPE)
    with torch.no_grad():
        *exits, last = network(x)
        outputs, own = captured(network.module, at, x)
        for name, logits in zip(at, exits, strict=True):
            torch.testing.assert_close(logits, network.heads["exit:" + name](outputs[name]))
    torch.testing.assert_close(last, own)
    assert network.exit_names == (*at, "final")


@pytest.mark.parametrize(("make", "at"), CASES)
def test_exported_graph_gives_the_same(make, at):
    torch.manual_seed(0)
    network = attach_exits(make(), at, 4, SHAPE).eval()
    example = torch.randint(0, 256, (1, *SHAPE), dtype=torch.uint8)
    program = torch.export.export(network, (example,)).run_decompositions({})
    other = torch.randint(0, 256, (1, *SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(other), network(other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "at", "after"), [(Branches, CASES[1][1], [1, 2, 3, 4]), (InPlace, CASES[2][1], [1, 2, 4])]
)
def test_the_package_is_cut_at_every_exit(make, at, after, tmp_path):
    """Building compares every (exit, partition) with the module, so that it succeeds says that all of them agree."""
    torch.manual_seed(0)
    network = attach_exits(make(), at, 4, SHAPE).eval()
    x = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)
    path = tmp_path / "net.hasten"
    package = build_package(network, x, np.arange(8) % 4, name="net", exit_names=network.exit_names, path=path)
    assert [(exit_.name, exit_.after_block) for exit_ in package.manifest.exits] == [
        *zip(network.exit_names, after, strict=True)
    ]


@pytest.mark.parametrize(("make", "at"), CASES)
def test_every_weight_on_the_way_to_an_exit_is_trained(make, at):
    network = attach_exits(make(), at, 4, SHAPE).train()
    sum(logits.square().sum() for logits in network(torch.rand(3, *SHAPE))).backward()
    untouched = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert [name for name in untouched if "unused" not in name] == []


def test_exits_come_in_the_order_in_which_layers_run():
    network = attach_exits(Plain(), ["fc", "conv", "norm"], 4, SHAPE)
    assert network.exit_names == ("conv", "norm", "fc", "final")


def test_without_a_shape_the_first_call_infers_the_widths():
    network = attach_exits(Plain(), ["norm", "conv"], 4)
    assert [tuple(logits.shape) for logits in network(torch.rand(2, *SHAPE))] == [(2, 4)] * 3
    assert network.exit_names == ("conv", "norm", "final")


def test_the_dry_run_leaves_statistics_and_modes_alone():
    module = Plain()
    module.norm.eval()
    before = copy.deepcopy(module.state_dict())
    attach_exits(module, ["conv"], 4, SHAPE)
    assert module.training and not module.norm.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert not module.conv._forward_hooks


def test_copies_are_independent():
    network = attach_exits(Plain(), ["conv"], 4, SHAPE).eval()
    twin = copy.deepcopy(network)
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        before = network(x)
        twin.heads["exit:conv"].classify.weight.zero_()
        torch.testing.assert_close(network(x), before)
        assert not torch.allclose(twin(x)[0], before[0])


def test_pixels_are_scaled():
    network = attach_exits(Plain(), ["conv"], 4, SHAPE).eval()
    pixels = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(network(pixels), network(pixels.float() / 255))


@pytest.mark.parametrize("side", [1, 3, 4, 5, 7, 8, 14])
def test_heads_average_ragged_maps_as_they_should(side):
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(2 * side * side, 4))
    network = attach_exits(module, ["0"], 4, (3, side, side)).eval()
    x = torch.rand(2, 3, side, side)
    with torch.no_grad():
        maps, window = module[0](x), -(-side // 4)
        starts = range(0, side, window)
        cells = [maps[:, :, i : i + window, j : j + window].mean(dim=(2, 3)) for i in starts for j in starts]
        features = torch.stack(cells, dim=2).flatten(1)
        torch.testing.assert_close(network(x)[0], network.heads["exit:0"].classify(features))


@pytest.mark.parametrize(
    ("make", "at", "classes", "message"),
    [
        (Plain, ["cnv"], 4, "got 'cnv', expected one of conv, norm, fc, unused, last"),
        (Plain, [], 4, "at least one of conv, norm"),
        (Plain, ["conv", "conv"], 4, "each layer once"),
        (Plain, ["conv", "unused"], 4, "unused: got 'a layer that is never reached'"),
        (Twice, ["conv"], 4, "conv: got 'a layer that runs 2 times'"),
        (TwiceDifferently, ["pool"], 4, "pool: got 'a layer that runs 3 times'"),
        (Merged, ["embed"], 4, r"embed: got \(512, 6\), expected an output that has the batch"),
        (Two, ["pair"], 4, "pair: got 'tuple', expected an output that is one tensor"),
        (Recurrent, "lstm", 4, "got 'lstm', expected a list of layers' names"),
        (Plain, ["conv"], 10, r"final: got \(2, 4\), expected logits \(N, 10\)"),
    ],
)
def test_wrong_requests_are_explained(make, at, classes, message):
    with pytest.raises(InputError, match=message) as caught:
        attach_exits(make(), at, classes, SHAPE)
    assert "\n" not in str(caught.value)


def test_wrong_requests_leave_no_hooks():
    module = Twice()
    with pytest.raises(InputError):
        attach_exits(module, ["conv"], 4, SHAPE)
    assert not module.conv._forward_hooks


def test_many_layers_are_listed_in_part_the_nearest_first():
    module = nn.Sequential(*[nn.Linear(2, 2) for _ in range(100)])
    with pytest.raises(InputError, match=r"one of 99, .* and 60 more"):
        attach_exits(module, ["099"], 2)


def test_an_input_of_the_wrong_shape_is_explained():
    with pytest.raises(InputError, match=r"input shape: got \(3, 20, 20\)"):
        attach_exits(Plain(), ["conv"], 4, (3, 20, 20))


class Ready(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, width) for width in widths])

    def forward(self, x):
        return tuple(layer(x) for layer in self.layers)


def test_own_exits_are_checked_and_named():
    network = OwnExits(Ready(4, 4, 4), 4, (6,))
    assert network.exit_names == ("exit1", "exit2", "exit3")
    assert [tuple(logits.shape) for logits in network(torch.rand(5, 6))] == [(5, 4)] * 3
    with pytest.raises(InputError, match=r"got \[\(2, 4\), \(2, 5\)\], expected a tuple of logits \(N, 4\)"):
        OwnExits(Ready(4, 5), 4, (6,))
    with pytest.raises(InputError, match="name layers to attach exits to"):
        OwnExits(nn.Linear(6, 4), 4, (6,))


def test_dry_run_restores_modes_when_the_network_fails():
    module = Plain()
    with pytest.raises(InputError):
        dry_run(module, (1, 2))
    assert module.training


class TwoInputs(nn.Module):
    """Tokens and which of them count."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.first, self.second = (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.out = nn.Linear(8, 3)

    def forward(self, ids, mask):
        x = self.second(self.first(self.embed(ids), src_key_padding_mask=~mask), src_key_padding_mask=~mask)
        return self.out(x.mean(1))


def test_exits_of_a_network_with_several_inputs(tmp_path):
    torch.manual_seed(0)
    ids, mask = np.random.default_rng(0).integers(0, 20, (30, 6)), np.arange(6)[None] < np.arange(30)[:, None] % 6 + 1
    example = {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
    network = attach_exits(TwoInputs(), ["first"], example=example).eval()
    assert network.exit_names == ("first", "final")
    with torch.no_grad():
        named, placed = network(**example), network(example["ids"], example["mask"])
    assert [logits.shape for logits in named] == [(30, 3), (30, 3)]
    assert all(torch.equal(a, b) for a, b in zip(named, placed, strict=True))
    labels = named[-1].argmax(1).numpy()
    package = hs.build_package(network, {"ids": ids, "mask": mask}, labels, name="two", path=tmp_path / "two.hasten")
    assert package.manifest.exits[-1].accuracy == 1.0 and verify(package).max_error < 1e-4
    with pytest.raises(InputError, match=r"those of forward .*mask"):
        network(example["ids"], wrong=example["mask"])
