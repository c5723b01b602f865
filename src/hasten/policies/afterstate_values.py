"""The network of :mod:`hasten.policies.afterstate_policy` for many decisions at once, compiled.

The simulator evaluates policies by it, and the learner its networks, with what a gradient step needs kept. A device,
which decides one task at a time and has no compiler, evaluates its policy in numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, compiled_sums
from hasten.features.afterstates import afterstates_of, context_of, gains_of
from hasten.features.layout import BACKLOGS
from hasten.policies.afterstate_policy import AfterstatePolicy, AfterstateWeights

Float32 = NDArray[np.float32]
HEADS = 2
"""Cost to later tasks, and realised-gain shortfall."""
Weights = AfterstateWeights | AfterstatePolicy
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class Layers(NamedTuple):
    """What a gradient step needs of an evaluation."""

    context: Float32
    """(B, S): what went in."""
    left: Float32
    """(B, backlogs, K): what went in."""
    first: Float32
    """(B, H1): the context's layer."""
    units: Float32
    """(B * K, H2): the shared layer."""


def action_values(weights: Weights, observation: Float32, discount: float = 1.0) -> Float32:
    """Action values (B, J+1) of observations (B, F); without an improvement margin."""
    gains = gains_of(observation)
    heads, _ = evaluate(weights, context_of(observation), afterstates_of(observation))
    q = np.empty(gains.shape, dtype=np.float32)
    put_together(gains, heads, np.float32(discount), q)
    return q


def evaluate(weights: Weights, context: Float32, left: Float32, keep: bool = False) -> tuple[Float32, Layers]:
    """Both heads (B, K, 2) for K afterstates (B, backlogs, K), by context features (B, S).

    The layers are for a gradient step and all there only if ``keep``.
    """
    context = np.ascontiguousarray(context)
    first = np.dot(context, weights.context)
    first += weights.context_bias
    np.maximum(first, ZERO, out=first)
    bias = np.dot(first, weights.bias_of)
    bias += weights.bias
    rows, sets, width = len(left), left.shape[2], bias.shape[1]
    units = np.empty((rows * sets if keep else 1, width), dtype=np.float32)
    heads = np.empty((rows, sets, HEADS), dtype=np.float32)
    layer = shared_layer if left.shape[1] == BACKLOGS else shared_layer_among_edges
    layer(bias, left, weights.left, np.ascontiguousarray(weights.head.T), weights.head_bias, keep, units, heads)
    return heads, Layers(context, left, first, units)


@compiled_sums
def shared_layer(
    bias: Float32,
    left: Float32,
    weights: Float32,
    head: Float32,
    head_bias: Float32,
    keep: bool,
    units: Float32,
    heads: Float32,
) -> None:
    """Fill ``heads`` (B, K, 2), and ``units`` (B * K, H) if they are to be kept; else it is room for one row.

    ``bias`` (B, H) is the layer's by each context, ``left`` (B, 4, K), ``weights`` (4, H), ``head`` (2, H).
    """
    sets = left.shape[2]
    for b in range(len(left)):
        for j in range(sets):
            row = b * sets + j if keep else 0
            device, uplink, edge, mean = left[b, 0, j], left[b, 1, j], left[b, 2, j], left[b, 3, j]
            value, shortfall = head_bias[0], head_bias[1]
            for i in range(bias.shape[1]):
                unit = bias[b, i] + device * weights[0, i] + uplink * weights[1, i]
                unit = max(unit + edge * weights[2, i] + mean * weights[3, i], ZERO)
                units[row, i] = unit
                value += unit * head[0, i]
                shortfall += unit * head[1, i]
            heads[b, j, 0], heads[b, j, 1] = value, shortfall


@compiled_sums
def shared_layer_among_edges(
    bias: Float32,
    left: Float32,
    weights: Float32,
    head: Float32,
    head_bias: Float32,
    keep: bool,
    units: Float32,
    heads: Float32,
) -> None:
    """As :func:`shared_layer` with the seven backlogs that are seen of several edges.

    Written out again: with a loop over any number of backlogs both would take 1.2 to 2.4 times as long.
    """
    sets = left.shape[2]
    for b in range(len(left)):
        for j in range(sets):
            row = b * sets + j if keep else 0
            device, uplink, edge, mean = left[b, 0, j], left[b, 1, j], left[b, 2, j], left[b, 3, j]
            further_uplink, further_edge, further_mean = left[b, 4, j], left[b, 5, j], left[b, 6, j]
            value, shortfall = head_bias[0], head_bias[1]
            for i in range(bias.shape[1]):
                unit = bias[b, i] + device * weights[0, i] + uplink * weights[1, i]
                unit += edge * weights[2, i] + mean * weights[3, i] + further_uplink * weights[4, i]
                unit = max(unit + further_edge * weights[5, i] + further_mean * weights[6, i], ZERO)
                units[row, i] = unit
                value += unit * head[0, i]
                shortfall += unit * head[1, i]
            heads[b, j, 0], heads[b, j, 1] = value, shortfall


@compiled
def put_together(gain: Float32, heads: Float32, discount: np.float32, q: Float32) -> None:
    """Fill ``q`` (B, K): the gain (B, K), less the shortfall, and the discounted value of the backlogs left."""
    for b in range(len(q)):
        for j in range(q.shape[1]):
            shortfall = min(max(heads[b, j, 1], ZERO), ONE)
            q[b, j] = gain[b, j] * (ONE - shortfall) + discount * heads[b, j, 0]
