"""Learning the values of afterstates from pairs of options: one gradient step.

For options a and b of the same moment, with a next decision met after each of them,

    value(afterstate of a) - value(afterstate of b)  ->  between + discount * (best(next after a) - best(next after b)),

where ``between`` is what tasks other than this one and up to that decision gained more after a, and ``best`` the
largest action value, chosen by the network and valued by the target network (double DQN: van Hasselt et al., AAAI
2016). This is relative value iteration on sampled differences: what both futures have in common drops out, noise
included. The realised-gain shortfall is regressed for the options whose outcome is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.features.afterstates import context_of, gains_of
from hasten.learn.afterstate_network import AfterstateNetwork
from hasten.learn.dqn import FloatArray, Learner, Step
from hasten.learn.pairs import ALTERNATIVE, CHOSEN, Pairs, afterstates_after

Float32 = NDArray[np.float32]
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class PairedDqn(Learner[AfterstateNetwork]):
    """Learns what backlogs cost from pairs."""

    def update(self, batch: Pairs, weight: FloatArray, learning_rate_share: float = 1.0) -> Step:
        """One step; ``weight`` (B,) is each pair's."""
        size = len(batch)
        best = self._best(batch)
        goal = batch.between + batch.discount * (best[:, CHOSEN] - best[:, ALTERNATIVE])
        flat, layers = self.network.heads(*_flat(batch.context, batch.afterstate))
        value, shortfall = flat[:, 0].reshape(size, 2), flat[:, 1].reshape(size, 2)
        error = value[:, CHOSEN] - value[:, ALTERNATIVE] - goal
        shortfall_error = shortfall - batch.shortfall
        shortfall_error[np.isnan(shortfall_error)] = ZERO  # unknown
        weights = weight.astype(np.float32)
        clipped = np.minimum(np.maximum(error, -ONE), ONE)
        slope = np.empty((size, 2, 2), dtype=np.float32)
        slope[:, CHOSEN, 0] = weights * clipped / np.float32(size)
        slope[:, ALTERNATIVE, 0] = -slope[:, CHOSEN, 0]
        slope[:, :, 1] = weights[:, None] * shortfall_error / np.float32(size)
        self.network.backward(slope.reshape(2 * size, 2), layers)
        self._descend(learning_rate_share)
        huber = clipped * (error - np.float32(0.5) * clipped)
        loss = weights * (huber + np.float32(0.5) * (shortfall_error * shortfall_error).sum(axis=1))
        return Step(
            (np.abs(error) + np.abs(shortfall_error).sum(axis=1)).astype(np.float64),
            float(loss.mean()),
            float(max(np.abs(goal).max(), np.abs(value).max())),
        )

    def _best(self, batch: Pairs) -> Float32:
        """(B, 2): the value of the best allowed action at each next decision."""
        network, size = self.network, len(batch)
        seen = batch.next_obs.reshape(2 * size, -1)
        mask = batch.next_mask.reshape(2 * size, -1)
        action = np.where(mask, network.values(seen), np.float32(-np.inf)).argmax(axis=1)
        heads, _ = self.target.heads(context_of(seen), afterstates_after(seen, action[:, None])[:, 0])
        gain = gains_of(seen)[np.arange(2 * size), action]
        shortfall = np.minimum(np.maximum(heads[:, 1], ZERO), ONE)
        best = gain * (ONE - shortfall) + np.float32(network.discount) * heads[:, 0]
        return np.asarray(best.reshape(size, 2))


def _flat(context: Float32, afterstate: Float32) -> tuple[Float32, Float32]:
    """Both options of every pair one after another, (2 B, S) and (2 B, backlogs), as the network takes them."""
    return context.reshape(-1, context.shape[2]), afterstate.reshape(-1, afterstate.shape[2])
