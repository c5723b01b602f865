import numpy as np
import pytest
import torch
from torch import nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits
from hasten.networks.frozen import head_parameters, heads_mode, only_heads
from hasten.networks.train import TrainSettings, distillation_loss, train_exits

HEADS = TrainSettings(epochs=2, batch=16, parts="heads")


class Trunk(nn.Module):
    """Everything that moves by itself: statistics with and without weights, dropout, a counter; exits of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.plain_norm, self.drop = nn.BatchNorm1d(8, affine=False), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.early = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.second, self.late = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        self.calls += 1
        x = self.drop(self.plain_norm(self.norm(self.first(x))))
        return self.early(x), self.late(torch.relu(self.second(x)))


class InNoGrad(Trunk):
    """Part of the trunk takes no gradients anyway: it is no head for that."""

    def forward(self, x):
        with torch.no_grad():
            x = self.norm(self.first(x))
        return self.early(x), self.late(torch.relu(self.second(x)))


def data(seed=0):
    x = np.random.default_rng(seed).normal(3.0, 2.0, (64, 4)).astype(np.float32)
    return x, (x[:, 0] > 3).astype(np.int64)


@pytest.mark.parametrize("make", [Trunk, InNoGrad])
@pytest.mark.parametrize("labelled", [True, False])
def test_only_heads_change(make, labelled):
    torch.manual_seed(0)
    network, (x, y) = make(), data()
    network.first.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train_exits(network, x, y if labelled else None, HEADS, validation=(x, y if labelled else None))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"early.1.weight", "early.1.bias"} <= changed and all(name.startswith("early.") for name in changed)
    asked = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert asked == {"first.weight"}, "what was frozen before is as it was"


def test_heads_are_what_only_earlier_exits_need():
    network = Trunk()
    found = {id(weight) for weight in head_parameters(network, torch.randn(4, 4))}
    assert found == {id(weight) for weight in network.early.parameters()}
    with only_heads(network, torch.randn(4, 4)):
        heads_mode(network)
        training = {name for name, part in network.named_modules() if part.training}
    assert training == {"early", "early.0", "early.1"}


def test_a_network_without_heads_is_refused():
    class Shared(Trunk):
        def forward(self, x):
            x = self.first(x)
            return self.late(x), self.late(self.second(x))

    with pytest.raises(InputError, match="heads: got 'none', expected exits with parameters of their own"):
        train_exits(Shared(), *data(), HEADS)


def test_in_place_layers_behind_an_exit_do_not_disturb_it():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    network, (x, y) = attach_exits(module, ["0"], 2, (4,)), data()
    final = module(torch.from_numpy(x)).detach()
    train_exits(network, x, y, HEADS)
    assert torch.equal(network(torch.from_numpy(x))[-1], final)


def test_distillation_is_the_cross_entropy_to_softened_answers():
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    wanted = (teacher / 2).softmax(1)
    by_hand = -4 * (wanted * (student / 2).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(distillation_loss([student, teacher]), by_hand)
    torch.testing.assert_close(distillation_loss([student, teacher, teacher], (1, 3, 9)), _mixed(student, teacher))


def _mixed(student, teacher):
    losses = [distillation_loss([logits, teacher]) for logits in (student, teacher)]
    return (losses[0] + 3 * losses[1]) / 4
