"""A trained policy that values afterstates: its weights, and what it makes of an observation.

Observations are those of :mod:`hasten.features.afterstates`. A small network takes the context features; its output is
the bias of one hidden layer over each option's afterstate, shared by all options, whose head gives what these backlogs
cost later tasks, and the realised-gain shortfall: the share of the option's predicted gain that it does not bring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.decision import FloatArray, View
from hasten.features.afterstates import add_margin, afterstates_of, context_of, gains_of
from hasten.features.afterstates_single import SingleAfterstates
from hasten.features.among_edges import AmongEdges
from hasten.features.layout import BACKLOGS, AfterstateLayout

if TYPE_CHECKING:
    from hasten.policies.manifest import PolicyManifest

Float32 = NDArray[np.float32]


class AfterstateWeights(NamedTuple):
    """The tensors of such a network with layers of H1 and H2 units, by their names in the policy's file."""

    context: Float32
    """(S, H1): of the context features."""
    context_bias: Float32
    bias_of: Float32
    """(H1, H2): the shared layer's bias, by the context's layer."""
    bias: Float32
    left: Float32
    """(BACKLOGS, H2): of an afterstate; more backlogs where devices choose among several edges."""
    head: Float32
    """(H2, 2): cost to later tasks, and realised-gain shortfall."""
    head_bias: Float32


@dataclass(frozen=True)
class AfterstatePolicy:
    """PolicyManifest and weights, as in :class:`AfterstateWeights`, for layers of ``manifest.hidden`` units."""

    manifest: PolicyManifest
    context: Float32
    context_bias: Float32
    bias_of: Float32
    bias: Float32
    left: Float32
    head: Float32
    head_bias: Float32

    def q(self, observation: Float32) -> Float32:
        """Action values (B, J+1) of observations (B, F); Greedy's option is not ahead yet. Needs numba."""
        from hasten.policies.afterstate_values import action_values  # a device never asks for many at once

        return action_values(self, observation)


class SingleAfterstateValues:
    """The values of one decision, in arrays made beforehand.

    Biases are one more row of weights, where inputs have a 1; those of the shared layer are written there anew for each
    decision. Weights of backlogs are per millisecond, of each stream's deadline.
    """

    def __init__(self, policy: AfterstatePolicy, afterstates: SingleAfterstates, margin: FloatArray) -> None:
        """``margin`` (M,) is each stream's improvement margin over Greedy."""
        self._afterstates = afterstates
        self._margin = dict(zip(afterstates.streams, margin.tolist(), strict=True))
        actions, (first, shared) = len(afterstates.useless), policy.manifest.hidden
        self._context = np.vstack([policy.context, policy.context_bias])
        self._bias_of = np.vstack([policy.bias_of, policy.bias])
        self._first = np.ones(first + 1, np.float32)
        self._units = self._first[:-1]
        self._weights = {}
        for stream in afterstates.streams:
            weights = np.zeros((BACKLOGS + 1, shared + 1), np.float32)
            weights[:BACKLOGS, :shared] = policy.left / stream.deadline_ms
            weights[BACKLOGS, shared] = 1.0  # one more unit, always 1, for the head's bias
            self._weights[stream] = weights, weights[BACKLOGS, :shared]
        self._shared = np.zeros((actions, shared + 1), np.float32)
        kept_bias = np.array([[0.0, 1.0 - policy.head_bias[1]]], dtype=np.float32)
        self._head = np.vstack([policy.head * np.array([1.0, -1.0], dtype=np.float32), kept_bias])
        self._heads = np.zeros((actions, 2), np.float32)
        self._cost, self._kept = self._heads[:, 0], self._heads[:, 1]
        self._result, self._rank = np.zeros(actions, np.float32), np.zeros(actions - 1)
        # As arrays: a number is converted anew at each decision, and keeps numpy from taking many entries at once.
        self._no_units, self._no_shared = np.zeros_like(self._units), np.zeros_like(self._shared)
        self._none, self._all = np.zeros_like(self._result), np.ones_like(self._result)

    def observe(self, view: View) -> None:
        """Observe."""
        self._stream = self._afterstates.observe(view)

    def best(self) -> int:
        """The action of largest value among those that are of use."""
        seen, stream, shared, result = self._afterstates, self._stream, self._shared, self._result
        weights, bias = self._weights[stream]
        seen.context.dot(self._context, self._units)  # the method is called faster than np.dot
        np.maximum(self._units, self._no_units, out=self._units)
        self._first.dot(self._bias_of, bias)
        seen.left_ms.dot(weights, shared)
        np.maximum(shared, self._no_shared, out=shared)
        shared.dot(self._head, self._heads)
        gain = stream.gain(seen.latency_ms)
        np.minimum(self._kept, self._all, out=result)
        np.maximum(result, self._none, out=result)
        result *= gain
        result += self._cost
        margin = self._margin[stream]
        if margin > 0.0:
            rank = stream.greedy_rank(seen.latency_ms, self._rank)
            rank[seen.useless_options] = -np.inf
            result[rank.argmax()] += margin
        result[seen.useless] = -np.inf
        return int(stream.order[result.argmax()])


class SingleValuesAmongEdges:
    """The values of one decision among several edges, in numpy and from the very observation of a batch."""

    def __init__(self, policy: AfterstatePolicy, features: AmongEdges, margin: FloatArray) -> None:
        """``margin`` (M,) is each stream's improvement margin over Greedy."""
        self._policy, self._features, self._margin = policy, features, margin

    def observe(self, view: View) -> None:
        """Observe."""
        self._seen, self._mask, _ = self._features.observe(view)
        self._stream = view.stream

    def best(self) -> int:
        """The action of largest value among those that are of use."""
        policy, seen = self._policy, self._seen
        first = np.maximum(context_of(seen) @ policy.context + policy.context_bias, np.float32(0.0))
        bias = first @ policy.bias_of + policy.bias
        shared = np.maximum(afterstates_of(seen)[0].T @ policy.left + bias, np.float32(0.0))
        heads = shared @ policy.head + policy.head_bias
        kept = np.float32(1.0) - np.clip(heads[:, 1], np.float32(0.0), np.float32(1.0))
        values = (gains_of(seen)[0] * kept + heads[:, 0])[None]
        add_margin(values, seen, self._margin[self._stream])
        return int(np.where(self._mask, values, -np.inf).argmax())


def tensor_shapes(hidden: tuple[int, ...], several: bool = False) -> dict[str, tuple[int, ...]]:
    """The tensors of such a policy with layers of these widths, for one edge or several."""
    first, shared = hidden
    layout = AfterstateLayout(0, several)
    return {
        "context": (layout.context.stop, first),
        "context_bias": (first,),
        "bias_of": (first, shared),
        "bias": (shared,),
        "left": (layout.backlogs, shared),
        "head": (shared, 2),
        "head_bias": (2,),
    }
