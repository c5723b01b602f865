"""Which axes of a layer's output are batch, features, and space or time: found by trying, not by guessing from sizes.

The module runs on a batch of another size, and on inputs that are twice as long along one axis: what grows with the
batch is the batch, what grows with the input is space or time, and the one axis that is left holds the features. A
module that takes inputs of one size only fails somewhere, but layers before that place have run. Where this does not
decide (positions of fixed size, pooling to a fixed size) the type of layer that made the tensor does: a convolution
puts features on the axis after the batch, a linear layer on the last. Where that is unknown too, the width of the
weights that made it must match one axis only. Else the user is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.heads import Layout
from hasten.networks.tapping import CHANNELS_FIRST, CHANNELS_LAST, Tap, main_tensor
from hasten.split.modules import Batch, call, mapped, refusing_nested_tensors, undisturbed

_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
)
_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.RNNBase, nn.TransformerEncoderLayer)
_WIDTHS = ("out_channels", "out_features", "num_features", "num_channels", "hidden_size", "embedding_dim")


def find_layouts(module: nn.Module, example: Batch, taps: Sequence[Tap]) -> tuple[dict[str, Layout], list[str]]:
    """Find the layout of what each tapped layer gives, and the order in which the layers run.

    ``example`` is a batch of inputs that the module can process. Layers that are not reached, or give no tensor of 2 to
    4 axes, are left out: running the network refuses them by name.

    Raises:
        InputError: a layer whose layout is neither found nor stated.
    """
    stated = {tap.layer: tap.layout or None for tap in taps}
    two, three = mapped(example, lambda x: _repeated(x, 2)), mapped(example, lambda x: _repeated(x, 3))
    with undisturbed(module), refusing_nested_tensors(module):
        base = _outputs(module, two, taps, forgiving=False)
        shapes = {name: output.shape for name, output in base.items()}
        others = {name: output.shape for name, output in _outputs(module, three, taps).items()}
        longer = [
            {name: output.shape for name, output in _outputs(module, batch, taps).items()} for batch in _longer(two)
        ]
    found: dict[str, Layout] = {}
    for name, shape in shapes.items():
        if not 2 <= len(shape) <= 4:
            continue
        batch = _batch_axis(name, shape, others.get(name))
        rest = [axis for axis in range(len(shape)) if axis != batch]
        moved = {axis for other in longer if name in other for axis in _changed(shape, other[name])}
        features = _features_axis(module.get_submodule(name), shape, rest, moved, stated[name])
        if features is None:
            expected = (
                f"{name}:{CHANNELS_FIRST} or {name}:{CHANNELS_LAST} among the exits' layers, because an output of this "
                "shape does not show which axis holds its features"
            )
            raise InputError("exits", name, tuple(shape), expected)
        found[name] = Layout(batch, features)
    return found, list(shapes)


def _features_axis(
    layer: nn.Module, shape: torch.Size, rest: list[int], moved: set[int], stated: str | None
) -> int | None:
    if stated is not None:
        return rest[0] if stated == CHANNELS_FIRST else rest[-1]
    still = [axis for axis in rest if axis not in moved]
    if len(still) == 1:
        return still[0]
    wide = [axis for axis in rest if shape[axis] > 1]
    if len(wide) == 1:
        return wide[0]
    kind = _last_of(layer)
    if isinstance(kind, _FIRST):
        return rest[0]
    if isinstance(kind, _LAST):
        return rest[-1]
    widths = {getattr(part, name) for part in layer.modules() for name in _WIDTHS if hasattr(part, name)}
    fitting = [axis for axis in (rest[0], rest[-1]) if shape[axis] in widths]
    return fitting[0] if len(fitting) == 1 else None


def _last_of(layer: nn.Module) -> nn.Module:
    """The part of a sequence of layers that decides the layout of its output: the last one of a known kind."""
    while isinstance(layer, nn.Sequential) and len(layer):
        parts = list(layer)
        known = [part for part in parts if isinstance(part, (*_FIRST, *_LAST)) or len(list(part.children()))]
        if not known:
            break
        layer = known[-1]
    return layer


def _batch_axis(name: str, shape: torch.Size, other: torch.Size | None) -> int:
    changed = [] if other is None else _changed(shape, other)
    if len(changed) == 1 and shape[changed[0]] == 2:
        return changed[0]
    raise InputError("exits", name, tuple(shape), "an output that has the batch (2 inputs here) as one of its axes")


def _changed(shape: torch.Size, other: torch.Size) -> list[int]:
    """The axes in which two shapes differ; all, when they have different numbers of axes."""
    if len(shape) != len(other):
        return list(range(len(shape)))
    return [axis for axis, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]


def _repeated(example: Tensor, count: int) -> Tensor:
    """A batch of ``count`` copies of the example's first input."""
    return torch.cat([example[:1].detach()] * count)


def _longer(batch: Batch) -> list[Batch]:
    """The batch twice as long along one axis: of its one input; of all that have this axis, and of each alone."""
    if isinstance(batch, Tensor):
        return [torch.cat([batch, batch], axis) for axis in range(1, batch.ndim)]
    axes = range(1, max(x.ndim for x in batch.values()))
    together: list[Batch] = [{name: _doubled(x, axis) for name, x in batch.items()} for axis in axes]
    alone = [{**batch, name: _doubled(x, axis)} for name, x in batch.items() for axis in range(1, x.ndim)]
    return together + alone


def _doubled(x: Tensor, axis: int) -> Tensor:
    return torch.cat([x, x], axis) if axis < x.ndim else x


def _outputs(module: nn.Module, x: Batch, taps: Sequence[Tap], forgiving: bool = True) -> dict[str, Tensor]:
    """The first tensor that each tapped layer gives, in order; if ``forgiving``, what comes after may fail."""
    found: dict[str, Tensor] = {}

    def listen(tap: Tap) -> torch.utils.hooks.RemovableHandle:
        def hook(layer: nn.Module, _inputs: object, output: object) -> None:
            tensor = main_tensor(layer, output, tap.field)
            if isinstance(tensor, Tensor):
                found.setdefault(tap.layer, tensor)

        return module.get_submodule(tap.layer).register_forward_hook(hook)

    handles = [listen(tap) for tap in taps]
    try:
        call(module, mapped(x, torch.clone))
    except Exception:  # whatever a module raises for inputs of another size
        if not forgiving:
            raise
    finally:
        for handle in handles:
            handle.remove()
    return found
