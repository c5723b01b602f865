"""A network that values afterstates, the same for all options, and its gradient by hand.

``q(a) = gain(a) * (1 - shortfall(a)) + discount * value(a)``: the gain is known; ``shortfall`` is the share of it
that is not realised, because other tasks overtake or the link changes (0 in a system that does what the timing law
says); ``value`` is what the backlogs left cost all later tasks. Both come from one hidden layer over the backlogs
left, shared by all options, whose bias is a small network of the context features. Only
differences of ``value`` between options matter, so there is no level to learn: the learner compares options in pairs
(:mod:`hasten.learn.paired`), and leaving the backlogs as they are (dropping) is what others stand against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.errors import InputError
from hasten.features.layout import AfterstateLayout
from hasten.learn.layers import through_relu
from hasten.policies.afterstate_policy import AfterstatePolicy, AfterstateWeights, tensor_shapes
from hasten.policies.afterstate_values import Layers, action_values, evaluate
from hasten.policies.manifest import PolicyManifest

FIRST_HEAD = 0.1
"""The head begins so much smaller than it would by default: at first known gains decide."""
Float32 = NDArray[np.float32]


class AfterstateNetwork:
    """Values of afterstates; ``parameters`` and ``gradient`` are flat (P,).

    Args:
        layout: of observations, of one edge or several.
        hidden: widths of the context's layer and of the shared one.
        discount: of one decision.
        seed: of the first weights.
    """

    def __init__(self, layout: AfterstateLayout, hidden: tuple[int, ...], discount: float, seed: int = 0) -> None:
        if len(hidden) != 2:
            raise InputError("train", "hidden", hidden, "two widths: of the context's layer and of the shared one")
        self.layout, self.hidden, self.discount = layout, tuple(hidden), discount
        first, shared = hidden
        shapes = tensor_shapes(hidden, layout.several)
        self.parameters = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()), dtype=np.float32)
        self.gradient = np.zeros_like(self.parameters)
        self.weights, self.gradients = _views(self.parameters, shapes), _views(self.gradient, shapes)
        rng = np.random.default_rng(seed)
        fan_in = {"context_bias": layout.context.stop, "bias": first, "head_bias": shared}
        for name, weight in self.weights._asdict().items():
            bound = fan_in.get(name, weight.shape[0]) ** -0.5  # as torch.nn.Linear
            weight[:] = rng.uniform(-bound, bound, weight.shape)
        self.weights.head[:] *= np.float32(FIRST_HEAD)
        self.weights.head_bias[:] = 0.0

    def values(self, observation: Float32) -> Float32:
        """Action values (B, J+1) of observations (B, F)."""
        return action_values(self.weights, observation, self.discount)

    def heads(self, context: Float32, left: Float32) -> tuple[Float32, Layers]:
        """Value and shortfall (B, 2) of afterstates (B, backlogs) in contexts (B, S); layers for :meth:`backward`."""
        heads, layers = evaluate(self.weights, context, left[:, :, None], keep=True)
        return heads[:, 0], layers

    def backward(self, slope: Float32, layers: Layers) -> None:
        """Fill ``gradient``; ``slope`` (B, 2) is the loss's by what :meth:`heads` gave. Uses the layers up."""
        weights, gradients = self.weights, self.gradients
        np.dot(slope.T, layers.units, out=gradients.head.T)
        slope.sum(axis=0, out=gradients.head_bias)
        below = np.dot(slope, weights.head.T)
        through_relu(below, layers.units, gradients.bias)
        np.dot(layers.left[:, :, 0].T, below, out=gradients.left)
        np.dot(layers.first.T, below, out=gradients.bias_of)
        outgoing = np.dot(below, weights.bias_of.T)
        through_relu(outgoing, layers.first, gradients.context_bias)
        np.dot(layers.context.T, outgoing, out=gradients.context)

    def like(self) -> AfterstateNetwork:
        """A copy with parameters of its own."""
        copy = AfterstateNetwork(self.layout, self.hidden, self.discount)
        copy.parameters[:] = self.parameters
        return copy

    @property
    def policy_hidden(self) -> tuple[int, ...]:
        """Widths of the layers of :meth:`policy`."""
        return self.hidden

    def policy(self, manifest: PolicyManifest) -> AfterstatePolicy:
        """The network as a policy for the file ``manifest`` describes; the discount becomes part of the head."""
        weights = {name: np.ascontiguousarray(weight).copy() for name, weight in self.weights._asdict().items()}
        weights["head"][:, 0] *= self.discount
        weights["head_bias"][0] *= self.discount
        return AfterstatePolicy(manifest, **weights)

    def load(self, policy: AfterstatePolicy) -> None:
        """Take the weights of a policy that :meth:`policy` made of a network like this one.

        Raises:
            InputError: it is of another shape.
        """
        manifest = policy.manifest
        if manifest.afterstates.several != self.layout.several:
            expected = "a policy for several edges" if self.layout.several else "1, as this training has"
            raise InputError("policy", "edges", manifest.edges, expected)
        options = self.layout.actions - 1
        if (manifest.hidden, manifest.width) != (self.hidden, options):
            found = [*manifest.hidden, manifest.width]
            raise InputError("policy", "layers", found, f"widths {[*self.hidden, options]} of layers and options")
        for name, weight in self.weights._asdict().items():
            weight[:] = getattr(policy, name)
        self.weights.head[:, 0] /= np.float32(self.discount)
        self.weights.head_bias[0] /= np.float32(self.discount)


def _views(flat: Float32, shapes: dict[str, tuple[int, ...]]) -> AfterstateWeights:
    """Parts of a flat vector by their names.

    In memory the head lies as (2, H2): products with its two columns are several times faster so.
    """
    views, start = {}, 0
    for name, shape in shapes.items():
        part = flat[start : start + int(np.prod(shape))]
        views[name] = part.reshape(shape[::-1]).T if name == "head" else part.reshape(shape)
        start += len(part)
    return AfterstateWeights(**views)
