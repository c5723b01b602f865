"""A learned bottleneck: behind a chosen layer features become few and then many again, so a cut between sends little.

The encoder is a linear map of the features of each place (pixel, token), the decoder one back, as in BottleNet
(Eshratifar, Esmaili and Pedram, ISLPED 2019) without its codec. Both start as the principal components of the features,
the best linear choice, and then learn alone what the network needs: to answer, and to see behind the layer, as without
them (head network distillation: Matsubara et al., IEEE Access 2020). All else stays as it is. What crosses is the
narrow tensor, through the codec of that cut.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.axes import find_layouts
from hasten.networks.data import Dataset
from hasten.networks.heads import Layout
from hasten.networks.prepare import Prepare
from hasten.networks.tapping import Tap, main_tensor, parse_taps
from hasten.networks.train import SOFTNESS, Progress, TrainSettings
from hasten.split.inputs import count_of
from hasten.split.modules import Batch, batch_of, call, mapped, undisturbed

_EXAMPLES = 256


class Narrowed(nn.Module):
    """A layer, and behind it the encoder and decoder; while ``open``, as if they were not there."""

    def __init__(self, layer: nn.Module, features: Tensor, width: int, layout: Layout) -> None:
        """``features``: (M, C), examples of what a place holds."""
        super().__init__()
        self.layer = layer
        self.open = False
        self._axis = layout.features
        mean = features.mean(0)
        parts = torch.linalg.svd(features - mean, full_matrices=False).Vh[:width]  # (width, C)
        self.encoder, self.decoder = nn.Linear(len(mean), width), nn.Linear(width, len(mean))
        with torch.no_grad():
            self.encoder.weight.copy_(parts)
            self.encoder.bias.copy_(-parts @ mean)
            self.decoder.weight.copy_(parts.T)
            self.decoder.bias.copy_(mean)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """What the layer gives, as far as the narrow tensor can tell it."""
        x: Tensor = self.layer(*inputs, **named)
        return x if self.open else self._mapped(self._mapped(x, self.encoder), self.decoder)

    def _mapped(self, x: Tensor, linear: nn.Linear) -> Tensor:
        if self._axis == x.ndim - 1:
            mapped: Tensor = linear(x)
            return mapped
        kernel = linear.weight[(...,) + (None,) * (x.ndim - 2)]  # a convolution of size 1 keeps the axes as they are
        return (F.conv1d, F.conv2d)[x.ndim - 3](x, kernel, linear.bias)


def parse_bottleneck(text: str) -> tuple[str, int]:
    """Layer and width of ``LAYER:WIDTH``."""
    layer, _, width = text.rpartition(":")
    if not layer or not width.isdigit() or int(width) < 1:
        raise InputError("build", "--bottleneck", text, "LAYER:WIDTH, for example layer2:8")
    return layer, int(width)


def insert_bottleneck(module: nn.Module, layer: str, width: int, dataset: Dataset, prepare: Prepare) -> Narrowed:
    """Put a bottleneck of ``width`` features behind ``layer`` of ``module``, in place.

    Raises:
        InputError: no such layer; it does not give one tensor with its features on one axis; or they are not more than
            ``width``.
    """
    (tap,), _ = parse_taps(module, [layer])
    inputs = prepare.batch(batch_of(dataset.train_x, slice(_EXAMPLES)))
    layout = find_layouts(module, inputs, [tap])[0].get(tap.layer)
    output = _output_of(module, tap, inputs)
    if layout is None or not isinstance(output, Tensor) or (layout.features < output.ndim - 1 and layout.batch):
        expected = "a layer that gives one tensor of 2 to 4 axes, the batch in front"
        raise InputError("build", "--bottleneck", layer, expected)
    features = output.movedim(layout.features, -1).flatten(0, -2).float()
    if width >= features.shape[1]:
        raise InputError("build", "--bottleneck", width, f"fewer than the {features.shape[1]} features of {layer}")
    narrowed = Narrowed(module.get_submodule(tap.layer), features, width, layout)
    parent, _, name = tap.layer.rpartition(".")
    setattr(module.get_submodule(parent), name, narrowed)
    return narrowed


def train_bottleneck(
    module: nn.Module,
    narrowed: Narrowed,
    dataset: Dataset,
    prepare: Prepare,
    settings: TrainSettings,
    progress: Progress | None = None,
) -> str:
    """Let encoder and decoder learn to change neither what is behind the layer nor what ``module`` answers.

    Returns:
        What that costs, in words.
    """
    learning = [*narrowed.encoder.parameters(), *narrowed.decoder.parameters()]
    frozen = [part for part in module.parameters() if part.requires_grad and all(part is not own for own in learning)]
    rng, optimizer = np.random.default_rng(settings.seed), torch.optim.Adam(learning, settings.peak_lr)
    count = count_of(dataset.train_x)
    steps = settings.epochs * -(-count // settings.batch)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    seen: list[Tensor] = []
    handle = narrowed.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    was_training = module.training
    try:
        module.eval()
        for part in frozen:
            part.requires_grad_(False)
        for epoch in range(settings.epochs):
            order = rng.permutation(count)
            for start in range(0, len(order), settings.batch):
                rows = np.sort(order[start : start + settings.batch])
                batch = prepare.batch(batch_of(dataset.train_x, rows))
                seen.clear()
                optimizer.zero_grad()
                _loss(module, narrowed, batch, seen).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                slower.step()
                if progress:
                    progress("training the bottleneck", (epoch + start / len(order)) / settings.epochs)
    finally:
        handle.remove()
        narrowed.open = False
        module.train(was_training)
        for part in frozen:
            part.requires_grad_(True)
    return _cost(module, narrowed, dataset, prepare)


def _cost(module: nn.Module, narrowed: Narrowed, dataset: Dataset, prepare: Prepare) -> str:
    """How often the answers to validation inputs are right without and with the bottleneck, or how often the same."""
    answers = []
    with undisturbed(module):
        for narrowed.open in (True, False):
            outputs = [
                main_tensor(module, call(module, prepare.batch(batch_of(dataset.val_x, slice(row, row + _EXAMPLES)))))
                for row in range(0, count_of(dataset.val_x), _EXAMPLES)
            ]
            logits = [found for found in outputs if isinstance(found, Tensor) and found.ndim == 2]
            if len(logits) < len(outputs):
                return "trained to change the features behind it little"
            answers.append(torch.cat(logits).argmax(1).numpy())
    without, with_it = answers
    if dataset.classes and dataset.val_y is not None:
        right = [float(np.mean(found == dataset.val_y)) for found in answers]
        return f"the model is right in {right[0]:.3f} of the validation inputs without it, in {right[1]:.3f} with it"
    return f"the model answers {float(np.mean(without == with_it)):.3f} of the validation inputs as without it"


def _loss(module: nn.Module, narrowed: Narrowed, batch: Batch, seen: list[Tensor]) -> Tensor:
    """Squared error of the features over their variance, and of logits the divergence from those without."""
    with torch.no_grad():
        narrowed.open = True
        wanted = main_tensor(module, call(module, batch))
    narrowed.open = False
    found = main_tensor(module, call(module, batch))
    before, after = seen
    loss = F.mse_loss(after, before) / before.var().clamp_min(1e-12)
    if isinstance(found, Tensor) and isinstance(wanted, Tensor) and found.ndim == 2:
        soft = F.log_softmax(wanted / SOFTNESS, 1), F.log_softmax(found / SOFTNESS, 1)
        loss = loss + F.kl_div(soft[1], soft[0], log_target=True, reduction="batchmean")
    return loss


def _output_of(module: nn.Module, tap: Tap, inputs: Batch) -> object:
    """What the layer gives for ``inputs``."""
    found: list[object] = []

    def hook(layer: nn.Module, _inputs: object, output: object) -> None:
        found.append(main_tensor(layer, output, tap.field))

    handle = module.get_submodule(tap.layer).register_forward_hook(hook)
    try:
        with undisturbed(module):
            call(module, mapped(inputs, torch.clone))
    finally:
        handle.remove()
    return found[0] if len(found) == 1 else None
