"""The Q-network: ReLU layers and a dueling head, with all parameters in one vector and the gradient by hand.

One flat vector makes the
optimizer, the clipping and the copies to other networks one operation each. The head is
``q = v + a - mean(a)`` (Wang et al., "Dueling network architectures", ICML 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.features.observation import CLIP
from hasten.learn.layers import add_bias_relu, dueling_slope, dueling_values, through_relu
from hasten.policies.manifest import PolicyManifest
from hasten.policies.policy import Float32, Layer, Policy

FIRST_HEAD = 0.1
"""Where part of the values is known, the rest begins so much smaller than it would by default."""


class DuelingNetwork:
    """Action values of observations; ``parameters`` and ``gradient`` are flat (P,).

    Args:
        features: length F of an observation.
        hidden: widths of the layers.
        actions: number A of actions.
        seed: of the first weights.
        known: the value of each action but the last is this feature and those behind it plus what is learned, that of
            the last one only what is learned. None: all is learned.
    """

    def __init__(
        self, features: int, hidden: Sequence[int], actions: int, seed: int = 0, known: int | None = None
    ) -> None:
        self.hidden = tuple(hidden)
        self.known = known
        widths = [features, *hidden, actions + 1]  # the head's first column is the state's value
        self._shapes = [*pairwise(widths)]
        self.parameters = np.zeros(sum(n * m + m for n, m in self._shapes), dtype=np.float32)
        self.gradient = np.zeros_like(self.parameters)
        self._layers = self._views(self.parameters)
        self._gradients = self._views(self.gradient)
        rng = np.random.default_rng(seed)
        for weight, bias in self._layers:
            bound = weight.shape[0] ** -0.5  # as torch.nn.Linear
            weight[:] = rng.uniform(-bound, bound, weight.shape)
            bias[:] = rng.uniform(-bound, bound, bias.shape)
        if known is not None:  # so that at first the known part decides
            for part in self._layers[-1]:
                part *= np.float32(FIRST_HEAD)
        self._outputs: list[Float32] = []
        self._slopes: list[Float32] = []

    def _views(self, flat: Float32) -> list[Layer]:
        """Each layer's weight (in, out) and bias (out,) as views of a flat vector.

        In memory the head's weight lies as (out, in): products with its few columns are several times faster so.
        """
        views: list[Layer] = []
        start = 0
        for n, m in self._shapes:
            part = flat[start : start + n * m]
            weight = part.reshape(m, n).T if len(views) == len(self.hidden) else part.reshape(n, m)
            views.append((weight, flat[start + n * m : start + n * m + m]))
            start += n * m + m
        return views

    def forward(self, observation: Float32) -> Float32:
        """Action values (B, A) of observations (B, F), which must not change until :meth:`backward`."""
        rows = len(observation)
        if not self._outputs or len(self._outputs[0]) != rows:
            self._outputs = [np.empty((rows, m), dtype=np.float32) for _, m in self._shapes]
        self._input, below = observation, observation
        for (weight, bias), output in zip(self._layers[:-1], self._outputs, strict=False):
            np.dot(below, weight, out=output)
            add_bias_relu(output, bias)
            below = output
        head = np.dot(below, self._layers[-1][0], out=self._outputs[-1])
        head += self._layers[-1][1]
        q = np.empty((rows, head.shape[1] - 1), dtype=np.float32)
        dueling_values(head, observation, -1 if self.known is None else self.known, q)
        return q

    def backward(self, slope: Float32) -> None:
        """Fill ``gradient`` for the first B rows of the last forward pass; ``slope`` (B, A) is the loss's by q."""
        rows = len(slope)
        if not self._slopes or len(self._slopes[0]) != rows:
            self._slopes = [np.empty((rows, m), dtype=np.float32) for _, m in self._shapes]
        outgoing = self._slopes[-1]
        dueling_slope(slope, outgoing)
        outgoing.sum(axis=0, out=self._gradients[-1][1])
        for i in range(len(self._layers) - 1, -1, -1):
            below = self._outputs[i - 1][:rows] if i else self._input[:rows]
            weight_gradient = self._gradients[i][0]
            if weight_gradient.flags.c_contiguous:
                np.dot(below.T, outgoing, out=weight_gradient)
            else:
                np.dot(outgoing.T, below, out=weight_gradient.T)
            if i:
                outgoing = np.dot(outgoing, self._layers[i][0].T, out=self._slopes[i - 1])
                through_relu(outgoing, below, self._gradients[i - 1][1])

    def values(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Action values (B, A) of observations (B, F)."""
        return self.forward(np.ascontiguousarray(observation))

    def like(self) -> DuelingNetwork:
        """A copy with parameters of its own."""
        copy = DuelingNetwork(self._shapes[0][0], self.hidden, self._shapes[-1][1] - 1, known=self.known)
        copy.parameters[:] = self.parameters
        return copy

    @property
    def policy_hidden(self) -> tuple[int, ...]:
        """Widths of the layers of :meth:`policy`."""
        return tuple(width + self._carried for width in self.hidden)

    @property
    def _carried(self) -> int:
        """Number of features that a policy's layers carry through beside what is learned."""
        return 0 if self.known is None else self._shapes[-1][1] - 2

    def policy(self, manifest: PolicyManifest) -> Policy:
        """The network as a policy for the file ``manifest`` describes.

        A policy knows layers only. So what is known is carried through them by units of its own: as no feature is
        less than -CLIP, a unit of bias CLIP leaves it as it is.
        """
        layers = [(weight.copy(), bias.copy()) for weight, bias in self._layers]
        carried = self._carried
        if self.known is not None:
            for i, (weight, bias) in enumerate(layers[:-1]):
                first = self.known if i == 0 else self.hidden[i - 1]
                layers[i] = _widened(weight, bias, carried, first, CLIP if i == 0 else 0.0)
            weight, bias = layers[-1]
            through = np.concatenate(
                [np.full((carried, 1), 1.0 / (carried + 1)), np.eye(carried), np.zeros((carried, 1))], axis=1
            )
            bias = bias - CLIP * through.sum(axis=0)
            layers[-1] = np.concatenate([weight, through]).astype(np.float32), bias.astype(np.float32)
        weight, bias = layers[-1]
        return Policy(manifest, tuple(layers[:-1]), (weight[:, :1], bias[:1]), (weight[:, 1:], bias[1:]))

    def load(self, policy: Policy) -> None:
        """Take the weights of a policy that :meth:`policy` made of a network like this one.

        Raises:
            InputError: it is of another kind or shape.
        """
        found = [*policy.manifest.hidden, policy.manifest.width + 1]
        expected = [*self.policy_hidden, self._shapes[-1][1] - 1]
        if found != expected:
            raise InputError("policy", "layers", found, f"widths {expected} of hidden layers and actions")
        head = (np.concatenate([p, q], axis=-1) for p, q in zip(policy.value, policy.advantage, strict=True))
        blank = self.like()
        blank.parameters[:] = 0.0
        carried_only = blank.policy(policy.manifest)
        base = [*carried_only.trunk, (np.zeros(0), np.concatenate([carried_only.value[1], carried_only.advantage[1]]))]
        for (weight, bias), (new_weight, new_bias), (_, shift) in zip(
            self._layers, [*policy.trunk, tuple(head)], base, strict=True
        ):
            n, m = weight.shape
            weight[:], bias[:] = new_weight[:n, :m], (new_bias - shift)[:m]


def _widened(weight: Float32, bias: Float32, carried: int, first: int, shift: float) -> tuple[Float32, Float32]:
    """A layer with ``carried`` more units that pass on the inputs from ``first`` on, each plus ``shift``."""
    inputs = max(weight.shape[0], first + carried)
    wide = np.zeros((inputs, weight.shape[1] + carried), dtype=np.float32)
    wide[: weight.shape[0], : weight.shape[1]] = weight
    wide[first : first + carried, weight.shape[1] :] = np.eye(carried)
    return wide, np.concatenate([bias, np.full(carried, shift, dtype=np.float32)])
