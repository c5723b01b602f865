"""Attach exits to any module by the names of its layers, without touching the module's code.

A forward hook on each named layer feeds the layer's output to a small head while the module runs. The module itself
stays as it is: one call gives the logits of every exit, the original output last. Hooks live for one call only and
never raise, so the result can be trained, copied and exported with ``torch.export``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.axes import find_layouts
from hasten.networks.heads import AttachedHead
from hasten.networks.prepare import Prepare
from hasten.networks.tapping import FINAL, Tap, choices_in, main_tensor, parse_taps
from hasten.split.inputs import Inputs
from hasten.split.modules import Batch, batch_of, call, mapped, require_float32, undisturbed

T = TypeVar("T")


class MultiExit(nn.Module):
    """A module with heads on some of its layers; made by :func:`attach_exits`.

    ``forward(x)`` returns one tensor of logits (N, classes) per exit, in the order of :attr:`exit_names`, the module's
    own output last. What the module is given is ``prepare(x)``: by default pixels (uint8) scaled to 0..1, anything else
    as it is. Several inputs are given as the module takes them. One call at a time: the hooks are the module's.
    """

    def __init__(self, module: nn.Module, at: Sequence[str], num_classes: int, prepare: Prepare | None = None) -> None:
        super().__init__()
        self.module = module
        self.prepare = prepare or Prepare()
        taps, self._final_field = parse_taps(module, at)
        self.heads = nn.ModuleDict({_key(tap.layer): AttachedHead(num_classes) for tap in taps})
        self.num_classes = num_classes
        registered = [name for name, _ in module.named_modules(remove_duplicate=False)]
        self._taps = tuple(sorted(taps, key=lambda tap: registered.index(tap.layer)))
        self._known = False

    @property
    def exit_names(self) -> tuple[str, ...]:
        """Name of each exit, in the order of the outputs: its layer's, then ``final``."""
        return (*(tap.name for tap in self._taps), FINAL)

    def heads_in_order(self) -> list[AttachedHead]:
        """The head of each exit but the last, in the order of :attr:`exit_names`."""
        heads = [self.heads[_key(tap.layer)] for tap in self._taps]
        return [head for head in heads if isinstance(head, AttachedHead)]

    def forward(self, *x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits for ``x`` (N, *input_shape), or for several inputs."""
        batch = _bound(self.module, x, inputs)
        if not self._known:
            self.learn_layouts(batch)
        batch = self.prepare.batch(batch)
        reached: list[tuple[str, object]] = []
        handles = [
            self.module.get_submodule(tap.layer).register_forward_hook(self._hook(tap, reached)) for tap in self._taps
        ]
        try:
            last = call(self.module, batch)
        finally:
            for handle in handles:
                handle.remove()
        logits = (*self._check_exits(reached), self._check_last(last))
        for tap, exit_logits in zip(self._taps, logits, strict=False):
            if exit_logits.shape != logits[-1].shape:
                rows, count = f"{len(exit_logits)} rows", len(logits[-1])
                raise InputError("exits", tap.name, rows, f"the batch ({count}) as the first axis")
        return logits

    def learn_layouts(self, example: Batch) -> None:
        """Find out over which axes each head has to average, and put the exits in the order in which layers run."""
        layouts, order = find_layouts(self.module, self.prepare.batch(example), self._taps)
        for tap in self._taps:
            head = self.heads[_key(tap.layer)]
            assert isinstance(head, AttachedHead)
            head.layout = layouts.get(tap.layer)
        self._order = order
        self._known = True

    def sort_exits(self) -> None:
        """Put the exits in the order in which their layers ran when their layouts were found."""
        place = {name: number for number, name in enumerate(self._order)}
        self._taps = tuple(sorted(self._taps, key=lambda tap: place.get(tap.layer, len(place))))

    def _hook(self, tap: Tap, reached: list[tuple[str, object]]) -> Callable[..., None]:
        """Make the hook of one layer: it runs the head at once, before a later in-place layer can alter its input."""
        head = self.heads[_key(tap.layer)]

        def hook(layer: nn.Module, _inputs: object, output: object) -> None:
            output = main_tensor(layer, output, tap.field)
            again = any(tap.layer == earlier for earlier, _ in reached)
            if again or not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
                reached.append((tap.layer, output))
                return
            # The head may keep its input for the gradient; an in-place layer after it must not change it.
            reached.append((tap.layer, head(output.clone() if torch.is_grad_enabled() else output)))

        return hook

    def _check_exits(self, reached: list[tuple[str, object]]) -> tuple[Tensor, ...]:
        order = tuple(name for name, _ in reached)
        for tap in self._taps:
            if order.count(tap.layer) != 1:
                found = "is never reached" if tap.layer not in order else f"runs {order.count(tap.layer)} times"
                expected = "a layer that runs exactly once in forward"
                raise InputError("exits", tap.layer, f"a layer that {found}", expected)
        logits = dict(reached)
        return tuple(self._checked(tap.name, logits[tap.layer]) for tap in self._taps)

    def _check_last(self, last: object) -> Tensor:
        if self.module.training and isinstance(last, tuple | list):
            raise InputError("exits", FINAL, type(last).__name__, "one tensor of logits in training mode too")
        logits = self._checked(FINAL, main_tensor(self.module, last, self._final_field))
        if logits.shape[1] != self.num_classes:
            raise InputError("exits", FINAL, tuple(logits.shape), f"logits (N, {self.num_classes})")
        return logits

    @staticmethod
    def _checked(name: str, logits: object) -> Tensor:
        if isinstance(logits, Tensor) and logits.ndim == 2:
            return logits
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        wanted = "one tensor of logits (N, classes)" if name == FINAL else "an output that is one tensor of 2 to 4 axes"
        inside = choices_in(name, logits)
        raise InputError("exits", name, given, f"{wanted}{'; name one: ' + inside if inside else ''}")


class OwnExits(nn.Module):
    """A module that has exits already: its ``forward`` returns a tuple of logits (N, classes), deepest last.

    With ``num_classes`` 0 an exit gives any tensor or dictionary of tensors.
    """

    def __init__(
        self,
        module: nn.Module,
        num_classes: int,
        example: Sequence[int] | Batch,
        prepare: Prepare | None = None,
    ) -> None:
        super().__init__()
        require_float32(module)
        self.module = module
        self.prepare = prepare or Prepare()
        outputs = dry_run(module, self.prepare.batch(_batch(example)))
        exits = outputs if isinstance(outputs, tuple | list) else (outputs,)
        shapes = [tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__ for logits in exits]
        if not isinstance(outputs, tuple | list) or (num_classes and set(shapes) != {(2, num_classes)}):
            wanted = f"logits (N, {num_classes})" if num_classes else "outputs"
            expected = f"a tuple of {wanted}, one per exit; or name layers to attach exits to"
            raise InputError("network", "output", shapes, expected)
        self.exit_names = tuple(f"exit{number}" for number in range(1, len(shapes) + 1))
        self.num_classes = num_classes

    def forward(self, *x: Tensor, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of all exits for ``x`` (N, *input_shape) or several, prepared as :class:`Prepare` says."""
        return tuple(call(self.module, self.prepare.batch(_bound(self.module, x, inputs))))


def attach_exits(
    module: nn.Module,
    at: Sequence[str] | str,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    example: Batch | None = None,
    prepare: Prepare | None = None,
    labels: NDArray[np.integer] | None = None,
) -> MultiExit:
    """Return ``module`` with a head after each layer named in ``at`` and its own output as the last exit.

    Args:
        module: any module that maps batched tensors to logits (N, num_classes), or to a tuple, dictionary or output
            object with one tensor in it.
        at: names as in ``module.named_modules()``, in any order. ``name:field`` or ``name:field/index`` says which
            tensor an exit reads of a layer that gives several, ``final:field`` of the module's own output.
            ``name:channels_first`` or ``name:channels_last`` states where a layer's output has its features, for the
            few that do not show it. ``"auto:N"`` chooses N layers as :func:`hasten.networks.propose.propose_exits`
            does, with ``example`` and ``labels``.
        num_classes: the width of every exit; None: that of the module's own output, found by running it.
        input_shape: shape of one float input, without the batch. With it a dry run infers the heads' widths, checks the
            layers and puts the exits in the order in which their layers run; without it and an example the first call
            does all but the last, and exits are in the order in which the module registers its layers.
        example: inputs (N, *input_shape) instead of a shape, where zeros are none: tokens, pixels (uint8), masks; of
            a module with several inputs a dictionary of such tensors by the names of ``forward``'s parameters.
        prepare: what happens to inputs before the module gets them.
        labels: classes (N,) of the ``example``, for ``auto:N`` alone.

    Raises:
        InputError: a name that is no layer, is given twice, or is not run exactly once; a layer whose output is not
            one tensor of 2 to 4 axes, or does not show which of them holds the features; a module whose output is not
            (N, num_classes).
    """
    if not isinstance(module, nn.Module):
        raise InputError("exits", "module", type(module).__name__, "a torch.nn.Module")
    tried = example if example is not None else input_shape
    if isinstance(at, str):
        from hasten.networks.propose import layers_of_request  # which attaches exits to all candidates

        zeros = None if tried is None else _batch(tried)
        at = layers_of_request(module, at, zeros if example is None else example, prepare, labels)
    _, final_field = parse_taps(module, at)
    require_float32(module)
    if num_classes is None:
        num_classes = width_of(module, tried, prepare or Prepare(), final_field)
    network = MultiExit(module, at, num_classes, prepare)
    if tried is not None:
        _tried(_batch(tried), network.learn_layouts)
        network.sort_exits()
        dry_run(network, tried)
    return network


def width_of(module: nn.Module, example: Sequence[int] | Batch | None, prepare: Prepare, field: str = "") -> int:
    """The number of classes of ``module``: the width of its (deepest) output."""
    if example is None:
        raise InputError("exits", "num_classes", None, "a number, or an input_shape or example to find it with")
    output = dry_run(module, prepare.batch(_batch(example)))
    if isinstance(output, tuple | list) and not field and all(isinstance(part, Tensor) for part in output):
        output = output[-1]
    return int(MultiExit._checked(FINAL, main_tensor(module, output, field)).shape[1])


def dry_run(network: nn.Module, example: Sequence[int] | Batch) -> object:
    """Return what ``network`` gives for zeros (2, *shape) or two examples, leaving modes and buffers as they are."""
    return _tried(_batch(example), lambda x: _run_undisturbed(network, x))


def trial_run(network: nn.Module, inputs: Inputs) -> object:
    """As :func:`dry_run`, for the first two of real ``inputs`` (N, *input_shape)."""
    return dry_run(network, batch_of(inputs, slice(2)))


def _batch(example: Sequence[int] | Batch) -> Batch:
    """Two inputs: zeros of a shape, or the first of an example."""
    if not isinstance(example, Tensor | dict):
        return torch.zeros((2, *example))
    return mapped(example, lambda x: x[[0, -1][: len(x)]] if len(x) != 2 else x)


def _bound(module: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> Batch:
    """The one input, or several by the names of the parameters that they are given for."""
    if len(given) == 1 and not named:
        return given[0]
    if named and not given:
        return named
    try:
        found: dict[str, Tensor] = inspect.signature(module.forward).bind(*given, **named).arguments
    except TypeError as error:
        expected = f"those of forward ({error})"
        raise InputError("network", "inputs", [*map(type, given), *named], expected) from None
    return found


def _run_undisturbed(network: nn.Module, x: Batch) -> object:
    with undisturbed(network):
        return call(network, mapped(x, torch.clone))


def _tried(example: Batch, run: Callable[[Batch], T]) -> T:
    """What ``run`` gives for a batch; what the module raises becomes an InputError."""
    try:
        return run(example)
    except InputError:
        raise
    except Exception as error:  # whatever a module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        expected = (
            f"a network that takes one batch of inputs of this shape, and a shape of which zeros are a valid "
            f"input, or an example; without them the first real batch is tried ({reason})"
        )
        named = example.items() if isinstance(example, dict) else [("", example)]
        shapes = {name: tuple(x.shape[1:]) for name, x in named}
        raise InputError("network", "input shape", shapes.get("", shapes), expected) from error


def _key(name: str) -> str:
    """A layer's name as a key of ``nn.ModuleDict``, which allows no dots (and clashes with its own attributes)."""
    return "exit:" + name.replace(".", "/")
