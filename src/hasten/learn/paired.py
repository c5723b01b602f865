"""Learning the values of backlogs left from pairs of options: one gradient step.

For options a and b of the same moment, with a next decision met after each of them,

    value(left by a) - value(left by b)  ->  between + discount * (best(next after a) - best(next after b)),

where ``between`` is what tasks other than this one and up to that decision gained more after a, and ``best`` the
largest action value, chosen by the network and valued by the target network (double DQN: van Hasselt et al., AAAI
2016). This is relative value iteration on sampled differences: what both futures have in common drops out, noise
included. The share lost is regressed for the options whose outcome is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.features.afterstates import SITUATION
from hasten.learn.backlog_network import BacklogNetwork
from hasten.learn.dqn import FloatArray, Learner, Step
from hasten.learn.pairs import OTHER, TAKEN, Pairs, left_by

Float32 = NDArray[np.float32]
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class PairedDqn(Learner[BacklogNetwork]):
    """Learns what backlogs cost from pairs."""

    def update(self, batch: Pairs, weight: FloatArray, learning_rate_share: float = 1.0) -> Step:
        """One step; ``weight`` (B,) is each pair's."""
        size = len(batch)
        best = self._best(batch)
        goal = batch.between + batch.discount * (best[:, TAKEN] - best[:, OTHER])
        flat, layers = self.network.heads(*_flat(batch.situation, batch.left))
        value, lost = flat[:, 0].reshape(size, 2), flat[:, 1].reshape(size, 2)
        error = value[:, TAKEN] - value[:, OTHER] - goal
        lost_error = lost - batch.lost
        lost_error[np.isnan(lost_error)] = ZERO  # unknown
        weights = weight.astype(np.float32)
        clipped = np.minimum(np.maximum(error, -ONE), ONE)
        slope = np.empty((size, 2, 2), dtype=np.float32)
        slope[:, TAKEN, 0] = weights * clipped / np.float32(size)
        slope[:, OTHER, 0] = -slope[:, TAKEN, 0]
        slope[:, :, 1] = weights[:, None] * lost_error / np.float32(size)
        self.network.backward(slope.reshape(2 * size, 2), layers)
        self._descend(learning_rate_share)
        huber = clipped * (error - np.float32(0.5) * clipped)
        loss = weights * (huber + np.float32(0.5) * (lost_error * lost_error).sum(axis=1))
        return Step(
            (np.abs(error) + np.abs(lost_error).sum(axis=1)).astype(np.float64),
            float(loss.mean()),
            float(max(np.abs(goal).max(), np.abs(value).max())),
        )

    def _best(self, batch: Pairs) -> Float32:
        """(B, 2): the value of the best allowed action at each next decision."""
        network, size = self.network, len(batch)
        seen = batch.next_obs.reshape(2 * size, -1)
        mask = batch.next_mask.reshape(2 * size, -1)
        action = np.where(mask, network.values(seen), np.float32(-np.inf)).argmax(axis=1)
        heads, _ = self.target.heads(seen[:, :SITUATION], left_by(seen, action[:, None])[:, 0])
        gain = seen[np.arange(2 * size), SITUATION + action]
        lost = np.minimum(np.maximum(heads[:, 1], ZERO), ONE)
        best = gain * (ONE - lost) + np.float32(network.discount) * heads[:, 0]
        return np.asarray(best.reshape(size, 2))


def _flat(situation: Float32, left: Float32) -> tuple[Float32, Float32]:
    """Both options of every pair one after another, (2 B, SITUATION) and (2 B, KINDS), as the network takes them."""
    return situation.reshape(-1, situation.shape[2]), left.reshape(-1, left.shape[2])
