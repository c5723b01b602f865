"""What happens to a frame before the model gets it, as part of the graph: so the raw frame is what crosses the link."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.split.modules import Batch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The statistics that most published image networks were trained with (RGB, values 0..1)."""

ORDERS = ("same", "reversed")


class Prepare(nn.Module):
    """Pixels (uint8) become 0..1; then the channels are reversed if asked for, then ``(x - mean) / std`` per channel.

    Frames are (N, C, H, W) with ``mean`` and ``std`` of C values each. Without either, floats and integers other than
    uint8 are left as they are.
    """

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, order: str = "same"
    ) -> None:
        super().__init__()
        if order not in ORDERS:
            raise InputError("normalisation", "order", order, "same, or reversed (RGB for BGR)")
        given = [numbers for numbers in (mean, std) if numbers is not None]
        if any(len(numbers) != len(given[0]) or not all(map(math.isfinite, numbers)) for numbers in given):
            raise InputError("normalisation", "mean, std", given, "as many finite numbers each as there are channels")
        if std is not None and not min(std) > 0:
            raise InputError("normalisation", "std", tuple(std), "numbers above 0")
        self.channels = len(given[0]) if given else None
        self.reverse = order == "reversed"
        for name, numbers, neutral in (("mean", mean, 0.0), ("std", std, 1.0)):
            values = [neutral] * (self.channels or 0) if numbers is None else list(numbers)
            self.register_buffer(name, torch.tensor(values).reshape(-1, 1, 1), persistent=False)

    def batch(self, batch: Batch) -> Batch:
        """A batch as the model wants it. Of several inputs the pictures with as many channels are normalised.

        Raises:
            InputError: nothing among the inputs is what the normalisation is for.
        """
        if not isinstance(batch, dict):
            return self._prepared(batch)
        chosen = {name for name, x in batch.items() if self._fits(x)}
        if not chosen and (self.channels is not None or self.reverse):
            shapes = {name: f"{x.dtype} {tuple(x.shape)}" for name, x in batch.items()}
            raise InputError("network", "inputs", shapes, f"one of {self._expected()}")
        return {name: self._prepared(x) if name in chosen else _scaled(x) for name, x in batch.items()}

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (N, *input_shape) as the model wants it."""
        return self._prepared(x)

    def _fits(self, x: Tensor) -> bool:
        """Whether ``x`` is what is normalised."""
        pixels = x.dtype == torch.uint8 or x.is_floating_point()
        return x.ndim == 4 and pixels and self.channels in (None, x.shape[1])

    def _expected(self) -> str:
        return f"frames (N, {self.channels or 'C'}, H, W) of uint8 or float, as the normalisation says"

    def _prepared(self, x: Tensor) -> Tensor:
        if self.channels is None and not self.reverse:
            return _scaled(x)
        if not self._fits(x):
            raise InputError("network", "input", f"{x.dtype} {tuple(x.shape)}", self._expected())
        x = _scaled(x)
        if self.reverse:
            x = x.flip(1)
        if self.channels is None:
            return x
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (x - mean) / std


def _scaled(x: Tensor) -> Tensor:
    return x.float() / 255.0 if x.dtype == torch.uint8 else x


def parse_normalisation(text: str) -> Prepare:
    """``imagenet``, ``MEAN,...:STD,...``, or either with ``:bgr`` behind it when frames come as BGR.

    Raises:
        InputError: another form.
    """
    expected = "imagenet, or MEAN,MEAN,MEAN:STD,STD,STD, and :bgr behind it for frames in BGR order"
    parts = text.split(":")
    order = "reversed" if parts[-1] == "bgr" else "same"
    parts = parts[:-1] if order == "reversed" else parts
    if parts == ["imagenet"]:
        return Prepare(IMAGENET_MEAN, IMAGENET_STD, order)
    if not parts and order == "reversed":
        return Prepare(order=order)
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in parts)
    except ValueError:
        raise InputError("build", "--normalise", text, expected) from None
    return Prepare(mean, std, order)
