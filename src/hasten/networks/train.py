"""Train the exits of a multi-exit network: one backward pass through a weighted sum of their losses.

The later an exit, the larger its weight (in proportion to its number, unless given), so that early exits do not bend
the features that the deep ones need. AdamW with a one-cycle learning rate reaches a useful accuracy in few epochs.
Where only the heads are trained, the backbone stays as it is to the bit; without labels they learn to answer as the
deepest exit does (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import HastenError, InputError
from hasten.networks.attach import trial_run
from hasten.networks.augment import augmented, check_augmentation
from hasten.networks.frozen import frozen_kept, frozen_mode, head_parameters, heads_mode, only_heads
from hasten.split.inputs import Inputs, count_of
from hasten.split.modules import Batch, batch_of, call

Array = NDArray[np.generic]
Labels = NDArray[np.integer] | None
"""Class indices (N,), or None: the deepest exit's answers are learnt from."""
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of it that is done, 0 to 1."""

REPORT_EVERY = 16
SOFTNESS = 2.0
"""Temperature at which the deepest exit's probabilities are learnt from: they show which wrong classes are near."""


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
    parts: Literal["all", "heads"] = "all"
    """What learns: everything that is not frozen, or only what the deepest exit does not need."""
    backbone_lr: float | None = None
    """Largest learning rate of what the deepest exit needs; None: ``peak_lr``. A twentieth of it is gentle."""
    patience: int | None = None
    """Stop after so many epochs without a better loss on validation data (2 to 10); None: run all epochs."""
    augment: tuple[str, ...] = ()
    """``flip`` and ``shift``: pictures are mirrored, moved by up to an eighth of their sides."""


def train_exits(
    network: nn.Module,
    inputs: Inputs,
    labels: Labels,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    validation: tuple[Inputs, Labels] | None = None,
) -> list[float]:
    """Train ``network`` in place on ``inputs`` (N, *input_shape), ``labels`` (N,); return each epoch's mean loss.

    Of a network with several inputs they are a dictionary by their names.

    ``forward`` must return a tuple of logits (N, classes), one per exit. Parts of which all parameters are frozen
    stay as they are, statistics and other buffers included. The network is left in eval mode. Equal arguments and
    thread counts give equal weights; the caller's random state is left alone. With ``validation`` data (inputs,
    labels) those weights are kept that have the smallest loss there: of an epoch, or of before.

    Raises:
        InputError: settings that cannot be used, or inputs of a shape that the network cannot process.
        HastenError: the loss is no longer finite.
    """
    settings = settings or TrainSettings()
    _check(settings, inputs, labels, validation)
    trial_run(network, inputs)
    with torch.random.fork_rng(devices=[]), _parts_chosen(network, inputs, settings):
        if not any(weight.requires_grad for weight in network.parameters()):
            raise InputError("training", "parameters", "all frozen", "at least one with requires_grad")
        torch.manual_seed(settings.seed)
        _arrange(network, torch.channels_last)  # the faster layout for convolutions on a CPU
        losses = _Training(network, settings, progress, validation).run(inputs, labels)
        _arrange(network, torch.contiguous_format)
    network.eval()
    return losses


@contextmanager
def _parts_chosen(network: nn.Module, inputs: Inputs, settings: TrainSettings) -> Iterator[None]:
    kept = frozen_kept(network) if settings.parts == "all" else only_heads(network, batch_of(inputs, slice(2)))
    with kept:
        yield


def _arrange(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay the weights of convolutions out in memory as ``layout`` says; their values stay."""
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)


class _Training:
    """One training: its settings, and the best weights so far where validation data can tell."""

    def __init__(
        self,
        network: nn.Module,
        settings: TrainSettings,
        progress: Progress | None,
        validation: tuple[Inputs, Labels] | None,
    ) -> None:
        self.network, self.settings, self.validation = network, settings, validation
        self.progress = progress
        self.best: tuple[float, int, dict[str, Tensor]] | None = None

    def run(self, inputs: Inputs, labels: Labels) -> list[float]:
        """Train; each epoch's mean loss."""
        settings = self.settings
        targets = None if labels is None else torch.from_numpy(labels.astype(np.int64))
        count = count_of(inputs)
        steps = count // settings.batch
        optimizer, cycle = self._optimizer(batch_of(inputs, slice(2)), settings.epochs * steps)
        losses: list[float] = []
        self._should_stop(-1)  # the weights of before are kept if no epoch betters them
        for epoch in range(settings.epochs):
            (frozen_mode if settings.parts == "all" else heads_mode)(self.network)
            order, total = torch.randperm(count), 0.0
            so_far = f" (loss {losses[-1]:.3f})" if losses else ""
            what = f"training, epoch {epoch + 1} of {settings.epochs}{so_far}"
            for step in range(steps):
                rows = order[step * settings.batch : (step + 1) * settings.batch]
                batch = augmented(batch_of(inputs, rows.numpy()), settings.augment)
                outputs = call(self.network, batch)
                loss = exits_loss(outputs, None if targets is None else targets[rows], settings.exit_weights)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                cycle.step()
                total += float(loss.detach())
                if self.progress and step % REPORT_EVERY == 0:
                    self.progress(what, (epoch * steps + step) / (settings.epochs * steps))
            losses.append(total / steps)
            if not np.isfinite(losses[-1]):
                raise HastenError(f"training diverged in epoch {epoch + 1}: try a peak_lr below {settings.peak_lr:g}")
            if self._should_stop(epoch):
                break
        if self.best is not None:
            self.network.load_state_dict(self.best[2])
        return losses

    def _optimizer(
        self, example: Batch, steps: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
        settings = self.settings
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        groups, rates = [trained], [settings.peak_lr]
        if settings.backbone_lr is not None and settings.parts == "all":
            heads = {id(weight) for weight in head_parameters(self.network, example)}
            groups = [[w for w in trained if id(w) in heads], [w for w in trained if id(w) not in heads]]
            rates = [settings.peak_lr, settings.backbone_lr]
        parameters = [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True) if group]
        optimizer = torch.optim.AdamW(parameters, lr=settings.peak_lr, weight_decay=settings.weight_decay)
        highest = [float(group["lr"]) for group in optimizer.param_groups]
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=steps)

    def _should_stop(self, epoch: int) -> bool:
        """Note the weights if they are the best so far; whether patience has run out."""
        if self.validation is None:
            return False
        loss = mean_loss(self.network, *self.validation, self.settings.exit_weights)
        if self.best is None or loss < self.best[0]:
            state = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.best = (loss, epoch, state)
        patience = self.settings.patience
        return patience is not None and epoch - self.best[1] >= patience


