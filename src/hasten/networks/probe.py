"""How much is known at each exit of a network that is trained: a linear probe on what its head would read.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016): the backbone stays frozen,
and one linear layer per place says how far the classes are apart there. Here it is a ridge regression on the classes,
which has one solution and takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.networks.attach import MultiExit
from hasten.networks.fit import knows
from hasten.split.modules import Batch, batch_size, call, mapped

PROBED_INPUTS = 1_000
_BATCH, _WIDTH, _RIDGE = 50, 1_024, 0.1


class Place(NamedTuple):
    """Where an exit could sit: so much of the work lies before it, and so many are right there (0..1)."""

    name: str
    share: float
    accuracy: float


def probe_exits(network: MultiExit, inputs: Batch, labels: NDArray[np.integer], seed: int) -> dict[str, float] | None:
    """Share of right answers of a linear probe at each exit but the last, by its name.

    Args:
        network: whose heads need not be trained.
        inputs: (N, *input_shape), or several by name; one half fits the probes, the other judges them.
        labels: (N,) classes.
        seed: draws the halves.

    Returns:
        None when the network does not answer better than guessing: then nothing that is found holds once it is trained.
    """
    features, logits = _features(network.eval(), inputs, seed)
    if not knows(logits, labels):
        return None
    order = np.random.default_rng(seed).permutation(len(labels))
    fitting, judging = order[: len(order) // 2], order[len(order) // 2 :]
    return {
        name: _probe(found[fitting], labels[fitting], found[judging], labels[judging])
        for name, found in zip(network.exit_names, features, strict=False)
    }


def best_places(places: Sequence[Place], count: int) -> list[str]:
    """Names of the ``count`` places (all, if there are fewer) with the largest area of accuracy over work.

    A task that is stopped after some share of the work has the answer of the last exit before that, so an exit counts
    with its accuracy times the work between it and the next. ``places`` are in the order of their work.
    """
    count = min(count, len(places))
    # best[k][i]: the area from place i to the end when it and k later places are chosen
    best = [[place.accuracy * (1.0 - place.share) for place in places]]
    following: list[list[int]] = []
    for _ in range(1, count):
        area, then = [], []
        for index, place in enumerate(places):
            later = [
                (place.accuracy * (places[after].share - place.share) + best[-1][after], after)
                for after in range(index + 1, len(places))
            ]
            found = max(later, key=lambda pair: pair[0], default=(-np.inf, -1))
            area.append(float(found[0]))
            then.append(found[1])
        best.append(area)
        following.append(then)
    chosen: list[str] = []
    index = int(np.argmax(best[-1])) if count else -1
    for then in [*reversed(following), [-1] * len(places)][:count]:
        chosen.append(places[index].name)
        index = then[index]
    return chosen


def _features(network: MultiExit, inputs: Batch, seed: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """What each head's linear layer reads, (N, width) with the width at most ``_WIDTH``, and the final logits."""
    heads = network.heads_in_order()
    read: list[list[Tensor]] = [[] for _ in heads]
    generator = torch.Generator().manual_seed(seed)
    narrow: dict[int, Tensor] = {}

    def keep(number: int, features: Tensor) -> None:
        width = features.shape[1]
        if width > _WIDTH:  # distances stay about the same (Johnson and Lindenstrauss)
            if width not in narrow:
                narrow[width] = torch.randn(width, _WIDTH, generator=generator) / width**0.5
            features = features @ narrow[width]
        read[number].append(features)

    def hook_of(number: int) -> torch.utils.hooks.RemovableHandle:
        def hook(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            keep(number, given[0])

        return heads[number].classify.register_forward_pre_hook(hook)

    handles = [hook_of(number) for number in range(len(heads))]
    try:
        with torch.no_grad():
            final = [call(network, _rows(inputs, row))[-1] for row in range(0, batch_size(inputs), _BATCH)]
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(parts).double().numpy() for parts in read], torch.cat(final).double().numpy()


def _rows(inputs: Batch, start: int) -> Batch:
    return mapped(inputs, lambda x: x[start : start + _BATCH].clone())


def _probe(
    features: NDArray[np.float64],
    labels: NDArray[np.integer],
    others: NDArray[np.float64],
    wanted: NDArray[np.integer],
) -> float:
    """Fit a ridge regression on one part, (N, width) and (N,), and return how much of the other it gets right."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    features, others = (features - mean) / spread, (others - mean) / spread
    classes = np.unique(labels)
    targets = (labels[:, np.newaxis] == classes).astype(np.float64)
    offset = targets.mean(axis=0)
    kernel = features @ features.T
    kernel += _RIDGE * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    answers = others @ (features.T @ np.linalg.solve(kernel, targets - offset)) + offset
    return float(np.mean(classes[answers.argmax(axis=1)] == wanted))
