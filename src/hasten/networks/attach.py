"""Attach exits to any module by the names of its layers, without touching the module's code.

A forward hook on each named layer feeds the layer's output to a small head while the module runs. The module itself
stays as it is: one call gives the logits of every exit, the original output last. Hooks live for one call only and
never raise, so the result can be trained, copied and exported with ``torch.export``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hasten.core.errors import InputError

POOLED_SIDE = 4
"""A head looks at a feature map through a grid of at most this side."""

SHOWN_NAMES = 40


class ExitHead(nn.Module):
    """Average pooling to at most 4 x 4, then one linear layer, as in Shallow-Deep Networks (Kaya et al., ICML 2019).

    Takes activations (N, C, H, W), (N, tokens, C), whose tokens are averaged, or (N, C). The width is inferred in the
    first call.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classify = nn.LazyLinear(num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        if features.ndim == 4:
            features = _pooled(features)
        elif features.ndim == 3:
            features = features.mean(dim=1)
        logits: Tensor = self.classify(features.flatten(1))
        return logits


def _pooled(maps: Tensor) -> Tensor:
    """Average (N, C, H, W) over windows such that at most 4 x 4 remain; a ragged last window averages what it has."""
    kernel = [-(-side // POOLED_SIDE) for side in maps.shape[2:]]
    ragged = any(side % window for side, window in zip(maps.shape[2:], kernel, strict=True))
    return F.avg_pool2d(maps, kernel, ceil_mode=ragged, count_include_pad=not ragged)


class MultiExit(nn.Module):
    """A module with heads on some of its layers; made by :func:`attach_exits`.

    ``forward(x)`` returns one tensor of logits (N, classes) per exit, in the order in which the layers run, the
    module's own output last. Pixels given as uint8 are scaled to 0..1 first. One call at a time: the hooks are the
    module's.
    """

    def __init__(self, module: nn.Module, at: Sequence[str], num_classes: int) -> None:
        super().__init__()
        self.module = module
        self.heads = nn.ModuleDict({_key(name): ExitHead(num_classes) for name in at})
        self.at = tuple(at)
        self.num_classes = num_classes

    @property
    def exit_names(self) -> tuple[str, ...]:
        """Name of each exit: its layer's, then ``final``. In order of depth once the module has been run."""
        return (*self.at, "final")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits for ``x`` (N, *input_shape)."""
        reached: list[tuple[str, object]] = []
        handles = [self.module.get_submodule(name).register_forward_hook(self._tap(name, reached)) for name in self.at]
        try:
            last = self.module(scaled(x))
        finally:
            for handle in handles:
                handle.remove()
        logits = (*self._check_exits(reached), self._check_last(last))
        for name, exit_logits in zip(self.at, logits, strict=False):
            if exit_logits.shape != logits[-1].shape:
                raise InputError("exits", name, f"{len(exit_logits)} rows", f"the batch ({len(x)}) as the first axis")
        return logits

    def _tap(self, name: str, reached: list[tuple[str, object]]) -> Callable[..., None]:
        """Make the hook of one layer: it runs the head at once, before a later in-place layer can alter its input."""
        head = self.heads[_key(name)]

        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            again = any(name == earlier for earlier, _ in reached)
            if again or not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
                reached.append((name, output))
                return
            # In training the head keeps its input for the gradient; an in-place layer after it must not change it.
            reached.append((name, head(output.clone() if self.training else output)))

        return hook

    def _check_exits(self, reached: list[tuple[str, object]]) -> tuple[Tensor, ...]:
        order = tuple(name for name, _ in reached)
        for name in self.at:
            if order.count(name) != 1:
                found = "is never reached" if name not in order else f"runs {order.count(name)} times"
                raise InputError("exits", name, f"a layer that {found}", "a layer that runs exactly once in forward")
        self.at = order
        return tuple(self._checked(name, logits) for name, logits in reached)

    def _check_last(self, last: object) -> Tensor:
        logits = self._checked("final", last)
        if logits.shape[1] != self.num_classes:
            raise InputError("exits", "final", tuple(logits.shape), f"logits (N, {self.num_classes})")
        return logits

    @staticmethod
    def _checked(name: str, logits: object) -> Tensor:
        if isinstance(logits, Tensor) and logits.ndim == 2:
            return logits
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        wanted = (
            "one tensor of logits (N, classes)" if name == "final" else "an output that is one tensor of 2 to 4 axes"
        )
        raise InputError("exits", name, given, wanted)


class OwnExits(nn.Module):
    """A module that has exits already: its ``forward`` returns a tuple of logits (N, classes), deepest last."""

    def __init__(self, module: nn.Module, num_classes: int, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        outputs = dry_run(module, input_shape)
        exits = outputs if isinstance(outputs, tuple | list) else (outputs,)
        shapes = [tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__ for logits in exits]
        if not isinstance(outputs, tuple | list) or set(shapes) != {(2, num_classes)}:
            expected = f"a tuple of logits (N, {num_classes}), one per exit; or name layers to attach exits to"
            raise InputError("network", "output", shapes, expected)
        self.exit_names = tuple(f"exit{number}" for number in range(1, len(shapes) + 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits for ``x`` (N, *input_shape), with uint8 pixels scaled to 0..1."""
        return tuple(self.module(scaled(x)))


def attach_exits(
    module: nn.Module,
    at: Sequence[str],
    num_classes: int,
    input_shape: Sequence[int] | None = None,
) -> MultiExit:
    """Return ``module`` with a head after each layer named in ``at`` and its own output as the last exit.

    Args:
        module: any module that maps one batched tensor to logits (N, num_classes).
        at: names as in ``module.named_modules()``, in any order.
        num_classes: the width of every exit.
        input_shape: shape of one input, without the batch. With it a dry run infers the heads' widths and checks the
            layers now; without it the first call does.

    Raises:
        InputError: a name that is no layer, is given twice, or is not run exactly once; a layer whose output is not
            one tensor of 2 to 4 axes; a module whose output is not (N, num_classes).
    """
    _check_names(module, at)
    network = MultiExit(module, at, num_classes)
    if input_shape is not None:
        dry_run(network, input_shape)
    return network


def dry_run(network: nn.Module, input_shape: Sequence[int]) -> object:
    """Return what ``network`` gives for zeros (2, *input_shape), without gradients or effects on running statistics."""
    was_training = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            return network(torch.zeros((2, *input_shape)))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:160]
        expected = f"an input that the network can process ({reason})"
        raise InputError("network", "input shape", tuple(input_shape), expected) from error
    finally:
        for module, training in was_training:
            module.training = training


def scaled(x: Tensor) -> Tensor:
    """Return pixels (uint8, 0..255) as floats in 0..1; anything else as it is."""
    return x.float() / 255.0 if x.dtype == torch.uint8 else x


def _check_names(module: nn.Module, at: Sequence[str]) -> None:
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if not at:
        raise InputError("exits", "layers", list(at), f"at least one of {_listed(names)}")
    for name in at:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=SHOWN_NAMES)
            raise InputError("exits", "layer", name, f"one of {_listed(close + [n for n in names if n not in close])}")
        if list(at).count(name) > 1:
            raise InputError("exits", "layer", name, "each layer once")


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _key(name: str) -> str:
    """A layer's name as a key of ``nn.ModuleDict``, which allows no dots (and clashes with its own attributes)."""
    return "exit:" + name.replace(".", "/")
