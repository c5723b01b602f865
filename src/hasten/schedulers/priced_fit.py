"""What sample runs say of backlogs: the estimates that :mod:`hasten.schedulers.priced_values` uses.

Least-squares temporal differences with traces fit the values of backlogs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hasten.core.calibration import prior_shares
from hasten.core.decision import FloatArray
from hasten.schedulers.priced_rule import NODES

TRACE = 0.8
RIDGE = 1e-3


@dataclass
class SampleLog:
    """What sample runs leave behind, (K, R) unless said otherwise."""

    features: FloatArray
    """(K, R, F): of the backlogs after each decision."""
    gain: FloatArray
    """What became of each task, above dropping it."""
    shares: FloatArray
    """(1 + E, K): the mean of all streams' calibration curves in the end."""

    @classmethod
    def empty(cls, decisions: int, runs: int, edges: int) -> SampleLog:
        """Room for all decisions."""
        size = (1 + 2 * edges) * (len(NODES) - 1)
        return cls(
            np.zeros((decisions, runs, size)),
            np.zeros((decisions, runs)),
            prior_shares(edges),
        )


def fit_values(log: SampleLog, counted: slice, average: float) -> FloatArray:
    """Least-squares temporal differences with traces: (1 + 2 E, nodes)."""
    features, gain = log.features[counted], log.gain[counted]
    size = features.shape[2]
    matrix, target = np.zeros((size, size)), np.zeros(size)
    trace = np.zeros(features.shape[1:])
    for k in range(len(features) - 1):
        trace = TRACE * trace + features[k]
        matrix += trace.T @ (features[k] - features[k + 1])
        target += trace.T @ (gain[k + 1] - average)
    ridge = RIDGE * max(float(np.trace(matrix)) / size, 1.0)
    weight = np.linalg.solve(matrix + ridge * np.eye(size), target)
    at_node = np.pad(weight.reshape(-1, len(NODES) - 1), ((0, 0), (1, 0)))
    return np.minimum.accumulate(at_node, axis=1)  # a fuller queue is never worth more


def backlog_features(backlog: FloatArray) -> FloatArray:
    """(R, nodes - 1): hat functions of each backlog (R, n) at all nodes but the first, summed over n."""
    place = np.clip(np.searchsorted(NODES, backlog, side="right") - 1, 0, len(NODES) - 2)
    part = np.minimum((backlog - NODES[place]) / (NODES[place + 1] - NODES[place]), 1.0)
    hats = np.zeros((len(backlog), len(NODES)))
    rows = np.repeat(np.arange(len(backlog)), backlog.shape[1])
    np.add.at(hats, (rows, place.ravel()), 1.0 - part.ravel())
    np.add.at(hats, (rows, place.ravel() + 1), part.ravel())
    return hats[:, 1:]
