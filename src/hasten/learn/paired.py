"""Learning the values of backlogs left from pairs of options: one gradient step.

For options a and b of the same moment, with the next decision met after each of them,

    value(left by a) - value(left by b)  ->  best(next after a) - best(next after b),

where ``best`` is the largest action value, chosen by the network and valued by the target network (double DQN: van
Hasselt et al., AAAI 2016). This is relative value iteration on sampled differences: what both futures have in common
drops out, noise included. The share lost is regressed for the option taken only, since only its outcome is known.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hasten.core.backlogs import KINDS, SITUATION
from hasten.learn.backlog_network import BacklogNetwork
from hasten.learn.dqn import FloatArray, Learner, Step
from hasten.learn.pairs import OTHER, TAKEN, Pairs


class PairedDqn(Learner[BacklogNetwork]):
    """Learns what backlogs cost from pairs."""

    @torch.no_grad()
    def update(self, batch: Pairs, weight: FloatArray, learning_rate_share: float = 1.0) -> Step:
        """One step; ``weight`` (B,) is each pair's."""
        network, size = self.network, len(batch)
        best = self._best(batch)
        goal = best[:, TAKEN] - best[:, OTHER]
        situation = torch.from_numpy(np.ascontiguousarray(batch.obs[:, :SITUATION]))
        heads, kept = network.heads(situation, backlogs_after(batch.obs[:, None], batch.action, network.options))
        value, lost = heads[:, :, 0], heads[:, TAKEN, 1]
        error = value[:, TAKEN] - value[:, OTHER] - goal
        lost_error = lost - torch.from_numpy(batch.lost)
        weights = torch.from_numpy(weight.astype(np.float32))
        slope = torch.zeros_like(heads)
        slope[:, TAKEN, 0] = weights * error.clamp(-1.0, 1.0) / size
        slope[:, OTHER, 0] = -slope[:, TAKEN, 0]
        slope[:, TAKEN, 1] = weights * lost_error / size
        network.backward(slope, kept)
        self._descend(learning_rate_share)
        magnitude = error.abs()
        huber = torch.where(magnitude <= 1.0, 0.5 * error * error, magnitude - 0.5)
        return Step(
            (magnitude + lost_error.abs()).numpy().astype(np.float64),
            float((weights * (huber + 0.5 * lost_error * lost_error)).mean()),
            float(torch.maximum(goal.abs(), value.abs().amax(dim=1)).max()),
        )

    def _best(self, batch: Pairs) -> Tensor:
        """(B, 2): the value of the best allowed action at each next decision."""
        network, size = self.network, len(batch)
        seen = batch.next_obs.reshape(2 * size, -1)
        mask = batch.next_mask.reshape(2 * size, -1)
        action = np.where(mask, network.values(seen), -np.inf).argmax(axis=1)
        situation = torch.from_numpy(np.ascontiguousarray(seen[:, :SITUATION]))
        left = backlogs_after(seen[:, None], action[:, None], network.options)
        heads, _ = self.target.heads(situation, left)
        gain = torch.from_numpy(seen[np.arange(2 * size), SITUATION + action])
        value, lost = heads[:, 0, 0], heads[:, 0, 1].clamp(0.0, 1.0)
        return (gain * (1.0 - lost) + network.discount * value).view(size, 2)


def backlogs_after(observation: np.ndarray, action: np.ndarray, options: int) -> Tensor:
    """(B, K, 4): backlogs that actions (B, K) leave, from observations (B, 1, F)."""
    first = SITUATION + (2 + np.arange(KINDS)) * (options + 1)
    columns = action[:, :, None] + first
    rows = np.arange(len(action))[:, None, None]
    return torch.from_numpy(observation[rows, 0, columns])
