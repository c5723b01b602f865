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
import torch
from torch import Tensor

from hasten.core.backlogs import SITUATION
from hasten.learn.backlog_network import HEADS, BacklogNetwork
from hasten.learn.dqn import FloatArray, Learner, Step
from hasten.learn.pairs import OTHER, TAKEN, Pairs, left_by


class PairedDqn(Learner[BacklogNetwork]):
    """Learns what backlogs cost from pairs."""

    @torch.no_grad()
    def update(self, batch: Pairs, weight: FloatArray, learning_rate_share: float = 1.0) -> Step:
        """One step; ``weight`` (B,) is each pair's."""
        network, size = self.network, len(batch)
        best = self._best(batch)
        goal = torch.from_numpy(batch.between) + torch.from_numpy(batch.discount) * (best[:, TAKEN] - best[:, OTHER])
        heads, kept = network.heads(*(torch.from_numpy(part) for part in _flat(batch.situation, batch.left)))
        heads = heads.view(size, 2, HEADS)
        value, lost = heads[:, :, 0], heads[:, :, 1]
        error = value[:, TAKEN] - value[:, OTHER] - goal
        lost_error = torch.nan_to_num(lost - torch.from_numpy(batch.lost))  # NaN: unknown
        weights = torch.from_numpy(weight.astype(np.float32))
        slope = torch.empty_like(heads)
        slope[:, TAKEN, 0] = weights * error.clamp(-1.0, 1.0) / size
        slope[:, OTHER, 0] = -slope[:, TAKEN, 0]
        slope[:, :, 1] = weights[:, None] * lost_error / size
        network.backward(slope.view(2 * size, 1, HEADS), kept)
        self._descend(learning_rate_share)
        magnitude = error.abs()
        huber = torch.where(magnitude <= 1.0, 0.5 * error * error, magnitude - 0.5)
        return Step(
            (magnitude + lost_error.abs().sum(dim=1)).numpy().astype(np.float64),
            float((weights * (huber + 0.5 * (lost_error * lost_error).sum(dim=1))).mean()),
            float(torch.maximum(goal.abs(), value.abs().amax(dim=1)).max()),
        )

    def _best(self, batch: Pairs) -> Tensor:
        """(B, 2): the value of the best allowed action at each next decision."""
        network, size = self.network, len(batch)
        seen = batch.next_obs.reshape(2 * size, -1)
        mask = batch.next_mask.reshape(2 * size, -1)
        action = np.where(mask, network.values(seen), -np.inf).argmax(axis=1)
        situation = torch.from_numpy(np.ascontiguousarray(seen[:, :SITUATION]))
        heads, _ = self.target.heads(situation, torch.from_numpy(left_by(seen, action[:, None])))
        gain = torch.from_numpy(seen[np.arange(2 * size), SITUATION + action])
        value, lost = heads[:, 0, 0], heads[:, 0, 1].clamp(0.0, 1.0)
        return (gain * (1.0 - lost) + network.discount * value).view(size, 2)


def _flat(situation: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both options of every pair one after another, (2 B, SITUATION) and (2 B, 1, KINDS), as the network takes them."""
    return situation.reshape(-1, situation.shape[2]), left.reshape(-1, 1, left.shape[2])
