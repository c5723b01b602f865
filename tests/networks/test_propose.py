import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
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
