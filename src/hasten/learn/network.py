"""The Q-network: ReLU layers and a dueling head, with all parameters in one vector and the gradient by hand.

At this size (two layers of 128) an automatic gradient costs more than the arithmetic. One flat vector makes the
optimizer, the clipping and the copies to other networks one operation each. The head is
``q = v + a - mean(a)`` (Wang et al., "Dueling network architectures", ICML 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hasten.core.errors import InputError
from hasten.schedulers.policy import Manifest, Policy


class DuelingNetwork:
    """Action values of observations; ``parameters`` and ``gradient`` are flat (P,)."""

    def __init__(self, features: int, hidden: Sequence[int], actions: int, seed: int = 0) -> None:
        self.hidden = tuple(hidden)
        widths = [features, *hidden, actions + 1]  # the head's first column is the state's value
        self._shapes = [*pairwise(widths)]
        self.parameters = torch.zeros(sum(n * m + m for n, m in self._shapes))
        self.gradient = torch.zeros_like(self.parameters)
        self._layers = self._views(self.parameters)
        self._gradients = self._views(self.gradient)
        generator = torch.Generator().manual_seed(seed)
        for weight, bias in self._layers:
            bound = weight.shape[0] ** -0.5  # as torch.nn.Linear
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
        self._outputs: list[Tensor] = []
        self._rows = -1

    def _views(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each layer's weight (in, out) and bias (out,) as views of a flat vector."""
        views, start = [], 0
        for n, m in self._shapes:
            weight = flat[start : start + n * m].view(n, m)
            views.append((weight, flat[start + n * m : start + n * m + m]))
            start += n * m + m
        return views

    def forward(self, observation: Tensor) -> Tensor:
        """Action values (B, A) of observations (B, F), which must not change until :meth:`backward`."""
        if self._rows != len(observation):
            self._rows = len(observation)
            self._outputs = [torch.empty(self._rows, m) for _, m in self._shapes]
        self._input, below = observation, observation
        for (weight, bias), output in zip(self._layers[:-1], self._outputs, strict=False):
            torch.addmm(bias, below, weight, out=output).relu_()
            below = output
        head = torch.addmm(self._layers[-1][1], below, self._layers[-1][0], out=self._outputs[-1])
        value, advantage = head[:, :1], head[:, 1:]
        return advantage + (value - advantage.mean(dim=1, keepdim=True))

    def backward(self, slope: Tensor) -> None:
        """Fill ``gradient`` for the first B rows of the last forward pass; ``slope`` (B, A) is the loss's by q."""
        rows, width = slope.shape
        outgoing = torch.empty(rows, width + 1)
        torch.sum(slope, dim=1, out=outgoing[:, 0])
        torch.sub(slope, outgoing[:, :1] / width, out=outgoing[:, 1:])
        for i in range(len(self._layers) - 1, -1, -1):
            below = self._outputs[i - 1][:rows] if i else self._input[:rows]
            weight_gradient, bias_gradient = self._gradients[i]
            torch.mm(below.t(), outgoing, out=weight_gradient)
            torch.sum(outgoing, dim=0, out=bias_gradient)
            if i:
                outgoing = torch.mm(outgoing, self._layers[i][0].t()).mul_(below > 0)

    def values(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Action values (B, A) of observations (B, F)."""
        return self.forward(torch.from_numpy(observation)).numpy()

    def like(self) -> DuelingNetwork:
        """A copy with parameters of its own."""
        copy = DuelingNetwork(self._shapes[0][0], self.hidden, self._shapes[-1][1] - 1)
        copy.parameters.copy_(self.parameters)
        return copy

    def policy(self, manifest: Manifest) -> Policy:
        """The network as a policy for the file ``manifest`` describes."""
        layers = [(weight.numpy().copy(), bias.numpy().copy()) for weight, bias in self._layers]
        weight, bias = layers[-1]
        return Policy(manifest, tuple(layers[:-1]), (weight[:, :1], bias[:1]), (weight[:, 1:], bias[1:]))

    def load(self, policy: Policy) -> None:
        """Take a policy's weights.

        Raises:
            InputError: they have other shapes.
        """
        value, advantage = policy.value, policy.advantage
        found = [*policy.manifest.hidden, policy.manifest.width + 1]
        expected = [*self.hidden, self._shapes[-1][1] - 1]
        if found != expected:
            raise InputError("policy", "layers", found, f"widths {expected} of hidden layers and actions")
        head = np.concatenate([value[0], advantage[0]], axis=1), np.concatenate([value[1], advantage[1]])
        for (weight, bias), (new_weight, new_bias) in zip(self._layers, [*policy.trunk, head], strict=True):
            weight.copy_(torch.from_numpy(new_weight))
            bias.copy_(torch.from_numpy(new_bias))
