"""Double DQN: one gradient step on a batch of transitions.

The target is ``reward + discount * q_target(next, argmax over allowed of q(next))`` (van Hasselt et al., AAAI 2016),
the loss Huber's, each transition times its importance weight. Demonstrations may add the large-margin term of Hester
et al., "Deep Q-learning from demonstrations" (AAAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hasten.learn.layers import adam, follow
from hasten.learn.network import DuelingNetwork
from hasten.learn.transitions import Transitions
from hasten.policies.policy import Float32

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MARGIN = 0.8
"""By how much an expert's action shall lead the others on demonstrations."""


class Network(Protocol):
    """Values actions by flat parameters."""

    parameters: Float32
    gradient: Float32

    def like(self) -> Self:
        """A copy with parameters of its own."""


N = TypeVar("N", bound=Network)


@dataclass(frozen=True)
class Step:
    """What a gradient step found."""

    error: FloatArray
    """(B,): temporal-difference errors before the step."""
    loss: float
    largest_value: float
    """Largest absolute value of an action taken, or of what it should have been."""


class Adam:
    """Adam (Kingma and Ba, ICLR 2015) on one vector."""

    FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Float32, gradient: Float32) -> None:
        self._parameters, self._gradient = parameters, gradient
        self.mean, self.square = np.zeros_like(parameters), np.zeros_like(parameters)
        self.steps = 0

    def step(self, rate: float) -> None:
        """One step down the gradient."""
        self.steps += 1
        adam(
            self._parameters,
            self._gradient,
            self.mean,
            self.square,
            (np.float32(1.0 - self.FIRST), np.float32(1.0 - self.SECOND)),
            np.float32(1.0 / (1.0 - self.SECOND**self.steps)),
            np.float32(rate / (1.0 - self.FIRST**self.steps)),
            np.float32(self.EPSILON),
        )


class Learner(Generic[N]):
    """A network that learns, its target network, the average of its weights and the optimizer.

    Args:
        network: what learns.
        learning_rate: Adam's; larger learns faster until it becomes unstable (1e-4 to 1e-3).
        target_every: gradient steps between copies to the target network (hard updates).
        target_rate: share by which the target network follows at every step instead, if above 0 (soft updates).
        average_rate: share by which the average of the weights follows; the average is what is evaluated and kept.
        clip_norm: longest gradient.
    """

    def __init__(
        self,
        network: N,
        learning_rate: float = 5e-4,
        target_every: int = 500,
        target_rate: float = 0.0,
        average_rate: float = 1e-3,
        clip_norm: float = 10.0,
    ) -> None:
        self.network = network
        self.target = network.like()
        self.average = network.like()
        self.adam = Adam(network.parameters, network.gradient)
        self.learning_rate = learning_rate
        self._target_every, self._target_rate, self._average_rate = target_every, target_rate, average_rate
        self._clip_norm = clip_norm
        self.updates = 0

    def start_over(self) -> None:
        """Let target and average be what the network is now."""
        for follower in (self.target, self.average):
            follower.parameters[:] = self.network.parameters

    def _descend(self, learning_rate_share: float) -> None:
        """One step down the network's gradient, clipped; target and average follow."""
        gradient = self.network.gradient
        norm = float(np.sqrt(gradient.dot(gradient)))
        if norm > self._clip_norm:
            gradient *= np.float32(self._clip_norm / norm)
        self.adam.step(self.learning_rate * learning_rate_share)
        self.updates += 1
        self._follow()

    def _follow(self) -> None:
        """Let target and average follow."""
        parameters = self.network.parameters
        if self._target_rate > 0.0:
            follow(self.target.parameters, parameters, np.float32(self._target_rate))
        elif self.updates % self._target_every == 0:
            self.target.parameters[:] = parameters
        # Young averages follow faster, or they would remember the random beginning.
        follow(self.average.parameters, parameters, np.float32(max(self._average_rate, 1.0 / self.updates)))

    def state(self) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
        """Everything as arrays, for a checkpoint."""
        return {
            "network": self.network.parameters.copy(),
            "target": self.target.parameters.copy(),
            "average": self.average.parameters.copy(),
            "adam_mean": self.adam.mean.copy(),
            "adam_square": self.adam.square.copy(),
            "updates": np.array(self.updates),
        }

    def restore(self, state: dict[str, NDArray[np.float32] | NDArray[np.int64]]) -> None:
        """Become what ``state`` was taken of."""
        for name in ("network", "target", "average"):
            getattr(self, name).parameters[:] = state[name]
        self.updates = self.adam.steps = int(state["updates"])
        self.adam.mean[:], self.adam.square[:] = state["adam_mean"], state["adam_square"]


class DoubleDqn(Learner[DuelingNetwork]):
    """Learns the value of each action from transitions."""

    def update(
        self,
        batch: Transitions,
        weight: FloatArray,
        margin_weight: FloatArray | None = None,
        learning_rate_share: float = 1.0,
    ) -> Step:
        """One step; ``weight`` (B,) is each transition's, ``margin_weight`` (B,) that of its margin term."""
        size = len(batch)
        q = self.network.forward(np.concatenate([batch.obs, batch.next_obs]))
        goal = self._goal(q[size:], batch)
        chosen = np.arange(size), batch.action
        taken = q[chosen]
        error = taken - goal
        clipped = np.minimum(np.maximum(error, -1.0), 1.0)
        slope = np.zeros((size, q.shape[1]), dtype=np.float32)
        slope[chosen] = weight * clipped
        if margin_weight is not None:
            _add_margin(slope, q[:size], batch, margin_weight)
        slope /= size
        self.network.backward(slope)
        self._descend(learning_rate_share)
        return Step(
            error.astype(np.float64),
            float(np.mean(weight * clipped * (error - 0.5 * clipped))),  # Huber's
            float(max(np.abs(goal).max(), np.abs(taken).max())),
        )

    def _goal(self, next_q: Float32, batch: Transitions) -> Float32:
        """(B,): what the value of each action taken should be; the network chooses, the target network values."""
        best = _best(next_q, batch.next_mask)
        next_value = self.target.forward(batch.next_obs)[np.arange(len(best)), best]
        return np.asarray(batch.reward + batch.discount * next_value)


def _best(values: Float32, mask: NDArray[np.int8]) -> IntArray:
    """(B,): the allowed action of largest value (B, A)."""
    return np.asarray(np.where(mask, values, -np.inf).argmax(axis=1))


def _add_margin(slope: Float32, q: Float32, batch: Transitions, margin_weight: FloatArray) -> None:
    """Add the slope of ``max over allowed a of (q(a) + margin [a is not the expert's]) - q(expert's)``."""
    rows, expert = np.arange(len(q)), batch.action
    margin = np.full_like(q, MARGIN)
    margin[rows, expert] = 0.0
    slope[rows, _best(q + margin, batch.mask)] += margin_weight
    slope[rows, expert] -= margin_weight
