"""What a network of a few layers needs beside matrix products, which numpy has: compiled, in float32, in place.

At these sizes an automatic gradient costs more than the arithmetic, and so does every pass over memory that could have
been another's part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hasten.core.compiled import compiled, compiled_sums

Float32 = NDArray[np.float32]
ZERO = np.float32(0.0)


@compiled
def add_bias_relu(layer: Float32, bias: Float32) -> None:
    """Turn products (R, H) into a layer's outputs: bias (H,) added, cut off below 0."""
    for r in range(layer.shape[0]):
        for i in range(layer.shape[1]):
            layer[r, i] = max(layer[r, i] + bias[i], ZERO)


@compiled
def through_relu(slope: Float32, output: Float32, total: Float32) -> None:
    """Turn the slope (R, H) by a ReLU layer's output (R, H) into that by what went in; ``total`` (H,) is its sum."""
    total[:] = ZERO
    for r in range(slope.shape[0]):
        for i in range(slope.shape[1]):
            kept = slope[r, i] if output[r, i] > ZERO else ZERO
            slope[r, i] = kept
            total[i] += kept


@compiled_sums
def dueling_values(head: Float32, observation: Float32, known: int, q: Float32) -> None:
    """Action values (B, A) from a dueling head (B, 1 + A); what is ``known`` of them, unless -1, are features."""
    actions = q.shape[1]
    for b in range(len(q)):
        mean = ZERO
        for a in range(actions):
            mean += head[b, 1 + a]
        base = head[b, 0] - mean / np.float32(actions)
        for a in range(actions):
            q[b, a] = head[b, 1 + a] + base
        if known >= 0:
            for a in range(actions - 1):
                q[b, a] += observation[b, known + a]


@compiled_sums
def dueling_slope(slope: Float32, outgoing: Float32) -> None:
    """The loss's slope by a dueling head (B, 1 + A), from that by the action values (B, A)."""
    actions = slope.shape[1]
    for b in range(len(slope)):
        total = ZERO
        for a in range(actions):
            total += slope[b, a]
        outgoing[b, 0] = total
        mean = total / np.float32(actions)
        for a in range(actions):
            outgoing[b, 1 + a] = slope[b, a] - mean


@compiled
def follow(follower: Float32, leader: Float32, share: np.float32) -> None:
    """Move parameters (P,) by a share of the way to others."""
    for i in range(len(follower)):
        follower[i] += share * (leader[i] - follower[i])


@compiled
def adam(
    parameters: Float32,
    gradient: Float32,
    mean: Float32,
    square: Float32,
    new: tuple[np.float32, np.float32],
    scale: np.float32,
    rate: np.float32,
    epsilon: np.float32,
) -> None:
    """One step of Adam on parameters (P,).

    Args:
        parameters: moved.
        gradient: of the loss.
        mean: moving average of gradients.
        square: moving average of their squares.
        new: weights of the newest gradient in both.
        scale: what corrects the average of squares for its beginning at 0.
        rate: of learning, with the same correction for the average of gradients.
        epsilon: added to the root.
    """
    for i in range(len(parameters)):
        g = gradient[i]
        mean[i] += new[0] * (g - mean[i])
        square[i] += new[1] * (g * g - square[i])
        parameters[i] -= rate * mean[i] / (np.sqrt(square[i] * scale) + epsilon)
