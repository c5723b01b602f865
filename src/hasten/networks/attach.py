"""Attach exits to any module by the names of its layers, without touching the module's code.

A forward hook on each named layer feeds the layer's output to a small head while the module runs. The module itself
stays as it is: one call gives the logits of every exit, the original output last. Hooks live for one call only and
never raise, so the result can be trained, copied and exported with ``torch.export``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.heads import AttachedHead
from hasten.networks.layout import STATED, find_layouts, main_tensor
from hasten.split.modules import require_float32, undisturbed

SHOWN_NAMES = 40

T = TypeVar("T")


class MultiExit(nn.Module):
    """A module with heads on some of its layers; made by :func:`attach_exits`.

    ``forward(x)`` returns one tensor of logits (N, classes) per exit, in the order of :attr:`exit_names`, the module's
    own output last. Pixels given as uint8 are scaled to 0..1 first. One call at a time: the hooks are the module's.
    """

    def __init__(self, module: nn.Module, at: Sequence[str], num_classes: int) -> None:
        super().__init__()
        self.module = module
        stated = [_stated(module, name) for name in at]
        self.heads = nn.ModuleDict({_key(name): AttachedHead(num_classes) for name, _ in stated})
        self.num_classes = num_classes
        self._stated = {name: layout for name, layout in stated if layout}
        registered = [name for name, _ in module.named_modules(remove_duplicate=False)]
        self.at = tuple(sorted((name for name, _ in stated), key=registered.index))
        self._known = False

    @property
    def exit_names(self) -> tuple[str, ...]:
        """Name of each exit, in the order of the outputs: its layer's, then ``final``."""
        return (*self.at, "final")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits for ``x`` (N, *input_shape)."""
        x = scaled(x)
        if not self._known:
            self.learn_layouts(x)
        reached: list[tuple[str, object]] = []
        handles = [self.module.get_submodule(name).register_forward_hook(self._tap(name, reached)) for name in self.at]
        try:
            last = self.module(x)
        finally:
            for handle in handles:
                handle.remove()
        logits = (*self._check_exits(reached), self._check_last(last))
        for name, exit_logits in zip(self.at, logits, strict=False):
            if exit_logits.shape != logits[-1].shape:
                raise InputError("exits", name, f"{len(exit_logits)} rows", f"the batch ({len(x)}) as the first axis")
        return logits

    def learn_layouts(self, example: Tensor) -> list[str]:
        """Find out over which axes each head has to average; the layers' names in the order in which they run."""
        layouts, order = find_layouts(self.module, example, self.at, self._stated)
        for name, layout in layouts.items():
            head = self.heads[_key(name)]
            assert isinstance(head, AttachedHead)
            head.layout = layout
        self._known = True
        return order

    def _tap(self, name: str, reached: list[tuple[str, object]]) -> Callable[..., None]:
        """Make the hook of one layer: it runs the head at once, before a later in-place layer can alter its input."""
        head = self.heads[_key(name)]

        def hook(layer: nn.Module, _inputs: object, output: object) -> None:
            output = main_tensor(layer, output)
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
        logits = dict(reached)
        return tuple(self._checked(name, logits[name]) for name in self.at)

    def _check_last(self, last: object) -> Tensor:
        if self.training and isinstance(last, tuple | list):
            raise InputError("exits", "final", type(last).__name__, "one tensor of logits in training mode too")
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
        require_float32(module)
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
        at: names as in ``module.named_modules()``, in any order. ``name:channels_first`` or ``name:channels_last``
            states where a layer's output has its features, for the few that do not show it.
        num_classes: the width of every exit.
        input_shape: shape of one input, without the batch. With it a dry run infers the heads' widths, checks the
            layers and puts the exits in the order in which their layers run; without it the first call does all but
            the last, and exits are in the order in which the module registers its layers.

    Raises:
        InputError: a name that is no layer, is given twice, or is not run exactly once; a layer whose output is not
            one tensor of 2 to 4 axes, or does not show which of them holds the features; a module whose output is not
            (N, num_classes).
    """
    if not isinstance(module, nn.Module):
        raise InputError("exits", "module", type(module).__name__, "a torch.nn.Module")
    _check_names(module, at)
    require_float32(module)
    network = MultiExit(module, at, num_classes)
    if input_shape is not None:
        order = _tried(input_shape, network.learn_layouts)
        network.at = tuple(sorted(network.at, key=lambda name: order.index(name) if name in order else len(order)))
        dry_run(network, input_shape)
    return network


def dry_run(network: nn.Module, input_shape: Sequence[int]) -> object:
    """Return what ``network`` gives for zeros (2, *input_shape), without gradients or effects on modes and buffers."""
    return _tried(input_shape, lambda x: _run_undisturbed(network, x))


def trial_run(network: nn.Module, inputs: NDArray[np.generic]) -> object:
    """As :func:`dry_run`, for the first two of real ``inputs`` (N, *input_shape)."""
    example = torch.from_numpy(inputs[:2].copy())
    return _tried(inputs.shape[1:], lambda _: _run_undisturbed(network, example))


def _run_undisturbed(network: nn.Module, x: Tensor) -> object:
    with undisturbed(network):
        return network(x)


def _tried(input_shape: Sequence[int], run: Callable[[Tensor], T]) -> T:
    """What ``run`` gives for zeros (2, *input_shape); what the module raises becomes an InputError."""
    try:
        return run(torch.zeros((2, *input_shape)))
    except InputError:
        raise
    except Exception as error:  # whatever a module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        expected = (
            f"a network that takes one batch of float inputs of this shape, and a shape of which zeros are a valid "
            f"input; without a shape the first real batch is tried ({reason})"
        )
        raise InputError("network", "input shape", tuple(input_shape), expected) from error


def scaled(x: Tensor) -> Tensor:
    """Return pixels (uint8, 0..255) as floats in 0..1; anything else as it is."""
    return x.float() / 255.0 if x.dtype == torch.uint8 else x


def _stated(module: nn.Module, given: str) -> tuple[str, str]:
    """A layer's name and the layout stated with it, if any."""
    name, _, layout = given.rpartition(":")
    is_layer = any(given == known for known, _ in module.named_modules(remove_duplicate=False))
    return (given, "") if is_layer or layout not in STATED else (name, layout)


def _check_names(module: nn.Module, at: Sequence[str]) -> None:
    if isinstance(at, str) or not isinstance(at, Sequence) or not all(isinstance(name, str) for name in at):
        raise InputError("exits", "layers", at, "a list of layers' names")
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if not at:
        raise InputError("exits", "layers", list(at), f"at least one of {_listed(names)}")
    asked = [_stated(module, name)[0] for name in at]
    for name in asked:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=SHOWN_NAMES)
            raise InputError("exits", "layer", name, f"one of {_listed(close + [n for n in names if n not in close])}")
        if asked.count(name) > 1:
            raise InputError("exits", "layer", name, "each layer once")


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _key(name: str) -> str:
    """A layer's name as a key of ``nn.ModuleDict``, which allows no dots (and clashes with its own attributes)."""
    return "exit:" + name.replace(".", "/")
