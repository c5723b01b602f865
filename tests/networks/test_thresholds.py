"""Thresholds for stopping early: by no later exit is more lost than stated, and they are as low as that allows."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.networks.calibrate import softmax
from hasten.networks.thresholds import check_loss, stop_rule


def exits(inputs=3000, noises=(1.6, 1.0, 0.6), classes=5):
    """Logits of ever better exits, and the labels."""
    rng = np.random.default_rng(1)
    labels = rng.integers(classes, size=inputs)
    hot = 4.0 * np.eye(classes)[labels]
    return [hot / noise**2 / 2 + 2.0 * rng.standard_normal(hot.shape) / noise for noise in noises], labels


def losses(logits, labels, thresholds):
    """What stopping early loses of each later exit's right answers, and where inputs stop if the last is scheduled."""
    right = np.stack([found.argmax(axis=1) == labels for found in logits])
    sure = np.stack([softmax(found).max(axis=1) for found in logits])
    lost = []
    for e in range(1, len(logits)):
        stop = np.full(len(labels), e)
        for k in reversed(range(e)):
            if thresholds[k] is not None:
                stop[sure[k] >= thresholds[k]] = k
        lost.append(right[e].mean() - right[stop, np.arange(len(labels))].mean())
    return lost, stop


@pytest.mark.parametrize("loss", [0.002, 0.005, 0.02])
def test_no_scheduled_exit_loses_more_than_stated(loss):
    logits, labels = exits()
    rule = stop_rule(logits, labels, loss)
    lost, stop = losses(logits, labels, rule.thresholds)
    assert max(lost) <= loss + 1e-12
    assert rule.max_accuracy_loss == loss and rule.thresholds[-1] is None
    assert np.mean(stop < 2) > 0.15  # else nothing would be gained


def test_a_larger_loss_stops_more_and_a_lower_threshold_loses_too_much():
    logits, labels = exits()
    shares = [
        np.mean(losses(logits, labels, stop_rule(logits, labels, loss).thresholds)[1] < 2) for loss in (0.002, 0.02)
    ]
    assert shares[0] < shares[1]
    rule = stop_rule(logits, labels, 0.02)
    sure = np.sort(softmax(logits[0]).max(axis=1))
    lower = sure[sure < rule.thresholds[0]][-60]
    lost, _ = losses(logits, labels, (lower, None, None))
    assert max(lost) > 0.01  # half of it is the first exit's share


def test_an_exit_that_is_hardly_ever_sure_is_not_looked_at():
    logits, labels = exits()
    guessing = [np.random.default_rng(2).standard_normal(logits[0].shape), *logits]
    assert stop_rule(guessing, labels, 0.005).thresholds[0] is None


def test_losses_that_are_none_are_refused():
    check_loss(None, "mean_iou")
    for wrong in (0.0, -1.0, 1.5):
        with pytest.raises(InputError, match="max_accuracy_loss"):
            check_loss(wrong)
    with pytest.raises(InputError, match="another metric"):
        check_loss(0.01, "mean_iou")
