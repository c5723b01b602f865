"""When a task may stop at an exit that it passes: thresholds on calibrated confidence, chosen on validation data.

Stopping at an exit loses what the scheduled, later exit would have got right and gains what it would have got wrong.
Whichever exit is scheduled, stopping at those before it is to lose at most the stated share of answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hasten.core.confidence import StopRule
from hasten.core.errors import InputError
from hasten.networks.calibrate import exit_logits, softmax
from hasten.networks.data import Dataset
from hasten.split.metrics import ACCURACY

Floats = NDArray[np.float64]

LEAST_SHARE = 0.05
"""An exit at which fewer of the tasks that come by would stop is not looked at: its head costs all of them time."""


def check_loss(max_accuracy_loss: float | None, metric: object = ACCURACY) -> None:
    """Refuse a loss that is none, and one of anything but answers right or wrong."""
    if max_accuracy_loss is not None and not 0.0 < max_accuracy_loss <= 1.0:
        raise InputError("build", "max_accuracy_loss", max_accuracy_loss, "a share of answers above 0, up to 1")
    if max_accuracy_loss is not None and metric != ACCURACY:
        expected = "none with another metric than accuracy: only a class has a confidence"
        raise InputError("build", "max_accuracy_loss", max_accuracy_loss, expected)


def chosen_rule(module: nn.Module, dataset: Dataset, max_accuracy_loss: float) -> StopRule:
    """When tasks may stop early, by the validation data; without labels what counts is the final exit's answer."""
    logits = exit_logits(module, dataset.val_x)
    labels = logits[-1].argmax(axis=1) if dataset.val_y is None else dataset.val_y
    return stop_rule(logits, labels, max_accuracy_loss)


def stop_rule(logits: Sequence[Floats], labels: NDArray[np.integer], max_accuracy_loss: float) -> StopRule:
    """The thresholds for exits with calibrated ``logits`` (N, classes) each for validation inputs with ``labels`` (N,).

    One exit after the other gets the lowest threshold with which no later exit loses too much by it and those before
    it: an even share of ``max_accuracy_loss`` for each, and what was left of the others'.
    """
    right = np.stack([found.argmax(axis=1) == labels for found in logits], axis=1).astype(np.float64)
    sure = np.stack([softmax(found).max(axis=1) for found in logits], axis=1)
    before = len(logits) - 1
    lost = np.zeros(right.shape)  # by each input, for each scheduled exit
    going = np.ones(len(labels), dtype=bool)
    thresholds: list[float | None] = []
    for k in range(before):
        allowed = max_accuracy_loss * (k + 1) / before - lost[:, k + 1 :].mean(axis=0)
        change = np.where(going[:, None], right[:, k + 1 :] - right[:, k : k + 1], 0.0)
        limit = _lowest(sure[:, k], change, allowed, going)
        thresholds.append(limit)
        if limit is not None:
            stops = going & (sure[:, k] >= limit)
            lost[stops, k + 1 :] += change[stops]
            going &= ~stops
    return StopRule(max_accuracy_loss=max_accuracy_loss, thresholds=(*thresholds, None))


def _lowest(sure: Floats, change: Floats, allowed: Floats, going: NDArray[np.bool_]) -> float | None:
    """The lowest threshold from which on upwards none loses more than ``allowed`` (L,); None: not worth looking.

    ``sure`` (N,) is the confidence here, ``change`` (N, L) what stopping here loses of each later exit's answers.
    """
    order = np.argsort(-sure[going], kind="stable")
    values = sure[going][order]
    loses = np.cumsum(change[going][order], axis=0) / len(sure)
    ends = np.flatnonzero(np.append(values[1:] < values[:-1], True))  # equals stop together
    bad = np.flatnonzero((loses[ends] > allowed + 1e-12).any(axis=1))
    most = int(bad[0]) if len(bad) else len(ends)  # of the ends, so many from the top
    if most == 0 or ends[most - 1] + 1 < LEAST_SHARE * len(values):
        return None
    return float(values[ends[most - 1]])
