"""LinUCB on partition points (ANS): learns link and edge delays from realised latencies, for the final exit.

Zhang, Chen, Xu, "Autodidactic Neurosurgeon: Collaborative Deep Inference for Mobile Edge Intelligence via Online
Learning", WWW 2021 (muLinUCB). A device knows its own times and the network, but neither rate nor edge speed. The
delay behind a cut is modelled as ``theta . x`` with features x of what remains, theta estimated by ridge regression,
and the cut of least ``device time + theta . x - alpha * sqrt(x' A^-1 x)`` is taken. Keeping everything on the device
teaches nothing about the edge, so now and then that option is barred (every ``ceil(T^(1/4))``-th task of a phase of T;
T doubles from phase to phase, as alpha grows with T).

What differs from the paper: profiles have no operation counts, so the features are bytes sent, the device's own time
for the remaining blocks, and their number, each as a share of its largest; tasks have no key-frame weights (all are
alike). Tasks that would be late are dropped here and never show their delay: such a task counts as one that took
twice the useful time in all, because otherwise an option that always expires would be tried for ever, and cuts whose
device part alone is too long are left out. Queues are not looked at: to the bandit waiting is part of the delay. As
published every cut counts as equally accurate.
Every device of every run learns for itself.
"""

from __future__ import annotations

import numpy as np

from hasten.core.decision import Context, Decision, FloatArray, IntArray, Observer, Outcomes, View, useful_limit_ms
from hasten.core.options import OptionTable
from hasten.schedulers import no_argument

FEATURES = 3
FIRST_PHASE = 200
FORCED_EXPONENT = 0.25
CONFIDENCE = 0.1
"""The bound on the estimate may fail with this probability (delta)."""
DELAY_NOISE = 0.05
"""Assumed noise of a delay, as a share of the longest useful latency."""
THETA_NORM = 1.0
MISSED = 2.0
"""A task without an answer counts as answered after this many times the longest useful latency."""


class LinUcb(Observer):
    """The cut of the final exit whose optimistic estimate of device time plus learned delay is least."""

    name = "linucb"

    def __init__(self, argument: str = "") -> None:
        no_argument(self.name, argument)

    def reset(self, context: Context) -> None:
        """Forget everything learned."""
        options = context.options
        self._limit_ms = useful_limit_ms(context)
        parts = [_useful_cuts(options, m, float(limit_ms)) for m, limit_ms in enumerate(self._limit_ms)]
        table, self._column = options.columns(parts)
        self._device_ms = table.device_ms
        self._option_device_ms = options.device_ms
        self._keeps = table.payload_bits == 0
        self._option_features = _features(options)
        chosen = np.maximum(self._column, 0)[:, :, None]
        self._features = np.take_along_axis(self._option_features, chosen, axis=1)
        self._norm_squared = (self._features**2).sum(axis=2).max(axis=1)
        devices = (context.batch, options.streams)
        self._precision = np.tile(np.eye(FEATURES), (*devices, 1, 1))
        self._response = np.zeros((*devices, FEATURES))
        self._covariance = self._precision.copy()
        self._theta = np.zeros((*devices, FEATURES, 1))
        self._task = np.zeros(devices, dtype=np.int64)
        self._phase = np.zeros(devices, dtype=np.int64)
        self._every = np.ones(devices, dtype=np.int64)
        self._alpha = np.zeros(devices)

    def decide(self, view: View) -> Decision:
        """The most promising cut, or at a forced step the most promising one that sends."""
        row, stream = view.row, view.stream
        task = self._task[row, stream] + 1
        over = task > self._phase[row, stream]
        if over.any():
            self._start_phase(row[over], stream[over])
            task[over] = 1
        self._task[row, stream] = task
        forced = task % self._every[row, stream] == 0
        x = self._features[stream]
        doubt = np.sqrt(((x @ self._covariance[row, stream]) * x).sum(axis=2))
        delay = (x @ self._theta[row, stream])[:, :, 0] - self._alpha[row, stream][:, None] * doubt
        cost = self._device_ms[stream] + self._limit_ms[stream][:, None] * delay
        best = np.where(forced[:, None] & self._keeps[stream], np.inf, cost).argmin(axis=1)
        return Decision(self._column[stream, best])

    def observe(self, outcomes: Outcomes) -> None:
        """Regress on the delays behind the cut of tasks that were sent."""
        x = self._option_features[outcomes.stream, outcomes.option]
        sent = x.any(axis=1)
        if not sent.any():
            return
        row, stream, option, x = outcomes.row[sent], outcomes.stream[sent], outcomes.option[sent], x[sent]
        delay_ms = outcomes.latency_ms[sent] - outcomes.device_done_ms[sent]
        limit_ms = self._limit_ms[stream]
        missed_ms = np.maximum(MISSED * limit_ms - self._option_device_ms[stream, option], 0.0)
        delay = np.where(np.isfinite(delay_ms), delay_ms, missed_ms) / limit_ms
        np.add.at(self._precision, (row, stream), x[:, :, None] * x[:, None, :])
        np.add.at(self._response, (row, stream), x * delay[:, None])
        covariance = np.linalg.inv(self._precision[row, stream])
        self._covariance[row, stream] = covariance
        self._theta[row, stream] = covariance @ self._response[row, stream][:, :, None]

    def _start_phase(self, row: IntArray, stream: IntArray) -> None:
        """Double the phase of these devices (A,), with its confidence width and its forced steps."""
        phase = np.maximum(2 * self._phase[row, stream], FIRST_PHASE)
        self._phase[row, stream] = phase
        self._every[row, stream] = np.ceil(phase**FORCED_EXPONENT).astype(np.int64)
        spread = np.log((1.0 + phase * self._norm_squared[stream]) / CONFIDENCE)
        self._alpha[row, stream] = THETA_NORM + DELAY_NOISE * np.sqrt(FEATURES * spread)


def _useful_cuts(options: OptionTable, stream: int, limit_ms: float) -> list[int]:
    """Columns of the final exit whose device part is not too long by itself; all of it when every one is."""
    final = np.flatnonzero(options.exit[stream] == options.exit[stream].max())
    useful = final[options.device_ms[stream, final] <= limit_ms]
    return [int(j) for j in (useful if len(useful) else final)]


def _features(options: OptionTable) -> FloatArray:
    """Features (M, J, 3) of what remains behind each cut of the final exit; zeros where nothing is sent."""
    final = options.exit == options.exit.max(axis=1, keepdims=True)
    sends = final & (options.payload_bits > 0)
    whole_ms = np.where(final & ~sends, options.device_ms, 0.0).max(axis=1, keepdims=True)
    blocks = np.where(final, options.partition, 0).max(axis=1, keepdims=True)
    raw = np.stack([options.payload_bits, whole_ms - options.device_ms, blocks - options.partition], axis=2)
    raw = np.where(sends[:, :, None], raw, 0.0)
    largest = raw.max(axis=1, keepdims=True)
    features: FloatArray = np.divide(raw, largest, out=np.zeros_like(raw), where=largest > 0)
    return features
