"""A trained policy that values the backlogs an option leaves: its weights, and what it makes of an observation.

Observations are those of :mod:`hasten.core.backlogs`. A small network looks at the situation; its output is the bias of
one hidden layer over the backlogs each option leaves, shared by all options, whose head gives what these backlogs cost
later tasks, and the share of the option's predicted gain that is lost all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hasten.core.backlogs import GAIN_FIRST, KINDS, SITUATION, greedy_action
from hasten.core.backlogs_single import SingleBacklogs
from hasten.core.decision import BoolArray, View

if TYPE_CHECKING:
    from hasten.schedulers.policy import Manifest

Float32 = NDArray[np.float32]
ROWS = 256
"""Decisions evaluated at once, so that what is between fits into the processor's cache."""


@dataclass(frozen=True)
class BacklogPolicy:
    """Manifest and weights for layers of H1 and H2 units, ``manifest.hidden``."""

    manifest: Manifest
    situation: Float32
    """(S, H1)"""
    situation_bias: Float32
    bias_of: Float32
    """(H1, H2): the shared layer's bias in a situation."""
    bias: Float32
    left: Float32
    """(4, H2)"""
    head: Float32
    """(H2, 2): cost to later tasks, and share lost."""
    head_bias: Float32

    def q(self, observation: Float32) -> Float32:
        """Action values (B, J+1) of observations (B, F), with Greedy's option ahead by the manifest's ``lead``."""
        found = np.empty((len(observation), self.manifest.width + 1), dtype=np.float32)
        for first in range(0, len(observation), ROWS):
            part = slice(first, first + ROWS)
            found[part] = self._q(observation[part])
        return found

    def _q(self, observation: Float32) -> Float32:
        actions = self.manifest.width + 1
        situation = np.maximum(observation[:, :SITUATION] @ self.situation + self.situation_bias, np.float32(0.0))
        bias = situation @ self.bias_of + self.bias
        gain = observation[:, SITUATION : SITUATION + actions]
        left = observation[:, SITUATION + 2 * actions :].reshape(-1, KINDS, actions).transpose(0, 2, 1)
        shared = left @ self.left
        shared += bias[:, None]
        heads = np.maximum(shared, np.float32(0.0), out=shared) @ self.head + self.head_bias
        lost = np.clip(heads[:, :, 1], np.float32(0.0), np.float32(1.0))
        q = gain * (np.float32(1.0) - lost) + heads[:, :, 0]
        if self.manifest.lead > 0.0:
            q[np.arange(len(q)), greedy_action(observation, actions)] += np.float32(self.manifest.lead)
        return np.asarray(q, dtype=np.float32)


class SingleBacklogValues:
    """The values of one decision, in arrays made beforehand.

    The shared layer's bias is written as one more row of its weights, where backlogs have a column of ones.
    """

    def __init__(self, policy: BacklogPolicy, backlogs: SingleBacklogs) -> None:
        self._policy, self._backlogs = policy, backlogs
        actions, (first, shared) = len(backlogs.gain), policy.manifest.hidden
        self._first, self._bias = np.zeros(first, np.float32), np.zeros(shared, np.float32)
        self._weights = np.zeros((KINDS + 1, shared), np.float32)
        self._weights[:KINDS] = policy.left
        self._left = np.ones((actions, KINDS + 1), np.float32)
        self._shared = np.zeros((actions, shared), np.float32)
        self._heads = np.zeros((actions, 2), np.float32)
        self._result = np.zeros(actions, np.float32)
        self._rank = np.zeros(actions - 1, np.float32)
        self._zero, self._one = np.float32(0.0), np.float32(1.0)

    def look(self, view: View) -> BoolArray:
        """Observe."""
        self._backlogs.observe(view)
        return self._backlogs.useful

    def values(self) -> Float32:
        """(J+1,)"""
        policy, seen = self._policy, self._backlogs
        first, weights, shared, result = self._first, self._weights, self._shared, self._result
        np.dot(seen.situation, policy.situation, out=first)
        first += policy.situation_bias
        np.maximum(first, self._zero, out=first)
        bias = np.dot(first, policy.bias_of, out=self._bias)
        np.add(bias, policy.bias, out=weights[KINDS])
        self._left[:, :KINDS] = seen.left
        np.dot(self._left, weights, out=shared)
        np.maximum(shared, self._zero, out=shared)
        heads = np.dot(shared, policy.head, out=self._heads)
        heads += policy.head_bias
        np.subtract(self._one, heads[:, 1], out=result)
        np.maximum(result, self._zero, out=result)
        np.minimum(result, self._one, out=result)
        result *= seen.gain
        result += heads[:, 0]
        if policy.manifest.lead > 0.0:
            rank = np.multiply(seen.gain[:-1], GAIN_FIRST, out=self._rank)
            rank -= seen.latency
            result[rank.argmax()] += policy.manifest.lead
        return result


def tensor_shapes(hidden: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The tensors of such a policy with layers of these widths."""
    first, shared = hidden
    return {
        "situation": (SITUATION, first),
        "situation_bias": (first,),
        "bias_of": (first, shared),
        "bias": (shared,),
        "left": (KINDS, shared),
        "head": (shared, 2),
        "head_bias": (2,),
    }
