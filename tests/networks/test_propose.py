from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.networks.probe import Place, best_places
from hasten.networks.propose import asked_count, propose_exits


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.activate = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return x + self.activate(self.conv(x))


class Residual(nn.Module):
    """Nine equal blocks; inside a block two tensors cross."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(Block() for _ in range(9)))
        self.unused, self.last = nn.Linear(2, 2), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.blocks(self.stem(x)).mean((2, 3)))


class Chain(nn.Module):
    """Layers of equal work, each wrapped twice: the outer name is proposed, and none twice."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.ReLU())) for _ in range(9))
        self.last = nn.Linear(8, 8)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def test_exits_come_at_even_shares_of_the_work():
    assert propose_exits(Chain(), 1, torch.randn(2, 8)) == ["layers.4"]
    assert propose_exits(Chain(), 4, torch.randn(2, 8)) == ["layers.1", "layers.3", "layers.5", "layers.7"]


def test_places_where_two_tensors_cross_are_left_out():
    assert propose_exits(Residual(), 2, torch.randn(2, 1, 8, 8)) == ["blocks.2", "blocks.5"]


def test_fewer_are_proposed_where_there_are_no_more_places():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert 1 <= len(propose_exits(module, 5, torch.randn(2, 8))) <= 2


def test_the_callers_randomness_and_module_are_left_alone():
    module, state = Chain(), torch.random.get_rng_state()
    propose_exits(module, 2, torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.random.get_rng_state(), state) or module.training
    assert all(not layer._forward_hooks for layer in module.modules())


def test_requests_are_read():
    assert asked_count(["auto:3"]) == 3 and asked_count(["layer", "auto:3"]) is None and asked_count([]) is None
    for text in ("auto:", "auto:0", "auto:many", "auto:99"):
        with pytest.raises(InputError, match="auto:N with N from 1"):
            asked_count([text])


def test_a_network_without_places_is_told():
    with pytest.raises(InputError, match="name layers"):
        propose_exits(nn.Sequential(nn.Linear(4, 2)), 1, torch.randn(2, 4))


class Revealing(nn.Module):
    """Seven layers of equal work; from the third on the classes, whether two signs are equal, lie on one line."""

    def __init__(self, knowing):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(7))
        self.last = nn.Linear(8, 2)
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.copy_(torch.eye(8))
            self.last.weight.zero_()
            self.last.weight[1, :2] = 5.0 if knowing else 0.0
            self.last.bias.copy_(torch.tensor([0.0, -10.0]))

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == 1:
                x = torch.cat([(1.0 + x[:, :1] * x[:, 1:2]).expand(-1, 2), x[:, 2:]], 1)
        return self.last(x)


def signs(count):
    x = torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    x[:, :2] = x[:, :2].sign()
    return x, (x[:, 0] == x[:, 1]).long().numpy()


def test_exits_of_a_trained_network_come_where_most_is_known_earliest():
    x, labels = signs(400)
    module = Revealing(knowing=True)
    assert propose_exits(module, 1, x, labels=labels) == ["layers.2"]
    assert propose_exits(module, 1, x) == ["layers.3"], "the middle of the work"
    assert attach_exits(module, "auto:1", example=x, labels=labels).exit_names == ("layers.2", "final")
    assert propose_exits(Revealing(knowing=False), 1, x, labels=labels) == ["layers.3"], "nothing to go by"


def test_places_have_the_largest_area_of_accuracy_over_work():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shares = np.sort(rng.uniform(0.05, 0.95, 7))
        places = [Place(str(i), float(s), float(rng.uniform(0.1, 1))) for i, s in enumerate(shares)]
        for count in (1, 2, 4, 7):
            area = {
                tuple(place.name for place in chosen): sum(
                    place.accuracy * (end - place.share)
                    for place, end in zip(chosen, [*(later.share for later in chosen[1:]), 1.0], strict=True)
                )
                for chosen in combinations(places, count)
            }
            assert tuple(best_places(places, count)) == max(area, key=area.get)
    assert best_places(places, 9) == [place.name for place in places] and best_places([], 2) == []


@pytest.mark.parametrize("request_", ["layers.2", "auto:2"])
def test_a_string_is_a_request_that_needs_an_example(request_):
    with pytest.raises(InputError, match="auto:N" if request_ == "layers.2" else "an input_shape or example"):
        attach_exits(Chain(), request_, 8)


class Positions(nn.Module):
    """A layer that gives the same for every input, as of learned positions, beside those that do not."""

    def __init__(self):
        super().__init__()
        self.positions, self.shift = nn.Embedding(8, 8), nn.Linear(8, 8)
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6)))

    def forward(self, x):
        places = torch.arange(8).expand(len(x), 8)
        return self.layers(x + self.shift(self.positions(places)).mean(1))


def test_layers_that_do_not_depend_on_the_input_are_left_out():
    assert propose_exits(Positions(), 2, torch.randn(2, 8)) == ["layers.1", "layers.3"]