def mean_loss(
    network: nn.Module, inputs: Inputs, labels: Labels, weights: Sequence[float] | None = None, batch: int = 256
) -> float:
    """The loss of ``network`` in eval mode over ``inputs`` (N, *input_shape)."""
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for row in range(0, count_of(inputs), batch):
            rows = slice(row, row + batch)
            targets = None if labels is None else torch.tensor(labels[rows].astype(np.int64))
            outputs = call(network, batch_of(inputs, rows))
            total += float(exits_loss(outputs, targets, weights)) * len(outputs[0])
    return total / count_of(inputs)


def exits_loss(outputs: Sequence[Tensor], targets: Tensor | None, weights: Sequence[float] | None = None) -> Tensor:
    """The loss that training lowers: by labels, or, with ``targets`` None, by the deepest exit's answers."""
    return joint_loss(outputs, targets, weights) if targets is not None else distillation_loss(outputs, weights)


def joint_loss(logits: Sequence[Tensor], targets: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Weighted mean over exits of the cross entropy of their ``logits`` (N, classes) to ``targets`` (N,)."""
    return _weighted([F.cross_entropy(exit_logits, targets) for exit_logits in logits], len(logits), weights)


def distillation_loss(logits: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Weighted mean over all exits but the deepest of the cross entropy to its softened probabilities."""
    wanted = F.softmax(logits[-1].detach() / SOFTNESS, dim=1)
    losses = [SOFTNESS**2 * F.cross_entropy(exit_logits / SOFTNESS, wanted) for exit_logits in logits[:-1]]
    return _weighted(losses, len(logits), weights)


def _weighted(losses: list[Tensor], exits: int, weights: Sequence[float] | None) -> Tensor:
    """The weighted mean of the first exits' ``losses``; ``weights`` has one per exit."""
    weights = weights or range(1, exits + 1)
    if len(weights) != exits:
        raise InputError("training", "exit_weights", tuple(weights), f"{exits} weights, one per exit")
    used = weights[: len(losses)]
    return torch.stack([weight * loss for weight, loss in zip(used, losses, strict=True)]).sum() / sum(used)


def _check(settings: TrainSettings, inputs: Inputs, labels: Labels, validation: tuple[Inputs, Labels] | None) -> None:
    count = count_of(inputs)
    if labels is not None and count != len(labels):
        raise InputError("training data", "labels", len(labels), f"as many as inputs ({count})")
    if labels is None and settings.parts == "all":
        expected = "labels; without them only heads can be trained, by the deepest exit's answers (parts heads)"
        raise InputError("training data", "labels", None, expected)
    if settings.parts not in ("all", "heads"):
        raise InputError("training", "parts", settings.parts, "all or heads")
    if settings.epochs < 1:
        raise InputError("training", "epochs", settings.epochs, "at least 1")
    if not 2 <= settings.batch <= count:
        raise InputError("training", "batch", settings.batch, f"2 to {count} (the number of training inputs)")
    for field in ("peak_lr", "backbone_lr"):
        rate = getattr(settings, field)
        if rate is not None and not rate > 0:
            raise InputError("training", field, rate, "a number above 0")
    if settings.exit_weights is not None and not min(settings.exit_weights, default=0.0) > 0:
        raise InputError("training", "exit_weights", settings.exit_weights, "numbers above 0, one per exit")
    if settings.patience is not None and (settings.patience < 1 or validation is None):
        raise InputError("training", "patience", settings.patience, "at least 1, and validation data to judge by")
    check_augmentation(settings.augment, inputs)
