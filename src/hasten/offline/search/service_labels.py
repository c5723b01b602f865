"""Partial plans in service order, the ways on from them, and which of them another one dominates; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled
from hasten.offline.search.epochs import DecisionEpochs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CAUTION = 5.0
"""A label is dominated when another leads by this times what is worse about the other, at the heuristic's prices."""
ROUNDING = 1e-9


class ServiceLabels(NamedTuple):
    """Partial plans; the first dimension is the label."""

    gain: FloatArray
    link_ms: FloatArray
    edge_ms: FloatArray
    """(B, W): ascending."""
    score: FloatArray
    paid: FloatArray
    node: IntArray
    """(B,): last decision in the record, -1 without one."""
    at: IntArray
    """(B, M): the stream's next task (Q); likewise when its device is free, ..."""
    free_ms: FloatArray
    group: IntArray
    """... the next device time at which it could be ready, ..."""
    kept: NDArray[np.bool_]
    """... whether the epoch to drop it has passed, ..."""
    ahead: FloatArray
    """... what the stream alone can still gain, and the next epoch."""
    next_ms: FloatArray


class Branches(NamedTuple):
    """Ways on from all labels (C,): the deciding stream's columns of the label that each leads to."""

    label: IntArray
    stream: IntArray
    """(C,): -1 for a label that waits."""
    option: IntArray
    """(C,): NOTHING where no option is taken."""
    gain: FloatArray
    link_ms: FloatArray
    edge_end_ms: FloatArray
    """(C,): when the first free worker is free again."""
    at: IntArray
    free_ms: FloatArray
    group: IntArray
    kept: NDArray[np.bool_]
    ahead: FloatArray
    next_ms: FloatArray
    paid: FloatArray
    score: FloatArray


def new_labels(width: int, streams: int, workers: int) -> ServiceLabels:
    """Room for ``width`` labels; in the first one everything is idle."""
    return ServiceLabels(
        gain=np.zeros(width),
        link_ms=np.zeros(width),
        edge_ms=np.zeros((width, workers)),
        score=np.zeros(width),
        paid=np.zeros(width),
        node=np.full(width, -1),
        at=np.zeros((width, streams), np.int64),
        free_ms=np.zeros((width, streams)),
        group=np.zeros((width, streams), np.int64),
        kept=np.zeros((width, streams), np.bool_),
        ahead=np.zeros((width, streams)),
        next_ms=np.full((width, streams), np.inf),
    )


def new_branches(most: int) -> Branches:
    """Room for so many ways on."""
    return Branches(
        label=np.zeros(most, np.int64),
        stream=np.zeros(most, np.int64),
        option=np.zeros(most, np.int64),
        gain=np.zeros(most),
        link_ms=np.zeros(most),
        edge_end_ms=np.zeros(most),
        at=np.zeros(most, np.int64),
        free_ms=np.zeros(most),
        group=np.zeros(most, np.int64),
        kept=np.zeros(most, np.bool_),
        ahead=np.zeros(most),
        next_ms=np.zeros(most),
        paid=np.zeros(most),
        score=np.zeros(most),
    )


@compiled
def follow(labels: ServiceLabels, after: ServiceLabels, to: int, branches: Branches, c: int) -> None:
    """Write the label that branch ``c`` leads to into row ``to`` of ``after``."""
    b, m = branches.label[c], branches.stream[c]
    for i in range(labels.at.shape[1]):
        after.at[to, i] = labels.at[b, i]
        after.free_ms[to, i] = labels.free_ms[b, i]
        after.group[to, i] = labels.group[b, i]
        after.kept[to, i] = labels.kept[b, i]
        after.ahead[to, i] = labels.ahead[b, i]
        after.next_ms[to, i] = labels.next_ms[b, i]
    after.gain[to], after.link_ms[to] = branches.gain[c], branches.link_ms[c]
    after.paid[to], after.score[to], after.node[to] = branches.paid[c], branches.score[c], labels.node[b]
    w = 0
    workers = labels.edge_ms.shape[1]
    while w + 1 < workers and labels.edge_ms[b, w + 1] < branches.edge_end_ms[c]:
        after.edge_ms[to, w] = labels.edge_ms[b, w + 1]
        w += 1
    after.edge_ms[to, w] = branches.edge_end_ms[c]
    for i in range(w + 1, workers):
        after.edge_ms[to, i] = labels.edge_ms[b, i]
    if m >= 0:
        after.at[to, m], after.free_ms[to, m], after.group[to, m] = (
            branches.at[c],
            branches.free_ms[c],
            branches.group[c],
        )
        after.kept[to, m], after.ahead[to, m], after.next_ms[to, m] = (
            branches.kept[c],
            branches.ahead[c],
            branches.next_ms[c],
        )


@compiled
def heuristically_dominated(epochs: DecisionEpochs, labels: ServiceLabels, count: int, b: int, now_ms: float) -> bool:
    """Whether one of the first ``count`` labels has gained more than all that is worse about it may cost."""
    for a in range(count):
        lead = labels.gain[a] - labels.gain[b] + ROUNDING
        if lead < 0.0:
            continue
        owed = CAUTION * max(labels.paid[a] - labels.paid[b], 0.0)
        owed += epochs.least_price * max(labels.link_ms[a] - max(labels.link_ms[b], now_ms), 0.0)
        for w in range(labels.edge_ms.shape[1]):
            owed += epochs.least_price * max(labels.edge_ms[a, w] - max(labels.edge_ms[b, w], now_ms), 0.0)
        for m in range(labels.ahead.shape[1]):
            if owed > lead:
                break
            owed += CAUTION * max(labels.ahead[b, m] - labels.ahead[a, m], 0.0)
            behind = labels.at[a, m] - labels.at[b, m]
            lost = behind > 0 or (labels.kept[a, m] and (behind < 0 or not labels.kept[b, m]))
            if lost or (behind == 0 and labels.group[a, m] > labels.group[b, m]):
                owed += epochs.least_gain
            if behind == 0:
                owed += epochs.least_price * max(labels.free_ms[a, m] - max(labels.free_ms[b, m], now_ms), 0.0)
        if owed <= lead:
            return True
    return False
