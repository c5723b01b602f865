import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hasten.core.errors import HastenError, InputError
from hasten.networks.attach import attach_exits
from hasten.networks.calibrate import exit_accuracy
from hasten.networks.train import TrainSettings, joint_loss, train_exits


def make_network(seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Flatten(), nn.Linear(144, 3))
    return attach_exits(module, ["1"], 3, (1, 8, 8))


def halves(count, seed):
    """Three classes: the upper half, the left half or nothing is bright, plus noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.integers(0, 60, (count, 1, 8, 8))
    x[y == 0, :, :4] += 150
    x[y == 1, :, :, :4] += 150
    return x.astype(np.uint8), y


def test_training_teaches_every_exit():
    x, y = halves(400, 0)
    network = make_network()
    losses = train_exits(network, x, y, TrainSettings(epochs=4, batch=20))
    assert losses[-1] < 0.5 * losses[0]
    assert min(exit_accuracy(network, *halves(200, 1))) > 0.95
    assert not network.training


def test_equal_seeds_give_equal_weights_and_leave_the_callers_randomness_alone():
    x, y = halves(64, 0)
    state = torch.random.get_rng_state()
    results = []
    for seed in (1, 1, 2):
        network = make_network()
        torch.random.set_rng_state(state)
        train_exits(network, x, y, TrainSettings(epochs=1, batch=16, seed=seed))
        assert torch.equal(torch.random.get_rng_state(), state)
        results.append(nn.utils.parameters_to_vector(network.parameters()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_joint_loss_is_the_weighted_mean():
    logits, targets = [torch.randn(5, 3), torch.randn(5, 3)], torch.tensor([0, 1, 2, 0, 1])
    first, second = (F.cross_entropy(exit_logits, targets) for exit_logits in logits)
    torch.testing.assert_close(joint_loss(logits, targets), (first + 2 * second) / 3)
    torch.testing.assert_close(joint_loss(logits, targets, (3, 1)), (3 * first + second) / 4)
    with pytest.raises(InputError, match="2 weights, one per exit"):
        joint_loss(logits, targets, (1, 2, 3))


def test_progress_rises_to_the_end():
    seen = []
    x, y = halves(64, 0)
    settings = TrainSettings(epochs=2, batch=2)
    losses = train_exits(make_network(), x, y, settings, lambda what, done: seen.append((what, done)))
    fractions = [done for _, done in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0 and 0.7 < fractions[-1] < 1
    assert list(dict.fromkeys(what for what, _ in seen)) == [
        "training, epoch 1 of 2",
        f"training, epoch 2 of 2 (loss {losses[0]:.3f})",
    ]


def test_divergence_is_reported():
    x, y = halves(64, 0)
    network = make_network()
    with torch.no_grad():
        network.module[0].weight.fill_(float("inf"))
    with pytest.raises(HastenError, match=r"diverged in epoch 1: try a peak_lr below 0\.004"):
        train_exits(network, x, y, TrainSettings(epochs=2, batch=16))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (TrainSettings(epochs=0), "epochs"),
        (TrainSettings(batch=65), "batch"),
        (TrainSettings(batch=1), "batch"),
        (TrainSettings(peak_lr=0.0), "peak_lr"),
        (TrainSettings(batch=16, exit_weights=(1.0, 0.0)), "exit_weights"),
        (TrainSettings(batch=16, exit_weights=()), "exit_weights"),
    ],
)
def test_settings_that_cannot_work(settings, field):
    with pytest.raises(InputError) as caught:
        train_exits(make_network(), *halves(64, 0), settings)
    assert caught.value.field == field


def test_data_that_does_not_fit():
    x, y = halves(64, 0)
    with pytest.raises(InputError, match=r"as many as inputs \(64\)"):
        train_exits(make_network(), x, y[:-1])
    with pytest.raises(InputError, match="input shape"):
        train_exits(make_network(), x[:, :, :4], y)


class Frozen(nn.Module):
    """A trunk with statistics, dropout and a buffer that every call moves, and a linear layer behind it."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.trunk.register_buffer("calls", torch.zeros(()))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        self.trunk.calls += 1
        return (self.head(self.trunk(x)),)


def test_a_frozen_trunk_stays_frozen_statistics_and_buffers_included():
    torch.manual_seed(0)
    network = Frozen()
    for weight in network.trunk.parameters():
        weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = np.random.default_rng(0).normal(3.0, 2.0, (64, 4)).astype(np.float32)
    train_exits(network, x, (x[:, 0] > 3).astype(np.int64), TrainSettings(epochs=2, batch=16))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_nothing_to_train_is_refused():
    network = Frozen()
    for weight in network.parameters():
        weight.requires_grad_(False)
    with pytest.raises(InputError, match="all frozen"):
        train_exits(network, np.zeros((32, 4), np.float32), np.zeros(32, np.int64), TrainSettings(epochs=1))
