"""A network that values the backlogs an option leaves, the same for all options, and its gradient by hand.

``q(a) = gain(a) * (1 - lost(a)) + discount * value(a)``: the gain is known; ``lost`` is the share of it that is
lost all the same, because other tasks overtake or the link changes (0 in a system that does what the timing law
says); ``value`` is what the backlogs left cost all later tasks. Both come from one hidden layer over the backlogs
left, shared by all options, whose bias is a small network's view of the situation they are left in. Only
differences of ``value`` between options matter, so there is no level to learn: the learner compares options in pairs
(:mod:`hasten.learn.paired`), and leaving the backlogs as they are (dropping) is what others stand against.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hasten.core.backlogs import KINDS, SITUATION
from hasten.core.compiled import compiled_sums
from hasten.core.errors import InputError
from hasten.learn.network import through_relu
from hasten.schedulers.backlog_policy import BacklogPolicy, tensor_shapes
from hasten.schedulers.policy import Manifest

FIRST_HEAD = 0.1
"""The head begins so much smaller than it would by default: at first known gains decide."""
HEADS = 2
"""Value and share lost."""
Float32 = NDArray[np.float32]


class BacklogNetwork:
    """Values of backlogs left; ``parameters`` and ``gradient`` are flat (P,).

    Args:
        options: number J of options of an observation.
        hidden: widths of the situation's layer and of the shared one.
        discount: of one decision.
        seed: of the first weights.
    """

    def __init__(self, options: int, hidden: tuple[int, ...], discount: float, seed: int = 0) -> None:
        if len(hidden) != 2:
            raise InputError("train", "hidden", hidden, "two widths: of the situation's layer and of the shared one")
        self.options, self.hidden, self.discount = options, tuple(hidden), discount
        first, shared = hidden
        shapes = tensor_shapes(hidden)
        self.parameters = torch.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))
        self.gradient = torch.zeros_like(self.parameters)
        self._w, self._g = _views(self.parameters, shapes), _views(self.gradient, shapes)
        generator = torch.Generator().manual_seed(seed)
        fan_in = {"situation_bias": SITUATION, "bias": first, "head_bias": shared}
        for name, weight in self._w.items():
            bound = fan_in.get(name, weight.shape[0]) ** -0.5  # as torch.nn.Linear
            weight.uniform_(-bound, bound, generator=generator)
        self._w["head"].mul_(FIRST_HEAD)
        self._w["head_bias"].zero_()

    def biases(self, situation: Tensor) -> tuple[Tensor, Tensor]:
        """First layer (B, H1) and biases of the shared layer (B, H2) in these situations (B, S)."""
        first = torch.addmm(self._w["situation_bias"], situation, self._w["situation"]).relu_()
        return first, torch.addmm(self._w["bias"], first, self._w["bias_of"])

    def values(self, observation: Float32) -> Float32:
        """Action values (B, J+1) of observations (B, F)."""
        _, bias = self.biases(torch.from_numpy(np.ascontiguousarray(observation[:, :SITUATION])))
        q = np.empty((len(observation), self.options + 1), dtype=np.float32)
        head = np.ascontiguousarray(self._w["head"].numpy().T)
        all_values(
            observation,
            bias.numpy(),
            self._w["left"].numpy(),
            head,
            self._w["head_bias"].numpy(),
            np.float32(self.discount),
            q,
        )
        return q

    def heads(self, situation: Tensor, left: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Value and share lost (B, K, 2) of K sets of backlogs (B, K, 4); and what :meth:`backward` needs."""
        first, bias = self.biases(situation)
        shared = torch.matmul(left, self._w["left"]).add_(bias[:, None]).relu_()
        return torch.matmul(shared, self._w["head"]).add_(self._w["head_bias"]), (situation, left, first, shared)

    def backward(self, slope: Tensor, kept: tuple[Tensor, ...]) -> None:
        """Fill ``gradient``; ``slope`` (B, K, 2) is the loss's by what :meth:`heads` gave."""
        situation, left, first, shared = kept
        width = shared.shape[2]
        flat = slope.reshape(-1, HEADS)
        torch.mm(shared.reshape(-1, width).t(), flat, out=self._g["head"])
        torch.sum(flat, dim=0, out=self._g["head_bias"])
        below = through_relu(torch.matmul(slope, self._w["head"].t()), shared)
        torch.mm(left.reshape(-1, KINDS).t(), below.reshape(-1, width), out=self._g["left"])
        bias = below.sum(dim=1)
        torch.sum(bias, dim=0, out=self._g["bias"])
        torch.mm(first.t(), bias, out=self._g["bias_of"])
        outgoing = through_relu(torch.mm(bias, self._w["bias_of"].t()), first)
        torch.mm(situation.t(), outgoing, out=self._g["situation"])
        torch.sum(outgoing, dim=0, out=self._g["situation_bias"])

    def like(self) -> BacklogNetwork:
        """A copy with parameters of its own."""
        copy = BacklogNetwork(self.options, self.hidden, self.discount)
        copy.parameters.copy_(self.parameters)
        return copy

    @property
    def policy_hidden(self) -> tuple[int, ...]:
        """Widths of the layers of :meth:`policy`."""
        return self.hidden

    def policy(self, manifest: Manifest) -> BacklogPolicy:
        """The network as a policy for the file ``manifest`` describes; the discount becomes part of the head."""
        weights = {name: weight.numpy().copy() for name, weight in self._w.items()}
        weights["head"][:, 0] *= self.discount
        weights["head_bias"][0] *= self.discount
        return BacklogPolicy(manifest, **weights)

    def load(self, policy: BacklogPolicy) -> None:
        """Take the weights of a policy that :meth:`policy` made of a network like this one.

        Raises:
            InputError: it is of another shape.
        """
        manifest = policy.manifest
        if (manifest.hidden, manifest.width) != (self.hidden, self.options):
            found = [*manifest.hidden, manifest.width]
            raise InputError("policy", "layers", found, f"widths {[*self.hidden, self.options]} of layers and options")
        for name, weight in self._w.items():
            weight.copy_(torch.from_numpy(getattr(policy, name)))
        self._w["head"][:, 0] /= self.discount
        self._w["head_bias"][0] /= self.discount


