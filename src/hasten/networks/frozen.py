"""Which parts of a network are trained, and how the others are kept as they are: weights, statistics, modes.

The *heads* of a multi-exit network are the parameters that its earlier exits need and its deepest one does not; all
others are its *backbone*. So what the deepest exit gives stays, to the bit, when only heads are trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.split.modules import Batch, call, mapped, undisturbed


def head_parameters(network: nn.Module, example: Batch) -> list[nn.Parameter]:
    """The parameters of the heads, found by what gets a gradient from which output for ``example`` (N, *shape)."""
    weights = [weight for weight in network.parameters() if weight.is_floating_point()]
    asked = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with undisturbed(network), torch.enable_grad():
            *earlier, last = call(network, mapped(example, torch.clone))
            by_last = _gradients(last, weights, keep=True)
            by_earlier = [_gradients(output, weights, keep=True) for output in earlier]
    finally:
        for weight, wanted in zip(weights, asked, strict=True):
            weight.requires_grad_(wanted)
    return [
        weight for index, weight in enumerate(weights) if not by_last[index] and any(got[index] for got in by_earlier)
    ]


def _gradients(output: Tensor, weights: list[nn.Parameter], keep: bool) -> list[bool]:
    """Whether ``output`` depends on each of ``weights``."""
    if not output.requires_grad:
        return [False] * len(weights)
    found = torch.autograd.grad(output.sum(), weights, allow_unused=True, retain_graph=keep)
    return [gradient is not None for gradient in found]


@contextmanager
def only_heads(network: nn.Module, example: Batch) -> Iterator[None]:
    """Freeze all but the heads of ``network``, and put it into eval mode but for them, for as long as this lasts.

    Raises:
        InputError: there are no heads: the deepest exit needs every parameter that the others need.
    """
    heads = {id(weight) for weight in head_parameters(network, example)}
    if not heads:
        expected = "exits with parameters of their own, which the deepest exit does not need; or train none or all"
        raise InputError("training", "heads", "none", expected)
    asked = [(weight, weight.requires_grad) for weight in network.parameters()]
    for weight, _ in asked:
        weight.requires_grad_(id(weight) in heads)
    try:
        with _buffers_kept([part for part in network.modules() if not _is_head(part)]):
            yield
    finally:
        for weight, wanted in asked:
            weight.requires_grad_(wanted)


def heads_mode(network: nn.Module) -> None:
    """Eval mode for all but the parts of which every parameter is trained."""
    network.eval()
    for part in network.modules():
        if _is_head(part):
            part.train()


def _is_head(part: nn.Module) -> bool:
    weights = list(part.parameters())
    return bool(weights) and all(weight.requires_grad for weight in weights)


def frozen_parts(network: nn.Module) -> list[nn.Module]:
    """The parts of ``network`` that have parameters and all of them frozen (``requires_grad`` False)."""
    found = []
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            found.append(part)
    return found


@contextmanager
def frozen_kept(network: nn.Module) -> Iterator[None]:
    """Leave the buffers of frozen parts as they were: also those that ``forward`` changes in eval mode."""
    with _buffers_kept(frozen_parts(network)):
        yield


def frozen_mode(network: nn.Module) -> None:
    """Train mode for all but frozen parts, whose batch statistics and dropout stay as they are in use."""
    network.train()
    for part in frozen_parts(network):
        part.eval()


@contextmanager
def _buffers_kept(parts: list[nn.Module]) -> Iterator[None]:
    buffers = list({id(b): b for part in parts for b in part.buffers(recurse=False)}.values())
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in zip(buffers, before, strict=True):
                buffer.copy_(kept)
