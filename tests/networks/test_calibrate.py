import numpy as np
import pytest
import torch
from torch import nn

from hasten.networks.calibrate import (
    calibrated,
    calibration_error,
    exit_accuracy,
    exit_logits,
    fit_temperature,
    softmax,
)


def draw(count, scale, seed=0):
    """Logits whose labels are drawn from softmax(logits), then multiplied by ``scale``: the true temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 5))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits * scale, labels


def negative_log_likelihood(logits, labels, temperature):
    return -np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_temperature_is_recovered(scale):
    logits, labels = draw(20_000, scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.05)


def test_temperature_minimises_the_likelihood_loss():
    logits, labels = draw(300, 3.0)
    best = fit_temperature(logits, labels)
    grid = np.geomspace(0.1, 30, 400)
    losses = [negative_log_likelihood(logits, labels, temperature) for temperature in grid]
    assert negative_log_likelihood(logits, labels, best) <= min(losses) + 1e-12
    assert best == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_extreme_exits_stay_finite():
    labels = np.arange(4)
    assert 0 < fit_temperature(np.eye(4) * 1e4, labels) < np.inf
    assert fit_temperature(-np.eye(4), labels) == pytest.approx(1e3)
    assert fit_temperature(np.zeros((4, 4)), labels) > 0


def test_calibration_error_by_hand():
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]))
    labels = np.array([0, 1, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx((2 * abs(0.5 - 0.9) + 2 * abs(1.0 - 0.6)) / 4)


def test_calibrated_network_scales_each_exit_and_keeps_every_answer():
    class Two(nn.Module):
        def forward(self, x):
            return 9 * x, 0.3 * x

    logits, labels = draw(4_000, 1.0)
    x = logits.astype(np.float32)
    network = calibrated(Two(), x, labels)
    assert network.temperatures == pytest.approx([9.0, 0.3], rel=0.1)
    first, second = exit_logits(network, x)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    assert calibration_error(first, labels) < 0.03 < calibration_error(9 * logits, labels)
    assert exit_accuracy(network, x, labels) == exit_accuracy(Two(), x, labels)


def test_exit_logits_do_not_depend_on_the_batch():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()

    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return (self.network(x),)

    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    (whole,), (pieces,) = exit_logits(Once(), x), exit_logits(Once(), x, batch=3)
    np.testing.assert_allclose(whole, pieces, rtol=1e-5, atol=1e-6)
    assert whole.shape == (10, 4) and torch.equal(network[1].running_mean, torch.zeros(4))


class Normalising(nn.Module):
    """Works on its input where it lies."""

    def forward(self, x):
        x.sub_(0.3).div_(0.4)
        return (torch.stack([x.sum(1), -x.sum(1)], 1),)


def test_measuring_leaves_the_callers_arrays_alone():
    x = np.random.default_rng(0).random((20, 3), np.float32)
    kept, labels = x.copy(), np.zeros(20, np.int64)
    first = exit_accuracy(Normalising(), x, labels)
    assert exit_accuracy(Normalising(), x, labels) == first
    calibrated(Normalising(), x, labels)
    np.testing.assert_array_equal(x, kept)
