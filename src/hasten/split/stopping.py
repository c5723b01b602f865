"""Where tasks of each (exit, partition) stop early, and how many of those are right, measured on held-out inputs.

Up to the partition heads see what the device has; behind it what came through the codec. So stops are measured with the
codec of each cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hasten.core.confidence import Confidence, StopOutcome, StopRule
from hasten.split.accuracy import SCORE, SURE, Accuracies

Floats = NDArray[np.float64]
Answered = tuple[Floats, Floats]
"""Whether the answer of each exit is right, and its confidence; (N, E) each."""
Stopped = tuple[list[float], list[float]]
"""Of each exit up to the scheduled one the share of inputs that stop there, and the share of those that are right."""


def measure_stops(after_block: tuple[int, ...], rule: StopRule, accuracy: Accuracies) -> Confidence:
    """What ``rule`` comes to for exits behind these blocks, by the answers of ``accuracy``, with its codecs.

    What is done on the device is told by the answers to all inputs, what is sent by those to the inputs that were sent:
    of the tasks that do not stop on the device they say where they stop at the edge, and how many are
    right; the latter shifted by as much as those inputs are easier or harder for the scheduled exit than all.
    """
    here, sent = _right_and_sure(accuracy.answers.whole), _right_and_sure(accuracy.answers.sent)
    outcomes = []
    for e, after in enumerate(after_block):
        row = []
        for p in range(after + 1):
            local = _stopped(here, e, rule)
            if p == after:
                row.append(_outcome(local))
                continue
            right, sure = _joined(here, (sent[0][:, p], sent[1][:, p]), after_block, p)
            shift = accuracy.by_partition[e][p] - float(right[:, e].mean())
            behind = [k for k in range(e + 1) if after_block[k] > p]
            row.append(_outcome(_onward(local, _stopped((right, sure), e, rule), behind, shift)))
        outcomes.append(tuple(row))
    return Confidence(max_accuracy_loss=rule.max_accuracy_loss, thresholds=rule.thresholds, outcomes=tuple(outcomes))


def _right_and_sure(answers: Floats) -> Answered:
    """Both parts (..., E) of answers (..., E, 2)."""
    return answers[..., SCORE], answers[..., SURE]


def stopped_at(sure: Floats, thresholds: tuple[float | None, ...]) -> NDArray[np.int64]:
    """(N,): the exit, from 0, at which each input stops, by confidences (N, e); ``thresholds`` are those of all exits.

    The last column is the scheduled exit, at which all stop that have not before.
    """
    limits = np.array([np.inf if limit is None else limit for limit in thresholds[: sure.shape[1]]])
    limits[-1] = -np.inf
    return np.asarray((sure >= limits).argmax(axis=1), dtype=np.int64)


def _stopped(answers: Answered, e: int, rule: StopRule) -> Stopped:
    """The shares of inputs that stop at each of the exits 0..e when that is scheduled, and how many of them are right.

    An exit at which none stops is as accurate as it is for all.
    """
    right, sure = (values[:, : e + 1] for values in answers)
    stop = stopped_at(sure, rule.thresholds)
    stops = [stop == k for k in range(e + 1)]
    shares = [float(here.mean()) for here in stops]
    return shares, [float(right[here if here.any() else slice(None), k].mean()) for k, here in enumerate(stops)]


def _onward(local: Stopped, sent: Stopped, behind: Sequence[int], shift: float) -> Stopped:
    """Of what would stop ``behind`` the partition, shares and accuracies as ``sent`` inputs say; else the ``local``."""
    (shares, accuracies), (sent_shares, sent_accuracies) = (([*part[0]], [*part[1]]) for part in (local, sent))
    left, sent_left = (math.fsum(part[k] for k in behind) for part in (shares, sent_shares))
    for k in behind:
        shares[k] = left * sent_shares[k] / sent_left if sent_left > 0 else left * (k == behind[-1])
        accuracies[k] = sent_accuracies[k] + shift
    return shares, accuracies


def _outcome(stopped: Stopped) -> StopOutcome:
    shares, accuracies = stopped
    return StopOutcome(shares=tuple(shares), accuracies=tuple(float(np.clip(it, 0.0, 1.0)) for it in accuracies))


def _joined(here: Answered, sent: Answered, after_block: tuple[int, ...], partition: int) -> Answered:
    """The answers of exits up to ``partition`` as the device gives them, of those behind it as the edge does."""
    count = len(sent[0])
    local = np.array([after <= partition for after in after_block])
    right, sure = (np.where(local, mine[:count], theirs) for mine, theirs in zip(here, sent, strict=True))
    return right, sure