def _views(flat: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Parts of a flat vector by their names.

    In memory the head lies as (2, H2): products with its two columns are several times faster so.
    """
    views, start = {}, 0
    for name, shape in shapes.items():
        part = flat[start : start + int(np.prod(shape))]
        views[name] = part.view(shape[::-1]).t() if name == "head" else part.view(shape)
        start += len(part)
    return views


@compiled_sums
def all_values(
    observation: Float32,
    bias: Float32,
    left: Float32,
    head: Float32,
    head_bias: Float32,
    discount: np.float32,
    q: Float32,
) -> None:
    """Fill ``q`` (B, J+1) from observations (B, F) and the shared layer's biases (B, H) in their situations.

    ``left`` is (4, H), ``head`` (2, H).
    """
    actions, width = q.shape[1], bias.shape[1]
    gains, first = SITUATION, SITUATION + 2 * actions
    for b in range(len(q)):
        for j in range(actions):
            device, uplink = observation[b, first + j], observation[b, first + actions + j]
            edge, mean = observation[b, first + 2 * actions + j], observation[b, first + 3 * actions + j]
            value, lost = head_bias[0], head_bias[1]
            for i in range(width):
                unit = bias[b, i] + device * left[0, i] + uplink * left[1, i] + edge * left[2, i] + mean * left[3, i]
                unit = max(unit, np.float32(0.0))
                value += unit * head[0, i]
                lost += unit * head[1, i]
            lost = min(max(lost, np.float32(0.0)), np.float32(1.0))
            q[b, j] = observation[b, gains + j] * (np.float32(1.0) - lost) + discount * value
