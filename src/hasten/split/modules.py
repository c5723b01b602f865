"""Running somebody's torch module: without leaving traces in it, and refusing early what cannot be cut.

A package answers like the module did when it was exported. A module that answers otherwise at each call (dropout left
on, a counter that is read) has no such answer, so it is refused with what may be the cause.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.split.archive import MAX_PACKAGE_BYTES
from hasten.split.inputs import Inputs
from hasten.split.manifest import LOGITS

STEADY = 1e-5
"""Two calls may differ by so much of the largest logit, for sums in another order."""

MAX_WEIGHT_BYTES = MAX_PACKAGE_BYTES - (256 << 20)
"""What a package holds; the rest is left for graphs and samples."""


Batch = Tensor | dict[str, Tensor]
"""What a module is called with: one input (N, *shape), or several by the names of its ``forward``'s parameters."""


def call(module: nn.Module, batch: Batch) -> Any:
    """What ``module`` gives for ``batch``."""
    return module(**batch) if isinstance(batch, dict) else module(batch)


def batch_like(inputs: Inputs, frame: Sequence[NDArray[np.generic]]) -> Batch:
    """Copies of a frame's arrays, as a module takes them that takes ``inputs``."""
    tensors = [torch.tensor(array) for array in frame]
    return dict(zip(inputs, tensors, strict=True)) if isinstance(inputs, Mapping) else tensors[0]


def batch_of(inputs: Inputs, rows: slice | NDArray[np.integer]) -> Batch:
    """Copies of these rows (from ``inputs`` (N, *shape)), as a module takes them."""
    if isinstance(inputs, Mapping):
        return {name: torch.from_numpy(np.array(array[rows])) for name, array in inputs.items()}
    return torch.from_numpy(np.array(inputs[rows]))


def batch_size(batch: Batch) -> int:
    """N."""
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """``batch`` with ``change`` done to each of its tensors."""
    return {name: change(tensor) for name, tensor in batch.items()} if isinstance(batch, dict) else change(batch)


def input_names(module: nn.Module) -> tuple[str, ...]:
    """What ``forward`` calls its inputs, in order; of a wrapper that hands on what it is given, what it wraps does."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(module.forward).parameters.values()
    names = tuple(parameter.name for parameter in parameters if parameter.kind in kinds)
    inner = [getattr(module, name, None) for name in ("module", "network")]
    wrapped = next((part for part in inner if isinstance(part, nn.Module)), None)
    return names if names or wrapped is None else input_names(wrapped)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Run ``module`` in eval mode and without gradients, and leave its modes and buffers as they were."""
    modes = [(part, part.training) for part in module.modules()]
    kept = buffers_of(module)
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for name in changed_buffers(module, kept):
                module.get_buffer(name).copy_(kept[name])
        for part, training in modes:
            part.training = training


@contextmanager
def refusing_nested_tensors(module: nn.Module) -> Iterator[None]:
    """Refuse an encoder that hands its layers nested tensors, as torch's does with a padding mask in eval mode.

    Neither exits nor exported graphs can be made of these, and the way without them gives other values where the mask
    is: the caller has to choose it.
    """

    def hook_of(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Module, inputs: tuple[object, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].is_nested:
                expected = (
                    "TransformerEncoder(..., enable_nested_tensor=False), which is padded all the way; its outputs "
                    "differ at padded positions, so see that nothing reads these"
                )
                raise InputError("network", name, "nested tensors", expected)

        return hook

    layers = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.TransformerEncoderLayer)]
    handles = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all buffers by name; those of lazy layers that have not run yet are not there."""
    return {
        name: buffer.clone()
        for name, buffer in module.named_buffers()
        if not isinstance(buffer, nn.parameter.UninitializedBuffer)
    }


def changed_buffers(module: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """Names of the buffers that are no longer as they were."""
    now = {name: buffer for name, buffer in module.named_buffers() if name in before}
    return [
        name
        for name, buffer in now.items()
        if buffer.shape == before[name].shape and not torch.equal(buffer.nan_to_num(), before[name].nan_to_num())
    ]


def require_float32(module: nn.Module) -> None:
    """Refuse a module whose weights are of another precision, or too many, before anything is run."""
    for name, weight in module.named_parameters():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise InputError("network", name, str(weight.dtype), "float32 weights (module.float() makes them so)")
    parts = [*module.parameters(), *module.buffers()]
    size = sum(part.numel() * part.element_size() for part in parts if not nn.parameter.is_lazy(part))
    if size > MAX_WEIGHT_BYTES:
        raise InputError("network", "weights", f"{size} bytes", f"at most {MAX_WEIGHT_BYTES} (a package's limit)")


def named_outputs(outputs: object) -> list[dict[str, Tensor]]:
    """What each exit of a module gives, by name: a tensor alone is ``logits`` if it is (N, classes), else ``output``.

    Raises:
        InputError: no tuple with a tensor, or a dictionary of tensors, per exit.
    """
    if not isinstance(outputs, tuple | list) or not outputs:
        expected = "a tuple of one tensor (or dictionary of tensors) per exit from forward"
        raise InputError("build", "module", type(outputs).__name__, expected)
    found = []
    for number, given in enumerate(outputs, start=1):
        if isinstance(given, Tensor):
            found.append({LOGITS if given.ndim == 2 and given.is_floating_point() else "output": given})
            continue
        if not isinstance(given, Mapping) or not given or not all(isinstance(part, Tensor) for part in given.values()):
            inside = list(given) if isinstance(given, Mapping) else type(given).__name__
            raise InputError("build", f"exit {number}", inside, "a tensor, or a dictionary of tensors")
        found.append({str(name): part for name, part in given.items()})
    return found


def require_steady(module: nn.Module, example: Batch) -> list[dict[str, Tensor]]:
    """What ``module`` gives for ``example`` (a batch of one), which must be the same at each call in eval mode.

    Raises:
        InputError: it is not, with the likely cause; or the module does not run.
    """
    try:
        with undisturbed(module), refusing_nested_tensors(module):
            still_training = [name or type(part).__name__ for name, part in module.named_modules() if part.training]
            before = buffers_of(module)
            first, again = (call(module, mapped(example, torch.clone)) for _ in range(2))
            moved = changed_buffers(module, before)
    except InputError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise InputError("build", "module", type(error).__name__, f"a module that runs ({reason(error)})") from None
    exits = named_outputs(first)
    pairs = [
        (number, one.double(), other.double())
        for number, (given, repeated) in enumerate(zip(exits, named_outputs(again), strict=True), start=1)
        for one, other in zip(given.values(), repeated.values(), strict=True)
    ]
    for number, one, other in pairs:
        scale = float(torch.stack([one, other]).abs().nan_to_num(0, 0, 0).max()) if one.numel() else 0.0
        apart = float((one - other).abs().nan_to_num(0, 0, 0).max()) if one.numel() else 0.0
        if apart > STEADY * scale:
            causes = (
                "something random that eval() does not turn off (a functional dropout without training=self.training)"
            )
            if still_training:
                causes = f"layers that stay in training mode ({', '.join(still_training[:4])})"
            elif moved:
                causes = f"a buffer that forward changes and reads ({', '.join(moved[:4])})"
            found = f"other outputs of exit {number} at each call"
            raise InputError(
                "build",
                "module",
                found,
                f"the same in eval mode, not {apart / scale:.2g} of the largest apart; likely cause: {causes}",
            )
    return exits


def reason(error: BaseException, length: int = 200) -> str:
    """An error's message as one line."""
    return " ".join(str(error).split())[:length]
