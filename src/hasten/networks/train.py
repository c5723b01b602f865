"""Train all exits of a multi-exit network together: one backward pass through a weighted sum of their losses.

The later an exit, the larger its weight (in proportion to its number, unless given), so that early exits do not bend
the features that the deep ones need. AdamW with a one-cycle learning rate reaches a useful accuracy in few epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import HastenError, InputError
from hasten.networks.attach import trial_run

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of it that is done, 0 to 1."""

REPORT_EVERY = 16


@dataclass(frozen=True)
class TrainSettings:
    """How to train. The defaults suit a small convolutional network trained from scratch."""

    epochs: int = 6
    """Passes over the training data; more is slower and more accurate (3 to 50)."""
    batch: int = 32
    """Pictures per step; small batches take more steps per second of computing (16 to 256)."""
    peak_lr: float = 4e-3
    """Largest learning rate of the cycle; too large diverges, about 1e-4 keeps what a pretrained module knows."""
    weight_decay: float = 0.02
    exit_weights: tuple[float, ...] | None = None
    """Weight of each exit's loss; None: 1, 2, ... E. Only their ratios matter."""
    seed: int = 0
    """Order of the pictures, and anything random inside the module (dropout)."""


def train_exits(
    network: nn.Module,
    inputs: NDArray[np.generic],
    labels: NDArray[np.integer],
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train ``network`` in place on ``inputs`` (N, *input_shape), ``labels`` (N,); return each epoch's mean loss.

    ``forward`` must return a tuple of logits (N, classes), one per exit. Parts of which all parameters are frozen
    stay as they are, statistics and other buffers included. The network is left in eval mode. Equal arguments and
    thread counts give equal weights; the caller's random state is left alone.

    Raises:
        InputError: settings that cannot be used, or inputs of a shape that the network cannot process.
        HastenError: the loss is no longer finite.
    """
    settings = settings or TrainSettings()
    _check(settings, len(inputs), len(labels))
    trial_run(network, inputs)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise InputError("training", "parameters", "all frozen", "at least one with requires_grad")
    with torch.random.fork_rng(devices=[]), _frozen_kept(network):
        torch.manual_seed(settings.seed)
        _arrange(network, torch.channels_last)  # the faster layout for convolutions on a CPU
        losses = _run(network, inputs, labels, settings, progress)
        _arrange(network, torch.contiguous_format)
    network.eval()
    return losses


def frozen_parts(network: nn.Module) -> list[nn.Module]:
    """The parts of ``network`` that have parameters and all of them frozen (``requires_grad`` False)."""
    found = []
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            found.append(part)
    return found


@contextmanager
def _frozen_kept(network: nn.Module) -> Iterator[None]:
    """Leave the buffers of frozen parts as they were: also those that ``forward`` changes in eval mode."""
    buffers = [buffer for part in frozen_parts(network) for buffer in part.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in zip(buffers, before, strict=True):
                buffer.copy_(kept)


def _train_mode(network: nn.Module) -> None:
    """Train mode for all but frozen parts, whose batch statistics and dropout stay as they are in use."""
    network.train()
    for part in frozen_parts(network):
        part.eval()


def _arrange(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay the weights of convolutions out in memory as ``layout`` says; their values stay."""
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)


def _run(
    network: nn.Module,
    inputs: NDArray[np.generic],
    labels: NDArray[np.integer],
    settings: TrainSettings,
    progress: Progress | None,
) -> list[float]:
    pictures, targets = torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64))
    steps = len(pictures) // settings.batch
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.peak_lr, weight_decay=settings.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.peak_lr, total_steps=settings.epochs * steps)
    losses: list[float] = []
    _train_mode(network)
    for epoch in range(settings.epochs):
        order, total = torch.randperm(len(pictures)), 0.0
        so_far = f" (loss {losses[-1]:.3f})" if losses else ""
        what = f"training, epoch {epoch + 1} of {settings.epochs}{so_far}"
        for step in range(steps):
            rows = order[step * settings.batch : (step + 1) * settings.batch]
            loss = joint_loss(network(pictures[rows]), targets[rows], settings.exit_weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
            total += float(loss.detach())
            if progress and step % REPORT_EVERY == 0:
                done = (epoch * steps + step) / (settings.epochs * steps)
                progress(what, done)
        losses.append(total / steps)
        if not np.isfinite(losses[-1]):
            raise HastenError(f"training diverged in epoch {epoch + 1}: try a peak_lr below {settings.peak_lr:g}")
    return losses


def joint_loss(logits: Sequence[Tensor], targets: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Weighted mean over exits of the cross entropy of their ``logits`` (N, classes) to ``targets`` (N,)."""
    weights = weights or range(1, len(logits) + 1)
    if len(weights) != len(logits):
        raise InputError("training", "exit_weights", tuple(weights), f"{len(logits)} weights, one per exit")
    losses = [
        weight * F.cross_entropy(exit_logits, targets) for weight, exit_logits in zip(weights, logits, strict=True)
    ]
    return torch.stack(losses).sum() / sum(weights)


def _check(settings: TrainSettings, inputs: int, labels: int) -> None:
    if inputs != labels:
        raise InputError("training data", "labels", labels, f"as many as inputs ({inputs})")
    if settings.epochs < 1:
        raise InputError("training", "epochs", settings.epochs, "at least 1")
    if not 2 <= settings.batch <= inputs:
        raise InputError("training", "batch", settings.batch, f"2 to {inputs} (the number of training inputs)")
    if not settings.peak_lr > 0:
        raise InputError("training", "peak_lr", settings.peak_lr, "a number above 0")
    if settings.exit_weights is not None and not min(settings.exit_weights, default=0.0) > 0:
        raise InputError("training", "exit_weights", settings.exit_weights, "numbers above 0, one per exit")
